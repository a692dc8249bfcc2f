package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

const day = 24 * time.Hour

var errRefused = errors.New("refused")

// tally sums up what Hooks.Applied is told.
type tally struct {
	mu                 sync.Mutex
	effective, repeats int
}

func (c *tally) hooks() bus.WorkerOption {
	return bus.WithHooks(worker.Hooks{Applied: func(a worker.Applied) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.effective, c.repeats = c.effective+len(a.Events), c.repeats+a.Repeated
	}})
}

func (c *tally) want(t *testing.T, effective, repeats int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.effective != effective || c.repeats != repeats {
		t.Errorf("told of %d effects and %d repeats, want %d and %d", c.effective, c.repeats, effective, repeats)
	}
}

// P6: however a message comes again, it has one effect: twice in a batch, as a record of
// its own, in a topic that was made again, in another topic, or from its relay, late.
func TestRepeatsHaveNoEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		var told tally
		one, two, three := noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2), noteAt(t, "1", 2, 3)
		publish(t, broker, one, one, two, one)
		c := bus.NewConsumer("billing", d.onOrders())
		end := run(t, c, d, broker.Source("shop.order", "copy"), bus.WithBatch(2), told.hooks())
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}")
		told.want(t, 2, 2)

		publish(t, broker, one, with(two, bus.HeaderLate, "1"), three)
		after(time.Minute)
		elsewhere := two
		elsewhere.Topic = "copy"
		publish(t, broker, elsewhere)
		after(time.Minute)
		end()
		broker.Delete("shop.order") // and made again
		publish(t, broker, one, two, three)
		end = run(t, c, d, broker.Source("shop.order"), told.hooks())
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}", "order-1@2 {3}")
		told.want(t, 3, 8)
		d.wantParked(t, "billing")
		end()
	})
}

// What a relay had parked comes behind newer events of other streams, marked as late. The
// inbox tells whether it is new: it is not parked, as with readers that go by positions.
func TestLateEventsTakeEffectIfTheyAreNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		late := func(m bus.Message) bus.Message { return with(m, bus.HeaderLate, "1") }
		publish(t, broker, noteAt(t, "2", 1, 2), noteAt(t, "2", 2, 4), late(noteAt(t, "1", 1, 1)), late(noteAt(t, "2", 1, 2)), late(noteAt(t, "1", 2, 3)))
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "order-2@1 {2}", "order-2@2 {4}", "order-1@1 {1}", "order-1@2 {3}")
		d.wantParked(t, "billing")
		end()
	})
}

// A redelivery 40 days later is told from what is new; one after that is refused loudly,
// and somebody decides.
func TestRedeliveryAfterALongTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		var told tally
		one, two, foreign := noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2), bus.Message{Topic: "shop.order", Key: []byte("k"), Value: []byte("v")}
		foreign = with(with(foreign, "ce_id", "1"), "ce_source", "/legacy")
		c := bus.NewConsumer("billing", d.onOrders(), d.onMessages("any", bus.HasHeader("ce_id", "1")))
		publish(t, broker, one, two, foreign)
		end := run(t, c, d, broker.Source("shop.order"), told.hooks())
		pass := func(days time.Duration) {
			t.Helper()
			after(time.Minute)
			end()
			after(days * day)
			end = run(t, c, d, broker.Source("shop.order"), told.hooks())
			after(time.Hour)
		}
		pass(40)
		publish(t, broker, one, foreign)
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}", "any: k v")
		told.want(t, 3, 2)
		d.wantParked(t, "billing")

		pass(6) // 46 by now
		publish(t, broker, one, noteAt(t, "3", 1, 3), noteAt(t, "1", 2, 4))
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}", "any: k v", "order-3@1 {3}")
		const forgotten = "message is of a time that the inbox has forgotten, so it is not known whether it took effect: retry it to apply it, or discard it if it did"
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 2: "+forgotten)

		d.retry(t, "billing", "shop.order/0", "order-1") // it did not, says somebody
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}", "any: k v", "order-3@1 {3}", "order-1@1 {1}", "order-1@2 {4}")
		publish(t, broker, one)
		after(time.Minute)
		d.wantParked(t, "billing") // it is remembered now
		told.want(t, 6, 3)
		end()
	})
}

// With a memory of 0 nothing is forgotten.
func TestRememberForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		publish(t, broker, noteAt(t, "1", 1, 1))
		c := bus.NewConsumer("billing", d.onOrders())
		end := run(t, c, d, broker.Source("shop.order"), bus.WithMemory(0))
		after(time.Minute)
		end()
		after(1000 * day)
		end = run(t, c, d, broker.Source("shop.order"), bus.WithMemory(0))
		after(day)
		publish(t, broker, noteAt(t, "1", 1, 1))
		after(time.Minute)
		d.want(t, "order-1@1 {1}")
		d.wantParked(t, "billing")
		end()
	})
}

// What was tried, and waited for longer than the memory, is applied when it is retried,
// once, however often it had come meanwhile. Of what went behind it, untried, it is not
// known any more whether it is new: somebody decides.
func TestDrainKnowsThatWhatHasFailedIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		d.failing(func(what string) error {
			if strings.HasPrefix(what, "order-1") {
				return worker.Permanent(errRefused)
			}
			return nil
		})
		one, two := noteAt(t, "1", 1, 1), noteAt(t, "1", 2, 2)
		publish(t, broker, one, two, one, noteAt(t, "2", 1, 3))
		c := bus.NewConsumer("billing", d.onOrders())
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		end()
		after(100 * day)
		end = run(t, c, d, broker.Source("shop.order"))
		after(time.Hour)
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 3: handle order-1@1 (order.noted, position 1): refused")
		d.failing(nil)
		d.retry(t, "billing", "shop.order/0", "order-1")
		after(time.Minute)
		d.want(t, "order-2@1 {3}", "order-1@1 {1}")
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 2: "+bus.ErrForgotten.Error())
		d.retry(t, "billing", "shop.order/0", "order-1")
		after(time.Minute)
		d.want(t, "order-2@1 {3}", "order-1@1 {1}", "order-1@2 {2}")
		d.wantParked(t, "billing")
		end()
	})
}

func TestWhatTookEffectMeanwhileIsNotDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		d.failing(func(string) error { return worker.Permanent(errRefused) })
		one := noteAt(t, "1", 1, 1)
		publish(t, broker, one)
		c := bus.NewConsumer("billing", d.onOrders())
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		end()
		d.failing(nil)
		one.Topic = "copy"
		publish(t, broker, one)
		end = run(t, c, d, broker.Source("shop.order", "copy"))
		after(time.Minute)
		d.want(t, "order-1@1 {1}")
		d.retry(t, "billing", "shop.order/0", "order-1")
		after(time.Minute)
		d.want(t, "order-1@1 {1}")
		d.wantParked(t, "billing")
		end()
	})
}

// clumsy is an inbox that fails.
type clumsy struct {
	*desk
	away    atomic.Bool
	forgets atomic.Int64
}

func (c *clumsy) RememberTx(ctx context.Context, tx *memory.Tx, consumer string, messages []bus.Identity) ([]bus.Memory, error) {
	if c.away.Load() {
		return nil, errors.New("connection refused")
	}
	return c.desk.RememberTx(ctx, tx, consumer, messages)
}

func (c *clumsy) Forget(ctx context.Context, consumer string, before time.Time, limit int) (int, error) {
	c.forgets.Add(1)
	if c.away.Load() {
		return 0, errors.New("connection refused")
	}
	return c.desk.Forget(ctx, consumer, before, limit)
}

// An inbox that fails is no message's fault: nothing is parked, nothing takes effect
// without it, and what could not be forgotten is forgotten later.
func TestConsumerWaitsForItsInbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), &clumsy{desk: newDesk()}
		var log bytes.Buffer
		var mu sync.Mutex
		d.away.Store(true)
		publish(t, broker, noteAt(t, "1", 1, 1))
		c, logger := bus.NewConsumer("billing", d.onOrders()), bus.WithLogger(slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil)))
		end := run(t, c, d, broker.Source("shop.order"), logger)
		after(day)
		d.want(t)
		d.wantParked(t, "billing")
		mu.Lock()
		text := log.String()
		mu.Unlock()
		for _, want := range []string{
			`error="ask the inbox of consumer/billing: connection refused"`,
			`msg="cannot forget old messages, trying again later" consumer=consumer/billing error="connection refused"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the log lacks %s: %s", want, text)
			}
		}
		if n := d.forgets.Load(); n < 15 || n > 50 {
			t.Errorf("tried to forget %d times in a day, want about once an hour", n)
		}
		d.away.Store(false)
		after(time.Hour)
		end()
		after(46 * day)
		end = run(t, c, d, broker.Source("shop.order"), logger)
		after(time.Hour)
		d.want(t, "order-1@1 {1}")
		publish(t, broker, noteAt(t, "1", 1, 1))
		after(time.Minute)
		if all, err := d.Parked(t.Context(), worker.ParkedQuery{Name: "consumer/billing"}); err != nil || len(all) != 1 {
			t.Errorf("parked %+v, %v, want what was forgotten", all, err)
		}
		end()
	})
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// dying is a store whose transactions fail when they are about to commit.
type dying struct {
	*desk
	n atomic.Int64 // of transactions that fail
}

func (d *dying) Advance(ctx context.Context, name string, term worker.Term, part string, fn func(context.Context, *memory.Tx, worker.Mark) (worker.Write, error)) error {
	return d.DB.Advance(ctx, name, term, part, func(ctx context.Context, tx *memory.Tx, at worker.Mark) (worker.Write, error) {
		w, err := fn(ctx, tx, at)
		if err == nil && d.n.Add(-1) >= 0 {
			err = worker.Systemic(errors.New("connection is lost"))
		}
		return w, err
	})
}

// The effect, what is remembered of it and the mark are one transaction: after one that
// was rolled back the message is new.
func TestWhatIsRolledBackIsNotRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), &dying{desk: newDesk()}
		d.n.Store(3)
		publish(t, broker, noteAt(t, "1", 1, 1), noteAt(t, "1", 2, 2))
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-1@2 {2}")
		wantAt(t, d.desk, "billing", "shop.order", 2)
		end()
	})
}

// seen keeps what an inbox is asked.
type seen struct {
	*desk
	mu  sync.Mutex
	all []bus.Identity
}

func (s *seen) RememberTx(ctx context.Context, tx *memory.Tx, consumer string, messages []bus.Identity) ([]bus.Memory, error) {
	s.mu.Lock()
	s.all = append(s.all, messages...)
	s.mu.Unlock()
	return s.desk.RememberTx(ctx, tx, consumer, messages)
}
