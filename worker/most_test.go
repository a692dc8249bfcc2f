package worker_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// crowd has a reader of 100 streams with two events each, of which some fail, and
// returns what is parked after a while, and how many events took effect.
type crowd struct {
	*target
	failing func(stream string) error
	paused  []string
	calls   atomic.Int64
}

func newCrowd(t *testing.T, failing func(n int) error) *crowd {
	t.Helper()
	c := &crowd{target: &target{db: memory.New()}}
	for round := range 2 {
		for i := range 100 {
			note(t, c.db, fmt.Sprintf("%03d", i), round)
		}
	}
	c.failing = func(stream string) error {
		n, err := strconv.Atoi(stream)
		if err != nil {
			t.Error(err)
		}
		return failing(n)
	}
	c.fail = func(b worker.Batch) error {
		for i, e := range b.Events {
			c.calls.Add(1)
			if err := c.failing(e.Stream.ID); err != nil {
				return &worker.EventError{Index: i, Err: err}
			}
		}
		return nil
	}
	return c
}

func (c *crowd) run(t *testing.T, d time.Duration) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := c.reader()
	r.Batch, r.Retry = 500, worker.Retry{}
	r.Hooks.Paused = func(p worker.Pause) { c.paused = append(c.paused, p.Why) }
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-time.After(d)
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func (c *crowd) want(t *testing.T, parked, applied int) {
	t.Helper()
	all, err := c.db.Parked(t.Context(), worker.ParkedQuery{Name: "reader"})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || len(all) != parked || len(c.applied) != applied {
		t.Errorf("%d keys parked, %v, and %d events applied, want %d and %d", len(all), err, len(c.applied), parked, applied)
	}
	seen := map[event.Position]bool{}
	for _, p := range c.applied {
		if seen[p] {
			t.Errorf("position %d was applied twice", p)
		}
		seen[p] = true
	}
}

// Ten keys that fail one after the other are parked if the others do not fail.
func TestFirstKeysFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, func(n int) error {
			if n < 10 {
				return worker.Permanent(errWork)
			}
			return nil
		})
		stop := c.run(t, time.Minute)
		c.want(t, 10, 180)
		if len(c.paused) > 0 {
			t.Errorf("paused: %v", c.paused)
		}
		stop()
	})
}

// P8: in an outage nothing is parked, however long it lasts, and there are few calls.
func TestMostKeysFail(t *testing.T) {
	t.Parallel()
	for name, share := range map[string]int{"all": 100, "four in five": 80} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				c := newCrowd(t, func(n int) error {
					if !mended.Load() && n < share {
						return errWork
					}
					return nil
				})
				stop := c.run(t, 2*time.Hour)
				c.want(t, 0, 0)
				if len(c.paused) != 1 || c.paused[0] != "most keys fail" {
					t.Errorf("paused: %v", c.paused)
				}
				if n := c.calls.Load(); n > 4000 { // one in ten seconds, and all that a few looks around take
					t.Errorf("%d calls in two hours", n)
				}
				mended.Store(true)
				<-time.After(time.Minute)
				synctest.Wait()
				c.want(t, 0, 200)
				stop()
			})
		})
	}
}

// Waiting does not mend what is permanent.
func TestMostKeysFailForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, func(n int) error {
			if n < 80 {
				return worker.Permanent(errWork)
			}
			return nil
		})
		stop := c.run(t, time.Second)
		c.want(t, 0, 0)
		<-time.After(time.Hour)
		synctest.Wait()
		c.want(t, 80, 40)
		stop()
	})
}
