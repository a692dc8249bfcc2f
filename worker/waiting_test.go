package worker_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// Reader.Waiting is told of an event before each time that it comes to wait for somebody,
// and of none that is only tried again.
func TestWaitingIsToldBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		c.retry = worker.Retry{Attempts: 2}
		c.failing(func(_ worker.Batch, e event.Recorded) error {
			switch e.Stream.ID {
			case "a":
				return errToxic
			case "b":
				return errors.New("not yet")
			}
			return nil
		})
		c.waiting = func(p worker.Parked, _ event.Recorded) error {
			all, err := c.Parked(t.Context(), worker.ParkedQuery{Name: "reader", Key: p.Key.Key, State: worker.Waiting})
			if err != nil || len(all) > 0 {
				t.Errorf("it waits already: %+v, %v", all, err)
			}
			return nil
		}
		f := newFeed(records("x", 0, "c@1 a@1 c@2 b@1 b@2 a@2 c@3"))
		end := c.start(t, f)
		for i := range 3 { // an attempt counts if others succeed
			idle(time.Minute)
			f.deliveries <- records("x", int64(7+i), fmt.Sprintf("c@%d", 4+i))
		}
		idle(time.Minute)
		c.wantItems(t, "order-a waiting: 1 5", "order-b waiting: 3 4")
		c.retryParked(t, "order-a")
		idle(time.Minute)
		c.wantItems(t, "order-a waiting: 1 5", "order-b waiting: 3 4")
		want := []string{"order-a@1 waiting: poison", "order-b@1 waiting: not yet", "order-a@1 waiting: poison"}
		if diff := cmp.Diff(want, c.made()); diff != "" {
			t.Errorf("told: %s", diff)
		}
		end()
	})
}

// While Reader.Waiting fails nothing is parked as Waiting, and nothing else is lost: it is
// tried again until it goes.
func TestWaitingThatFailsParksNothing(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("no such topic") },
		"a panic":  func() error { panic("no such topic") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClerk()
				fails := true
				c.waiting = func(worker.Parked, event.Recorded) error {
					if fails {
						return fail()
					}
					return nil
				}
				c.failing(poisons("a@1"))
				end := c.start(t, newFeed(records("x", 0, "b@1 a@1 a@2 b@2 c@1")))
				idle(time.Hour)
				c.want(t, "b@1")
				c.wantItems(t)
				if calls := len(c.made()); calls < 5 || calls > 3600 {
					t.Errorf("told %d times in an hour, want it to be tried again, and not without a pause", calls)
				}
				c.mu.Lock()
				fails = false
				c.mu.Unlock()
				idle(time.Minute)
				c.want(t, "b@1 b@2 c@1")
				c.wantItems(t, "order-a waiting: 1 2")

				c.mu.Lock()
				fails = true
				c.mu.Unlock()
				c.retryParked(t, "order-a") // and in a drain
				idle(time.Minute)
				c.wantItems(t, "order-a retrying: 1 2")
				c.mu.Lock()
				fails = false
				c.mu.Unlock()
				idle(time.Minute)
				c.wantItems(t, "order-a waiting: 1 2")
				end()
			})
		})
	}
}

// When most keys fail nothing is parked, and nobody is told of most; and when they are
// given up, each was told of once, though they fail one after the other.
func TestWaitingIsToldOnceOfEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		c.batch = 100
		c.waiting = func(worker.Parked, event.Recorded) error { return nil }
		c.failing(func(worker.Batch, event.Recorded) error { return errToxic })
		words := ""
		for i := range 40 {
			words += fmt.Sprintf("k%d@1 ", i)
		}
		end := c.start(t, newFeed(records("x", 0, words)))
		idle(time.Second)
		c.wantItems(t)
		if len(c.made()) >= 20 {
			t.Errorf("told of %d while most fail", len(c.made()))
		}
		idle(time.Hour) // pauses do not mend them
		if all, err := c.Parked(t.Context(), worker.ParkedQuery{Name: "reader"}); err != nil || len(all) != 40 || len(c.made()) != 40 {
			t.Errorf("%d are parked, %v, and told of %d times, want 40", len(all), err, len(c.made()))
		}
		end()
	})
}

// A reader may know more than the worker about what is a repeat.
func TestHooksAreNotToldOfRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		var told []string
		c.hooks.Applied = func(a worker.Applied) {
			for _, e := range a.Events {
				c.tell(&told, fmt.Sprint(e.Stream.ID, "@", e.Version))
			}
			c.tell(&told, fmt.Sprint(a.Repeated, " repeated"))
		}
		c.failing(func(b worker.Batch, e event.Recorded) error {
			for i := range b.Events {
				if b.Events[i].Version == 1 && e.Version == 1 {
					b.Repeated[i] = true
				}
			}
			return nil
		})
		end := c.start(t, newFeed(records("x", 0, "a@1 b@2 c@1"), records("x", 3, "a@2")))
		idle(time.Minute)
		if diff := cmp.Diff([]string{"b@2", "2 repeated", "a@2", "0 repeated"}, c.told(&told)); diff != "" {
			t.Error(diff)
		}
		end()
	})
}
