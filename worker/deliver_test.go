package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// sourceFunc is a source of the part t/0.
type sourceFunc func(ctx context.Context, to worker.Sink) error

func (f sourceFunc) Consume(ctx context.Context, to worker.Sink) error { return f(ctx, to) }

func (sourceFunc) Owns(part string) bool { return part == "t/0" }

// awayStore is a store that is away for whoever wants the checkpoint.
type awayStore struct {
	*memory.DB
	away bool
}

func (s *awayStore) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	if s.away {
		return nil, errAway
	}
	return s.DB.Checkpoint(ctx, name)
}

// A part that is taken away during an outage is let go at once: its delivery ends while
// the reader goes on, nobody takes the end for a crash, and whoever has the part next
// begins where it was.
func TestDeliveryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(*target, *awayStore) func(){
		"what events depend on is away": func(g *target, _ *awayStore) func() {
			g.fail = func(worker.Batch) error { return worker.Systemic(errAway) }
			return func() { g.fail = nil }
		},
		"the store is away": func(_ *target, s *awayStore) func() {
			s.away = true
			return func() { s.away = false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &target{db: filled(t, 7)}
				store := &awayStore{DB: g.db}
				r := g.reader()
				r.Store = store
				var idle, back atomic.Int64
				d := worker.Delivery{Part: "t/0", Source: "x", Of: 1, Next: 7, Events: from(1, 7)}
				source := sourceFunc(func(ctx context.Context, to worker.Sink) error {
					if _, err := to.Begin(ctx, "t/0"); err != nil {
						return err
					}
					over := outage(g, store)
					moved, take := context.WithCancel(worker.WithIdle(ctx, func() func() {
						idle.Add(1)
						return func() { back.Add(1) }
					}))
					go func() {
						<-time.After(time.Minute)
						if idle.Load() != back.Load()+1 {
							t.Errorf("while it waits it said %d times that it does, and %d times that it goes on", idle.Load(), back.Load())
						}
						take()
					}()
					began := time.Now()
					err := to.Deliver(moved, d)
					if err == nil || ctx.Err() != nil || time.Since(began) != time.Minute {
						t.Errorf("Deliver = %v after %v, want an error as soon as the part is taken away", err, time.Since(began))
					}
					if idle.Load() == 0 || idle.Load() != back.Load() {
						t.Errorf("it said %d times that it waits, and %d times that it goes on", idle.Load(), back.Load())
					}
					over()
					c, err := to.Begin(ctx, "t/0")
					if err != nil || c["t/0"].Claim != (worker.Claim{}) {
						t.Errorf("Begin = %+v, %v, want no claim of somebody who was killed", c, err)
					}
					return errors.Join(err, to.Deliver(ctx, d))
				})
				if err := r.Consume(t.Context(), source); err != nil {
					t.Error(err)
				}
				if len(g.applied) != 7 {
					t.Errorf("applied %v, want 7 events", g.applied)
				}
			})
		})
	}
}

// A batch in flight fails after the part was taken away: that is not taken for a crash
// either.
func TestDeliveryEndsBehindABatchThatFails(t *testing.T) {
	t.Parallel()
	g := &target{db: filled(t, 3)}
	source := sourceFunc(func(ctx context.Context, to worker.Sink) error {
		if _, err := to.Begin(ctx, "t/0"); err != nil {
			return err
		}
		moved, take := context.WithCancel(ctx)
		g.fail = func(worker.Batch) error {
			take()
			return errAway
		}
		d := worker.Delivery{Part: "t/0", Source: "x", Of: 1, Next: 3, Events: from(1, 3)}
		if err := to.Deliver(moved, d); !errors.Is(err, errAway) {
			t.Errorf("Deliver = %v, want %v", err, errAway)
		}
		c, err := to.Begin(ctx, "t/0")
		if at := c["t/0"]; at.Claim != (worker.Claim{}) || at.Position != 0 || at.Epoch == 0 {
			t.Errorf("the mark is %+v, want one without a claim", at)
		}
		return err
	})
	if err := g.reader().Consume(t.Context(), source); err != nil {
		t.Error(err)
	}
}

// A delivery of repeats only, of a part that was taken away by then, moves no mark: the
// part is another's.
func TestDeliveryOfNothingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := &target{db: filled(t, 3)}
	source := sourceFunc(func(ctx context.Context, to worker.Sink) error {
		if _, err := to.Begin(ctx, "t/0"); err != nil {
			return err
		}
		moved, take := context.WithCancel(ctx)
		take()
		d := worker.Delivery{Part: "t/0", Source: "x", Of: 1, Next: 3}
		if err := to.Deliver(moved, d); !errors.Is(err, context.Canceled) {
			t.Errorf("Deliver = %v, want %v", err, context.Canceled)
		}
		if c, err := to.Begin(ctx, "t/0"); err != nil || c["t/0"].Offset != 0 {
			t.Errorf("Begin = %+v, %v, want no offset", c["t/0"], err)
		}
		if err := to.Deliver(ctx, d); err != nil {
			return err
		}
		c, err := to.Begin(ctx, "t/0")
		if c["t/0"].Offset != 3 {
			t.Errorf("the mark is %+v, want offset 3", c["t/0"])
		}
		return err
	})
	if err := g.reader().Consume(t.Context(), source); err != nil {
		t.Error(err)
	}
}
