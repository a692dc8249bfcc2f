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

var errToxic = worker.Permanent(errors.New("poison"))

// With offsets an event counts by its place in the source: none has a position here, and
// none is left out or parked for it. The mark is behind each batch of a delivery.
func TestOffsetsCountAndNotPositions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		var marks []string
		c.hooks.Applied = func(a worker.Applied) { c.tell(&marks, fmt.Sprint(a.Mark.Offset)) }
		f := newFeed(records("x", 0, "- a@1 - b@1 a@2 - a@3 -"), records("x", 8, "- -"), records("x", 10, "b@2"))
		end := c.start(t, f)
		idle(time.Minute)
		c.want(t, "a@1 b@1 a@2 a@3 b@2")
		if diff := cmp.Diff([]string{"5", "8", "11"}, c.told(&marks)); diff != "" {
			t.Errorf("offsets: %s", diff)
		}
		c.wantMark(t, worker.Mark{Source: "x", Offset: 11, Of: 1})
		end()
	})
}

// What lies before the mark was taken: of a delivery that is repeated, from any place on,
// the rest is taken.
func TestOffsetsTellRepeatedDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		f := newFeed(records("x", 0, "a@1 a@2 a@3"), records("x", 0, "a@1 a@2 a@3"), records("x", 1, "a@2 a@3 a@4 - a@5"), records("x", 4, "- a@5"))
		end := c.start(t, f)
		idle(time.Minute)
		c.want(t, "a@1 a@2 a@3 a@4 a@5")
		c.wantMark(t, worker.Mark{Source: "x", Offset: 6, Of: 1})
		end()
	})
}

// A delivery that fails in its middle leaves the mark where it failed, with the source and
// the number of parts: whoever is next goes on from there.
func TestOffsetsAfterPartOfADelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		c.batch = 2
		c.failing(func(_ worker.Batch, e event.Recorded) error {
			if e.Version > 2 {
				return worker.Systemic(errors.New("away"))
			}
			return nil
		})
		end := c.start(t, newFeed(records("x", 0, "a@1 - a@2 - a@3 a@4")))
		idle(time.Minute)
		c.want(t, "a@1 a@2")
		c.wantMark(t, worker.Mark{Source: "x", Offset: 3, Of: 1})
		end()
		c.wantMark(t, worker.Mark{Source: "x", Offset: 3, Of: 1})
		c.failing(nil)
		end = c.start(t, newFeed(records("x", 0, "a@1 - a@2 - a@3 a@4")))
		idle(time.Minute)
		c.want(t, "a@1 a@2 a@3 a@4")
		c.wantMark(t, worker.Mark{Source: "x", Offset: 6, Of: 1})
		end()
	})
}

// What is parked is ordered by its offsets, offset 0 too, and comes out in that order.
func TestOffsetsOrderWhatIsParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		c.failing(poisons("a@1"))
		f := newFeed(records("x", 0, "a@1 b@1 a@2"))
		end := c.start(t, f)
		idle(time.Minute)
		f.deliveries <- records("x", 3, "- b@2 a@3")
		f.deliveries <- records("x", 4, "b@2 a@3")
		idle(time.Minute)
		c.want(t, "b@1 b@2")
		c.wantItems(t, "order-a waiting: 0 2 5")
		c.failing(nil)
		c.retryParked(t, "order-a")
		idle(time.Minute)
		c.want(t, "b@1 b@2 a@1 a@2 a@3")
		c.wantItems(t)
		end()
	})
}

// Claims name offsets: an event that has ended the process too often is parked untried,
// and one of another source at the same offset is not.
func TestOffsetsAreClaimed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delivery worker.Delivery
		want     string
		items    []string
		at       worker.Mark
	}{
		"the killer":             {records("x", 7, "a@2 b@1"), "b@1", []string{"order-a waiting: 7"}, worker.Mark{Source: "x", Offset: 9, Of: 1}},
		"of a source made again": {records("y", 0, "c@1 - - - - - - d@1"), "c@1 d@1", nil, worker.Mark{Source: "y", Offset: 8, Of: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := newClerk()
				k.retry = worker.Retry{Kills: 2}
				killed := worker.Mark{Source: "x", Offset: 7, Of: 1, Claim: worker.Claim{To: 7, Events: 1, Times: 2}}
				if err := k.Save(t.Context(), "reader", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"t/0": killed}}); err != nil {
					t.Fatal(err)
				}
				end := k.start(t, newFeed(c.delivery))
				idle(time.Minute)
				k.want(t, c.want)
				k.wantItems(t, c.items...)
				end()
				k.wantMark(t, c.at)
			})
		})
	}
}

// A source that was made again while something of the one before is parked is waited
// with, as its offsets begin anew: what is parked comes first.
func TestSourceMadeAgainWhileSomethingIsParked(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(t *testing.T, c *clerk){
		"retried": func(t *testing.T, c *clerk) {
			t.Helper()
			c.failing(nil)
			c.retryParked(t, "order-a")
		},
		"discarded": func(t *testing.T, c *clerk) {
			t.Helper()
			for _, seq := range []int64{5, 6} {
				c.decide(t, func(a worker.Amender, k worker.Key) error { return a.DiscardParked(t.Context(), k, seq, "why not") }, "order-a")
			}
			c.failing(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClerk()
				var told []string
				c.hooks.Paused = func(p worker.Pause) { c.tell(&told, fmt.Sprintf("%s: %v", p.Why, p.Err)) }
				c.failing(poisons("a@1"))
				f := newFeed(records("x", 0, "- - - - b@1 a@1 a@2"))
				end := c.start(t, f)
				idle(time.Minute)
				c.wantItems(t, "order-a waiting: 5 6")
				f.deliveries <- records("y", 0, "a@3 b@2")
				idle(time.Hour)
				c.want(t, "b@1")
				c.wantItems(t, "order-a waiting: 5 6")
				want := []string{"cannot go on: the source was made again, and messages of the one before are parked: retry or discard them, see annals parked"}
				if diff := cmp.Diff(want, c.told(&told)); diff != "" {
					t.Errorf("paused: %s", diff)
				}
				settle(t, c)
				idle(time.Minute)
				if name == "retried" {
					c.want(t, "b@1 a@1 a@2 a@3 b@2")
				} else {
					c.want(t, "b@1 a@3 b@2")
				}
				c.wantItems(t)
				c.wantMark(t, worker.Mark{Source: "y", Offset: 2, Of: 1})
				end()
			})
		})
	}
}
