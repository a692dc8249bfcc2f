package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func filled(t *testing.T, n int) *memory.DB {
	t.Helper()
	db := memory.New()
	for i := range n {
		note(t, db, "1", i)
	}
	return db
}

func note(t *testing.T, db *memory.DB, stream string, n int) {
	t.Helper()
	e := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: fmt.Append(nil, n)}
	if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: stream}, eventstore.Any(), e); err != nil {
		t.Fatal(err)
	}
}

// target is what a reader's events take effect in: a list, which is kept if the
// transaction commits.
type target struct {
	db      *memory.DB
	begun   int
	batches []int
	mu      sync.Mutex
	applied []event.Position // under mu, as long as the reader runs
	fail    func(b worker.Batch) error
}

func (g *target) reader() worker.Reader {
	return worker.Reader{
		Name: "reader", Log: g.db, Store: g.db, Batch: 3, Logger: silent, Retry: worker.Retry{Attempts: 3},
		Begin: func(_ context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
			g.begun++
			return c[part], c[part].Position, nil
		},
		Apply: func(ctx context.Context, b worker.Batch) error {
			err := g.db.Advance(ctx, "reader", b.Term, b.Part, func(_ context.Context, _ *memory.Tx, at worker.Mark) (worker.Write, error) {
				if at.Revision != b.Write.Marks[b.Part].Revision {
					return worker.Write{}, worker.ErrFenced
				}
				if g.fail == nil {
					return b.Write, nil
				}
				return b.Write, g.fail(b)
			})
			if err == nil {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.batches = append(g.batches, len(b.Events))
				for _, e := range b.Events {
					g.applied = append(g.applied, e.Position)
				}
			}
			return err
		},
	}
}

func (g *target) at(t *testing.T) event.Position {
	t.Helper()
	c, err := g.db.Checkpoint(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	return c[""].Position
}

func positions(from, to int) (out []event.Position) {
	for p := from; p <= to; p++ {
		out = append(out, event.Position(p))
	}
	return out
}

func TestReaderReadsToTheEndAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 7)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.reader().Run(ctx) }()
		synctest.Wait()
		if diff := cmp.Diff([]int{3, 3, 1}, g.batches); diff != "" || g.begun != 1 {
			t.Errorf("batches, after %d beginnings: %s", g.begun, diff)
		}
		note(t, g.db, "1", 8)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil after its context has ended", err)
		}
		if diff := cmp.Diff(positions(1, 8), g.applied); diff != "" {
			t.Error(diff)
		}
		roster, err := g.db.Roster(t.Context(), "reader")
		if err != nil || len(roster.Members) != 0 || roster.Seats[0].Live {
			t.Errorf("Roster = %+v, %v, want its term and place given up", roster, err)
		}
	})
}

func TestReaderRunTo(t *testing.T) {
	t.Parallel()
	g := &target{db: filled(t, 7)}
	if err := g.reader().RunTo(t.Context(), 7); err != nil || g.at(t) != 7 {
		t.Errorf("RunTo = %v at %d, want nil at 7", err, g.at(t))
	}
	if err := g.reader().RunTo(t.Context(), 7); err != nil {
		t.Errorf("RunTo what is reached already = %v, want nil", err)
	}
	if err := (&target{db: memory.New()}).reader().RunTo(t.Context(), 0); err != nil {
		t.Errorf("RunTo the end of an empty log = %v, want nil", err)
	}
	if diff := cmp.Diff(positions(1, 7), g.applied); diff != "" {
		t.Error(diff)
	}
}

func TestReaderWaitsForWhatIsNoEventsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		g := &target{db: filled(t, 7)}
		g.fail = func(b worker.Batch) error {
			if failures++; b.Page.Next == 6 && failures < 4 {
				return worker.Systemic(errWork)
			}
			return nil
		}
		if err := g.reader().RunTo(t.Context(), 7); err != nil || g.at(t) != 7 {
			t.Errorf("RunTo = %v at %d, want nil at 7", err, g.at(t))
		}
		if diff := cmp.Diff(positions(1, 7), g.applied); diff != "" {
			t.Error(diff)
		}
		g = &target{db: filled(t, 7), fail: func(worker.Batch) error { return worker.Systemic(errWork) }}
		err := g.reader().RunTo(t.Context(), 7)
		if want := "reader: 3 attempts: work failed"; !errors.Is(err, errWork) || err.Error() != want || g.at(t) != 0 {
			t.Errorf("RunTo = %v at %d, want %s", err, g.at(t), want)
		}
		all, err := g.db.Parked(t.Context(), worker.ParkedQuery{Name: "reader"})
		if err != nil || len(all) != 0 {
			t.Errorf("parked %v, %v, want nothing", all, err)
		}
	})
}

func TestReaderStopsAtPoison(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for want, poison := range map[string]error{
			"work failed":                     worker.Permanent(errWork),
			"reader: 3 attempts: work failed": errWork,
		} {
			g := &target{db: filled(t, 7)}
			g.fail = func(b worker.Batch) error {
				i := slices.IndexFunc(b.Events, func(e event.Recorded) bool { return e.Position == 4 })
				if i >= 0 {
					return &worker.EventError{Index: i, Err: poison}
				}
				return nil
			}
			r := g.reader()
			r.Stop = true
			err := r.Run(t.Context())
			if !errors.Is(err, errWork) || err.Error() != want || g.at(t) != 3 {
				t.Errorf("Run = %v at %d, want %s at 3: P8, nothing is skipped", err, g.at(t), want)
			}
		}
	})
}

// However often the server changes, it is no failure: it counts no attempts.
func TestReaderBeginsAgainOnAnotherServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 7)}
		tries := 0
		g.fail = func(worker.Batch) error {
			if tries++; tries%6 != 0 {
				return eventstore.ErrOtherServer
			}
			return nil
		}
		r := g.reader()
		r.Retry = worker.Retry{Attempts: 1}
		begin := r.Begin
		r.Begin = func(ctx context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
			if g.begun%5 == 4 {
				g.begun++
				return worker.Mark{}, 0, eventstore.ErrOtherServer // while it looks
			}
			return begin(ctx, part, c)
		}
		if err := r.RunTo(t.Context(), 7); err != nil || g.at(t) != 7 {
			t.Errorf("RunTo = %v at %d, want nil at 7", err, g.at(t))
		}
		if diff := cmp.Diff(positions(1, 7), g.applied); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReaderFollowsAMarkThatWasSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 7)}
		set := false
		g.fail = func(b worker.Batch) error {
			if b.Page.Next != 6 || set {
				return nil
			}
			set = true
			c, err := g.db.Checkpoint(t.Context(), "reader")
			if err != nil {
				t.Error(err)
			}
			m := c[""]
			m.Position = 0
			if err := g.db.Save(t.Context(), "reader", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}); err != nil {
				t.Error(err)
			}
			return nil
		}
		if err := g.reader().RunTo(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(positions(1, 3), positions(1, 7)...), g.applied); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReaderFinishesTheBatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 7)}
		ctx, cancel := context.WithCancel(t.Context())
		r := g.reader()
		apply := r.Apply
		r.Timeout = time.Hour
		r.Apply = func(ctx context.Context, b worker.Batch) error {
			cancel() // told to stop while the batch is in flight
			if deadline, ok := ctx.Deadline(); ctx.Err() != nil || !ok || time.Until(deadline) != time.Hour {
				t.Errorf("the batch has ended, or has no deadline of its own: %v %v", ctx.Err(), deadline)
			}
			return apply(ctx, b)
		}
		if err := r.Run(ctx); err != nil || g.at(t) != 3 {
			t.Errorf("Run = %v at %d, want nil at 3", err, g.at(t))
		}
	})
}
