package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// refuses fails for good at a position, and says at which event of the batch.
func refuses(at event.Position) func(worker.Batch) error {
	return func(b worker.Batch) error {
		for i, e := range b.Events {
			if e.Position == at {
				return &worker.EventError{Index: i, Err: worker.Permanent(errors.New("refused"))}
			}
		}
		return nil
	}
}

// What comes before it in its key has done nothing, and does not wait with it.
func TestWhatComesBeforeAFailedEventTakesEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: memory.New(), fail: refuses(2)}
		for _, stream := range []string{"1", "1", "2", "1"} {
			note(t, g.db, stream, 0)
		}
		if err := g.reader().RunTo(t.Context(), 4); !errors.Is(err, worker.ErrParked) {
			t.Fatalf("RunTo = %v, want that something is parked", err)
		}
		if diff := cmp.Diff([]event.Position{1, 3}, g.applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
		if p := onlyParked(t, g.db); p.First != 2 || p.Events != 2 || p.State != worker.Waiting {
			t.Errorf("parked %+v, want the two from 2 on", p)
		}
	})
}

// claimed stores a mark at 0 that a process has left which ended.
func claimed(t *testing.T, db *memory.DB, c worker.Claim) {
	t.Helper()
	w := worker.Write{Marks: worker.Checkpoint{"": {Claim: c}}}
	if err := db.Save(t.Context(), "reader", worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventThatHasEndedTheProcessIsParkedUntried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: memory.New()}
		note(t, g.db, "1", 0)
		note(t, g.db, "2", 0)
		claimed(t, g.db, worker.Claim{To: 1, Events: 1, Times: worker.DefaultKills})
		if err := g.reader().RunTo(t.Context(), 2); !errors.Is(err, worker.ErrParked) {
			t.Fatalf("RunTo = %v, want that something is parked", err)
		}
		if diff := cmp.Diff([]event.Position{2}, g.applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
		p := onlyParked(t, g.db)
		if want := fmt.Sprintf("the process has ended %d times while this event was applied", worker.DefaultKills); p.Error != want || p.State != worker.Waiting {
			t.Errorf("parked %+v, want it waiting for %q", p, want)
		}
	})
}

// What a process has begun that ended is begun with again in small parts, each said
// before it is applied.
func TestSuspectEventsAreAppliedInSmallParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 40)}
		claimed(t, g.db, worker.Claim{To: 32, Events: 32, Times: 1})
		r := g.reader()
		r.Batch = 40
		var claims []worker.Claim
		g.fail = func(worker.Batch) error {
			claims = append(claims, read(t, g.db, "reader")[""].Claim)
			return nil
		}
		if err := r.RunTo(t.Context(), 40); err != nil || len(claims) != 17 {
			t.Fatalf("RunTo = %v in %d batches, want 16 of 2 events, and the rest", err, len(claims))
		}
		for i, c := range claims[:16] {
			if c.Events != 2 || c.To != event.Position(2*i+2) {
				t.Errorf("batch %d was begun under %+v, want 2 events to %d", i, c, 2*i+2)
			}
		}
	})
}

// A worker whose first batch fails again and again knows its own claim when it reads
// it again.
func TestAClaimOfTheSameTermIsNoCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 1)}
		failures := 0
		g.fail = func(worker.Batch) error {
			if failures++; failures < 10 {
				return worker.Systemic(fmt.Errorf("commit: %w", eventstore.ErrOutcomeUnknown))
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := g.reader()
		r.Hooks.Applied = func(worker.Applied) { cancel() }
		if err := r.Run(ctx); err != nil || len(g.applied) != 1 || len(allParked(t, g.db)) != 0 {
			t.Errorf("Run = %v, applied %v, parked %+v, want the event to take effect", err, g.applied, allParked(t, g.db))
		}
	})
}

// A worker that is stopped while its first batch fails takes back that it has begun
// with it, so the next one does not think that the process has ended.
func TestAStopTakesTheClaimBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 1)}
		for range worker.DefaultKills + 1 {
			ctx, cancel := context.WithCancel(t.Context())
			g.fail = func(worker.Batch) error {
				if c := read(t, g.db, "reader")[""].Claim; c.Events != 1 || c.Times != 1 {
					t.Errorf("claim %+v, want one event once", c)
				}
				cancel()
				return worker.Systemic(errors.New("away"))
			}
			if err := g.reader().Run(ctx); err != nil {
				t.Fatalf("Run = %v, want nil", err)
			}
			if c := read(t, g.db, "reader")[""].Claim; c.Events != 0 {
				t.Fatalf("claim %+v after the end, want none", c)
			}
		}
	})
}

// Where there is nothing to apply, a failure is no event's, and is waited out.
func TestAFailureWithoutAnEventParksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 1)}
		tries := 0
		g.fail = func(worker.Batch) error {
			tries++
			return errAway
		}
		r := g.reader()
		r.Covers = func(event.Recorded) bool { return false }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Run(ctx); err != nil || len(allParked(t, g.db)) != 0 || tries < 3 || tries > 60 {
			t.Errorf("Run = %v after %d tries, parked %+v, want it tried now and then, and nothing parked", err, tries, allParked(t, g.db))
		}
	})
}
