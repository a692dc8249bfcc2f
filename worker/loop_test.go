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

func filled(t *testing.T, n int) *memory.DB {
	t.Helper()
	db := memory.New()
	for i := range n {
		e := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: fmt.Append(nil, i)}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "1"}, eventstore.Any(), e); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// reader is the ends of a loop: it keeps its mark in memory.
type reader struct {
	mark   event.Position
	starts int
	pages  []int
	fail   func(page eventstore.Page) error
}

func (r *reader) loop(db *memory.DB) worker.Loop {
	return worker.Loop{
		Name: "reader", Log: db, Batch: 3, Logger: silent, Retry: worker.Retry{Attempts: 3},
		Start: func(context.Context) (eventstore.LogQuery, error) {
			r.starts++
			return eventstore.LogQuery{After: r.mark}, nil
		},
		Apply: func(_ context.Context, page eventstore.Page) error {
			if r.fail != nil {
				if err := r.fail(page); err != nil {
					return err
				}
			}
			r.pages = append(r.pages, len(page.Events))
			r.mark = page.Next
			return nil
		},
	}
}

func TestLoopReadsToTheEndAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, r := filled(t, 7), &reader{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.loop(db).Run(ctx) }()
		synctest.Wait()
		if diff := cmp.Diff([]int{3, 3, 1}, r.pages); diff != "" || r.starts != 1 {
			t.Errorf("pages, after %d starts: %s", r.starts, diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil after its context has ended", err)
		}
	})
}

func TestLoopRunTo(t *testing.T) {
	t.Parallel()
	db, r := filled(t, 7), &reader{}
	if err := r.loop(db).RunTo(t.Context(), 7); err != nil || r.mark != 7 {
		t.Errorf("RunTo = %v at %d, want nil at 7", err, r.mark)
	}
	if err := r.loop(db).RunTo(t.Context(), 7); err != nil {
		t.Errorf("RunTo what is reached already = %v, want nil", err)
	}
	if err := (&reader{}).loop(memory.New()).RunTo(t.Context(), 0); err != nil {
		t.Errorf("RunTo the end of an empty log = %v, want nil", err)
	}
}

func TestLoopRetriesFromTheMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		db, r := filled(t, 7), &reader{}
		r.fail = func(page eventstore.Page) error {
			if page.Next == 6 && failures < 2 {
				failures++
				return errWork
			}
			return nil
		}
		if err := r.loop(db).RunTo(t.Context(), 7); err != nil || r.mark != 7 {
			t.Errorf("RunTo = %v at %d, want nil at 7", err, r.mark)
		}
		if diff := cmp.Diff([]int{3, 3, 1}, r.pages); diff != "" || r.starts != 3 {
			t.Errorf("pages, after %d starts, want 3: %s", r.starts, diff)
		}
	})
}

func TestLoopStopsAtPoison(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for want, poison := range map[string]error{
			"work failed":                     worker.Permanent(errWork),
			"reader: 3 attempts: work failed": errWork,
		} {
			db, r := filled(t, 7), &reader{}
			r.fail = func(page eventstore.Page) error {
				if page.Next == 6 {
					return poison
				}
				return nil
			}
			err := r.loop(db).Run(t.Context())
			if !errors.Is(err, errWork) || err.Error() != want || r.mark != 3 {
				t.Errorf("Run = %v at %d, want %s at 3: P8, nothing is skipped", err, r.mark, want)
			}
		}
	})
}

func TestLoopFollowsWhoOvertookIt(t *testing.T) {
	t.Parallel()
	db, r := filled(t, 7), &reader{}
	r.fail = func(page eventstore.Page) error {
		if page.Next == 3 {
			r.mark = 6 // another worker did
			return fmt.Errorf("save: %w", worker.ErrFenced)
		}
		return nil
	}
	if err := r.loop(db).RunTo(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1}, r.pages); diff != "" {
		t.Error(diff)
	}
}

func TestLoopFinishesTheBatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, r := filled(t, 7), &reader{}
		ctx, cancel := context.WithCancel(t.Context())
		loop := r.loop(db)
		apply := loop.Apply
		loop.Timeout = time.Hour
		loop.Apply = func(ctx context.Context, page eventstore.Page) error {
			cancel() // told to stop while the batch is in flight
			if deadline, ok := ctx.Deadline(); ctx.Err() != nil || !ok || time.Until(deadline) != time.Hour {
				t.Errorf("the batch has ended, or has no deadline of its own: %v %v", ctx.Err(), deadline)
			}
			return apply(ctx, page)
		}
		if err := loop.Run(ctx); err != nil || r.mark != 3 {
			t.Errorf("Run = %v at %d, want nil at 3", err, r.mark)
		}
	})
}
