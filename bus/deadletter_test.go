package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// narrow refuses what is too large for it.
type narrow struct{ *memory.Broker }

func (narrow) Publish(context.Context, []bus.Message) error {
	return &bus.PublishError{Acked: []bool{false}, Index: 0, Err: worker.Permanent(errors.New("message is too large"))}
}

// A dead letter that is refused for good is told of, and holds up nothing.
func TestDeadLetterThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		var log bytes.Buffer
		var mu sync.Mutex
		d.failing(func(what string) error {
			if strings.HasPrefix(what, "order-1") {
				return worker.Permanent(errRefused)
			}
			return nil
		})
		publish(t, broker, noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2))
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"),
			bus.WithDeadLetter(narrow{broker}, bus.Contract{Topic: "dead"}), bus.WithLogger(slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil))))
		after(time.Minute)
		d.want(t, "order-2@1 {2}")
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 1: handle order-1@1 (order.noted, position 1): refused")
		end()
		want := `level=ERROR msg="dead letter is refused, parking without it" consumer=consumer/billing topic=dead part=shop.order/0 key=order-1 error="message is too large"`
		if got := strings.Count(log.String(), want); got != 1 {
			t.Errorf("told %d times of it, want once: %s", got, &log)
		}
	})
}

// absent is a broker that does not answer.
type absent struct {
	*memory.Broker
	mu             sync.Mutex
	waiting, most  int
	publishingOnly bool
}

func (a *absent) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	if a.publishingOnly {
		return a.Broker.Topics(ctx, names...)
	}
	return nil, a.wait(ctx)
}

func (a *absent) Publish(ctx context.Context, _ []bus.Message) error { return a.wait(ctx) }

func (a *absent) wait(ctx context.Context) error {
	a.mu.Lock()
	a.waiting++
	a.most = max(a.most, a.waiting)
	a.mu.Unlock()
	<-ctx.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	return ctx.Err()
}

// sideBySide is a source that delivers each message in a part of its own, all at once.
type sideBySide struct {
	bus.Source
	messages []bus.Message
}

func (s *sideBySide) Receive(ctx context.Context, to bus.Receiver) error {
	var parts []string
	for i := range s.messages {
		parts = append(parts, fmt.Sprint("shop.order/", i))
	}
	if _, err := to.Begin(ctx, parts...); err != nil {
		return err
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, m := range s.messages {
		wg.Go(func() {
			errs[i] = to.Deliver(ctx, bus.Delivery{Part: parts[i], Source: "x", Of: 2, Next: 1, Messages: []bus.Received{{Message: m}}})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// While the broker of dead letters is away no partition waits for another one.
func TestDeadLettersDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	for name, publishingOnly := range map[string]bool{"before the topic is known": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker, d := memory.NewBroker(1), newDesk()
				d.failing(func(string) error { return worker.Permanent(errRefused) })
				dead := &absent{Broker: memory.NewBroker(1), publishingOnly: publishingOnly}
				end := run(t, bus.NewConsumer("billing", d.onOrders()), d, &sideBySide{broker.Source(), []bus.Message{noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2)}},
					bus.WithDeadLetter(dead, bus.Contract{Topic: "dead"}))
				after(30 * time.Second)
				dead.mu.Lock()
				if dead.most != 2 {
					t.Errorf("%d wait at once, want both parts", dead.most)
				}
				dead.mu.Unlock()
				end()
				d.wantParked(t, "billing")
			})
		})
	}
}
