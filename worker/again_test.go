package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// A failure makes batches smaller, and they grow again.
func TestBatchesGrowAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 400)}
		tries := 0
		g.fail = func(worker.Batch) error {
			if tries++; tries == 2 {
				return worker.Systemic(errWork)
			}
			return nil
		}
		r := g.reader()
		r.Batch = 32
		if err := r.RunTo(t.Context(), 400); err != nil {
			t.Fatal(err)
		}
		last := g.batches[len(g.batches)-4:]
		if g.batches[1] != 2 || !slices.Contains(last, 32) {
			t.Errorf("batches %v, want small ones after the failure, and whole ones in the end", g.batches)
		}
	})
}

// A claim says that a process may have ended. Who waits for what is no event's fault has
// none, so that whoever is given the part meanwhile takes it for no crash.
func TestWhoWaitsHasNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 7)}
		g.fail = func(worker.Batch) error { return worker.Systemic(errWork) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.reader().Run(ctx) }()
		<-time.After(time.Minute)
		synctest.Wait()
		c, err := g.db.Checkpoint(t.Context(), "reader")
		if err != nil || c[""].Revision == 0 || c[""].Claim != (worker.Claim{}) {
			t.Errorf("mark %+v, %v, want one without a claim", c[""], err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// What is read again, such as for a new topic, comes before what is parked: it is older.
func TestWhatIsReadAgainComesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 6)}
		g.fail = func(b worker.Batch) error {
			if i := slices.IndexFunc(b.Events, func(e event.Recorded) bool { return e.Position == 3 }); i >= 0 {
				return worker.Permanent(&worker.EventError{Index: i, Err: errWork})
			}
			return nil
		}
		if err := g.reader().RunTo(t.Context(), 6); err == nil {
			t.Fatal("nothing is parked")
		}
		g.fail, g.applied = nil, nil
		a := worker.Amender{Store: g.db, Name: "reader", Actor: "me"}
		if _, err := a.RetryParked(t.Context(), 0, worker.Key{Key: "order-1"}); err != nil {
			t.Fatal(err)
		}
		r, first := g.reader(), true
		r.Begin = func(_ context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
			from := c[part].Position
			if first {
				first, from = false, 0
			}
			return c[part], from, nil
		}
		if err := r.RunTo(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(positions(1, 6), g.applied); diff != "" {
			t.Error(diff)
		}
	})
}

// A reader can begin with small batches; full ones make the next larger, and a page with
// little does not.
func TestFirstBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 3)}
		r := g.reader()
		r.Batch, r.FirstBatch = 40, 4
		r.Hooks.Applied = func(worker.Applied) { // the first page has 3 events, and then there are more
			if len(g.batches) == 1 {
				for i := range 97 {
					note(t, g.db, "1", i)
				}
			}
		}
		if err := r.RunTo(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if want := []int{3, 4, 8, 16, 12, 32, 8, 17}; !slices.Equal(g.batches, want) {
			t.Errorf("batches %v, want %v", g.batches, want)
		}
	})
}
