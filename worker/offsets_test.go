package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// clerk is what the events of a source that goes by offsets take effect in: a list, which
// is kept if the transaction commits.
type clerk struct {
	*memory.DB
	mu      sync.Mutex
	applied []string // under mu
	fail    func(b worker.Batch, e event.Recorded) error
	waiting func(p worker.Parked, e event.Recorded) error
	retry   worker.Retry
	batch   int
	calls   []string // of waiting, under mu
	hooks   worker.Hooks
}

func newClerk() *clerk { return &clerk{DB: memory.New(), batch: 3} }

// made returns the calls of waiting.
func (c *clerk) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// tell is for hooks: they are called from the goroutines of the reader.
func (c *clerk) tell(to *[]string, what ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = append(*to, what...)
}

// told returns what hooks have written down.
func (c *clerk) told(by *[]string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(*by)
}

func (c *clerk) failing(fail func(b worker.Batch, e event.Recorded) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

func (c *clerk) reader() worker.Reader {
	r := worker.Reader{
		Name: "reader", Store: c.DB, Batch: c.batch, Logger: silent, Retry: c.retry, Hooks: c.hooks,
		Begin: func(_ context.Context, part string, all worker.Checkpoint) (worker.Mark, event.Position, error) {
			return all[part], 0, nil
		},
		Apply: c.apply,
	}
	if c.waiting != nil {
		r.Waiting = func(_ context.Context, p worker.Parked, e event.Recorded) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls = append(c.calls, fmt.Sprintf("%s@%d %s: %s", p.Key.Key, e.Version, p.State, p.Error))
			return c.waiting(p, e)
		}
	}
	return r
}

func (c *clerk) apply(ctx context.Context, b worker.Batch) error {
	var done []string
	err := c.Advance(ctx, "reader", b.Term, b.Part, func(_ context.Context, _ *memory.Tx, at worker.Mark) (worker.Write, error) {
		if at.Revision != b.Write.Marks[b.Part].Revision {
			return worker.Write{}, worker.ErrFenced
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, e := range b.Events {
			if c.fail != nil {
				if err := c.fail(b, e); err != nil {
					return worker.Write{}, &worker.EventError{Index: i, Err: err}
				}
			}
			done = append(done, fmt.Sprintf("%s@%d", e.Stream.ID, e.Version))
		}
		return b.Write, nil
	})
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.applied = append(c.applied, done...)
	}
	return err
}

func (c *clerk) want(t *testing.T, want string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.applied, " "); got != want {
		t.Errorf("applied %s, want %s", got, want)
	}
}

func (c *clerk) wantMark(t *testing.T, want worker.Mark) {
	t.Helper()
	all, err := c.Checkpoint(t.Context(), "reader")
	got := all["t/0"]
	got.Revision, got.Epoch = 0, 0
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("mark: %v %s", err, diff)
	}
}

// wantItems compares what is parked, each as "key state: seqs".
func (c *clerk) wantItems(t *testing.T, want ...string) {
	t.Helper()
	all, err := c.Parked(t.Context(), worker.ParkedQuery{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range all {
		items, err := c.Items(t.Context(), "reader", p.Key, -1, 100)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s %s:", p.Key.Key, p.State)
		for _, i := range items {
			text += fmt.Sprint(" ", i.Seq)
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("parked: %s", diff)
	}
}

func (c *clerk) decide(t *testing.T, what func(a worker.Amender, key worker.Key) error, key string) {
	t.Helper()
	if err := what(worker.Amender{Store: c.DB, Name: "reader", Actor: "ada"}, worker.Key{Part: "t/0", Key: key}); err != nil {
		t.Fatal(err)
	}
}

func (c *clerk) retryParked(t *testing.T, key string) {
	t.Helper()
	c.decide(t, func(a worker.Amender, k worker.Key) error {
		_, err := a.RetryParked(t.Context(), 0, k)
		return err
	}, key)
}

// feed is a source of one part that delivers what it is given, one after the other.
type feed struct{ deliveries chan worker.Delivery }

func newFeed(all ...worker.Delivery) *feed {
	f := &feed{make(chan worker.Delivery, 100)}
	for _, d := range all {
		f.deliveries <- d
	}
	return f
}

func (f *feed) Owns(string) bool { return true }

func (f *feed) Consume(ctx context.Context, to worker.Sink) error {
	if _, err := to.Begin(ctx, "t/0"); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-f.deliveries:
			if err := to.Deliver(ctx, d); err != nil {
				return err
			}
		}
	}
}

// records is a delivery of records from an offset on, each as "stream@version"; "-" is
// one that the reader does not get. Positions say nothing.
func records(source string, first int64, words string) worker.Delivery {
	d := worker.Delivery{Part: "t/0", Source: source, Of: 1, First: first, Next: first, Offsets: []int64{}}
	for _, w := range strings.Fields(words) {
		if id, version, ok := strings.Cut(w, "@"); ok {
			var n int
			_, _ = fmt.Sscan(version, &n)
			d.Offsets = append(d.Offsets, d.Next)
			d.Events = append(d.Events, event.Recorded{Stream: event.Stream{Category: "order", ID: id}, Version: event.Version(n)})
		}
		d.Next++
	}
	return d
}

// start runs the reader in a goroutine of the bubble, and returns how to end it.
func (c *clerk) start(t *testing.T, f *feed) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.reader().Consume(ctx, f) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Consume = %v", err)
		}
	}
}

func idle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var errToxic = worker.Permanent(errors.New("poison"))

func poisons(what string) func(worker.Batch, event.Recorded) error {
	return func(_ worker.Batch, e event.Recorded) error {
		if fmt.Sprintf("%s@%d", e.Stream.ID, e.Version) == what {
			return errToxic
		}
		return nil
	}
}

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
