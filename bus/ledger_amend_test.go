package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

var errCrashed = errors.New("crashed")

// crashedAfter is a process that ends after a commit, before its write is saved; then
// somebody does something.
func crashedAfter(t *testing.T, db *memory.DB, b *memory.Broker, commit int, opt bus.Option, do func(a worker.Amender)) {
	t.Helper()
	down := false
	at := inStep(fmt.Sprint("commit after:", commit), func() error {
		down = true
		return nil
	})
	p := newProcess(db, b, func(step string) error {
		if err := at(step); err != nil || !down || step == "commit after" {
			return err
		}
		return errCrashed
	})
	if err := p.relay(opt).Drain(t.Context()); !errors.Is(err, errCrashed) {
		t.Fatalf("Drain = %v, want the crash", err)
	}
	do(worker.Amender{Store: db, Name: "relay/main", Actor: "ada"})
	after(time.Minute)
}

// failing does not map the events at positions, as long as they are to fail.
func failing(fails *atomic.Bool, at ...event.Position) bus.Option {
	return bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		for _, p := range at {
			if r.Position == p && fails.Load() {
				return bus.Message{}, false, errUnmapped
			}
		}
		return toOrders(r)
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What was committed is completed with what people have done meanwhile.
func TestLedgerIsCompletedWithWhatPeopleDid(t *testing.T) {
	t.Parallel()
	key := worker.Key{Key: "order-1"}
	for name, test := range map[string]struct {
		do     func(t *testing.T, a worker.Amender, db *memory.DB)
		parked []string // after the completion, while 1 still fails
		want   []int    // once it does not, and what waits was retried
	}{
		"nothing": {
			func(*testing.T, worker.Amender, *memory.DB) {},
			[]string{"order-1 waiting: 2: map order-1@1 (order.noted, position 1): no such customer"}, []int{2, 3, 5, 1, 4},
		},
		"noted": {
			func(t *testing.T, a worker.Amender, _ *memory.DB) { ok(t, a.NoteParked(t.Context(), key, "a note")) },
			[]string{"order-1 waiting: 2: map order-1@1 (order.noted, position 1): no such customer"}, []int{2, 3, 5, 1, 4},
		},
		// The event behind the discarded one was held aside in the transaction that was not saved.
		"discarded": {
			func(t *testing.T, a worker.Amender, _ *memory.DB) {
				ok(t, a.DiscardParked(t.Context(), key, 1, "not needed"))
			},
			[]string{}, []int{2, 3, 5, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db, broker := memory.New(), memory.NewBroker(1)
				var fails atomic.Bool
				fails.Store(true)
				mapper := failing(&fails, 1)
				appendNotes(t, db, "order-1", 1)
				appendNotes(t, db, "order-2", 2)
				if err := newProcess(db, broker, never).relay(mapper).Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
					t.Fatalf("Drain = %v", err)
				}
				appendNotes(t, db, "order-1", 1) // 4, behind 1
				appendNotes(t, db, "order-2", 1) // 5
				crashedAfter(t, db, broker, 1, mapper, func(a worker.Amender) { test.do(t, a, db) })
				relay := newProcess(db, broker, never).relay(mapper)
				if err := relay.Drain(t.Context()); err != nil && !errors.Is(err, worker.ErrParked) {
					t.Fatal(err)
				}
				wantParked(t, db, test.parked...)
				if p, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || name == "noted" && p[0].Note != "a note" {
					t.Errorf("parked %+v, %v: want the note", p, err)
				}
				fails.Store(false)
				settleAll(t, db, relay)
				wantPositions(t, broker, "annals.order", test.want...)
			})
		})
	}
}

// What drained was committed, and is not published again.
func TestLedgerOfDrainIsCompletedWithWhatPeopleDid(t *testing.T) {
	t.Parallel()
	key := worker.Key{Key: "order-1"}
	const n = 103 // more than drain at once
	for name, do := range map[string]func(t *testing.T, a worker.Amender, db *memory.DB){
		"nothing": func(*testing.T, worker.Amender, *memory.DB) {},
		"retried": func(t *testing.T, a worker.Amender, _ *memory.DB) {
			_, err := a.RetryParked(t.Context(), 0, key)
			ok(t, err)
		},
		"assigned": func(t *testing.T, a worker.Amender, _ *memory.DB) { ok(t, a.AssignParked(t.Context(), key, "bob")) },
		"discarded": func(t *testing.T, a worker.Amender, db *memory.DB) {
			items, err := db.Items(t.Context(), a.Name, key, -1, 1)
			ok(t, err)
			ok(t, a.DiscardParked(t.Context(), key, items[0].Seq, "x"))
		},
		"all of it discarded": func(t *testing.T, a worker.Amender, db *memory.DB) {
			items, err := db.Items(t.Context(), a.Name, key, -1, 0)
			ok(t, err)
			for _, i := range items {
				ok(t, a.DiscardParked(t.Context(), key, i.Seq, "x"))
			}
		},
	} {
		for commit, drained := range map[int]int{1: 100, 2: n} {
			t.Run(fmt.Sprint(name, " after ", drained), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					db, broker := memory.New(), memory.NewBroker(1)
					var fails atomic.Bool
					fails.Store(true)
					mapper := failing(&fails, 1)
					appendNotes(t, db, "order-1", n)
					if err := newProcess(db, broker, never).relay(mapper).Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
						t.Fatalf("Drain = %v", err)
					}
					fails.Store(false)
					retry(t, db, key.Key)
					crashedAfter(t, db, broker, commit, mapper, func(a worker.Amender) { do(t, a, db) })
					settleAll(t, db, newProcess(db, broker, never).relay(mapper))
					if name == "all of it discarded" {
						wantOnce(t, broker, "annals.order", drained)
						return
					}
					wantOnce(t, broker, "annals.order", n)
				})
			})
		}
	}
}

// holdBack moves the marks, as a relay does that publishes nothing of what there
// is.
func holdBack(t *testing.T, db *memory.DB, term worker.Term, to event.Position) {
	t.Helper()
	c, err := db.Checkpoint(t.Context(), "relay/main")
	ok(t, err)
	for part, m := range c {
		m.Position = to
		c[part] = m
	}
	ok(t, db.Save(t.Context(), "relay/main", term, worker.Write{Marks: c}))
}

// A relay whose term is over, and that does not know it by its clock, opens the ledger
// once more, and so ends the right one for a moment. It publishes nothing: the right one
// may have gone on without it.
func TestLedgerWhenTheTermIsOver(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	var term worker.Term
	commits, opened := 0, false
	p := newProcess(db, broker, func(step string) (err error) {
		switch {
		case step == "commit before":
			if commits++; commits == 2 {
				return errBroker // so that it begins again
			}
		case step == "open before" && commits == 2 && !opened:
			opened = true
			term, err = db.Claim(t.Context(), worker.Claiming{Name: "relay/main", Holder: "another", Lease: time.Nanosecond, Seize: true})
			ok(t, err)
			_, err = broker.Ledger().Open(t.Context(), "main")
			ok(t, err)
		}
		return nil
	})
	heldBack := false
	mapper := bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		if r.Position == 2 && opened && !heldBack {
			heldBack = true
			holdBack(t, db, term, 2)
		}
		return toOrders(r)
	})
	drain(t, p.relay(mapper, bus.WithBatch(1)))
	if wantPositions(t, broker, "annals.order", 1); !heldBack {
		t.Error("the relay has not come as far as it should")
	}
}

func toOrders(r event.Recorded) (bus.Message, bool, error) {
	m, err := bus.MessageOf("annals.order", r)
	return m, true, err
}

// early is a store that shows an old checkpoint, if there is one.
type early struct {
	*process
	old *worker.Checkpoint
}

func (e early) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	if *e.old != nil {
		return maps.Clone(*e.old), nil
	}
	return e.process.Checkpoint(ctx, name)
}

// Whatever was read before the ledger was opened does not count.
func TestLedgerIsOpenedBeforeTheOutboxIsRead(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	var old worker.Checkpoint
	commits := 0
	p := newProcess(db, broker, func(step string) (err error) {
		switch {
		case step == "commit before":
			if commits++; commits == 2 {
				old, err = db.Checkpoint(t.Context(), "relay/main")
				ok(t, err)
				holdBack(t, db, worker.Term{}, 2)
				return errBroker // so that it begins again
			}
		case step == "open before":
			old = nil
		}
		return nil
	})
	retries := bus.WithRetry(worker.Retry{Base: 1, Attempts: 3})
	drain(t, bus.NewRelay(early{p, &old}, ledgerOf{p.ledger, p}, silent, retries, bus.WithBatch(1)))
	if wantPositions(t, broker, "annals.order", 1); commits < 2 {
		t.Error("the relay has not come as far as it should")
	}
}
