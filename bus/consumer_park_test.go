package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// P8: a message that fails parks its key alone, and after a fix all of it takes effect in
// order. So does one whose handler panics, or that this program cannot decode.
func TestPoisonParksItsKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		poison bus.Message
		fail   func() error
		err    string
	}{
		"refused":            {noteAt(t, "1", 2, 2), func() error { return worker.Permanent(errors.New("refused")) }, "handle order-1@2 (order.noted, position 2): refused"},
		"a panic":            {noteAt(t, "1", 2, 2), func() error { panic("oh") }, "panic: oh"},
		"an unknown name":    {with(noteAt(t, "1", 2, 2), bus.HeaderName, "order.lost"), nil, `decode order-1@2 (order.lost, position 2): event cannot be decoded: unknown event name "order.lost"`},
		"an unknown schema":  {with(noteAt(t, "1", 2, 2), bus.HeaderSchema, "7"), nil, "decode order-1@2 (order.noted, position 2): event cannot be decoded: unknown schema version 7 of order.noted: this program knows up to 2"},
		"a damaged header":   {with(noteAt(t, "1", 2, 2), bus.HeaderVersion, "x"), nil, `read message of topic shop.order: message is no event of Annals: header annals-version: strconv.ParseInt: parsing "x": invalid syntax`},
		"a damaged position": {with(noteAt(t, "1", 2, 2), bus.HeaderPosition, ""), nil, `read message of topic shop.order: message is no event of Annals: header annals-position: strconv.ParseInt: parsing "": invalid syntax`},
		"a damaged name":     {with(noteAt(t, "1", 2, 2), bus.HeaderName, "x"), nil, `read message of topic shop.order: message is no event of Annals: invalid event name "x": want family.fact, such as order.placed`},
		"a damaged id":       {with(noteAt(t, "1", 2, 2), bus.HeaderID, "x"), nil, "read message of topic shop.order: message is no event of Annals: header annals-id: invalid UUID length: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker, d := memory.NewBroker(1), newDesk()
				if c.fail != nil {
					d.failing(func(what string) error {
						if what == "order-1@2 {2}" {
							return c.fail()
						}
						return nil
					})
				}
				publish(t, broker, noteAt(t, "1", 1, 1), c.poison, noteAt(t, "2", 1, 3), noteAt(t, "1", 3, 4))
				end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"))
				after(time.Hour)
				publish(t, broker, noteAt(t, "1", 4, 5), noteAt(t, "2", 2, 6))
				after(time.Hour)
				d.want(t, "order-1@1 {1}", "order-2@1 {3}", "order-2@2 {6}")
				d.wantParked(t, "billing", "shop.order/0 order-1 waiting 3: "+c.err)
				key := worker.Key{Part: "shop.order/0", Key: "order-1"}
				items, err := d.Items(t.Context(), "consumer/billing", key, -1, 10)
				if err != nil || len(items) != 3 || items[0].Seq != 1 || items[1].Seq != 3 || items[2].Seq != 4 {
					t.Fatalf("items %+v, %v, want those of offsets 1, 3 and 4", items, err)
				}
				want := []string{"order-1@2 {2}", "order-1@3 {4}", "order-1@4 {5}"}
				if d.failing(nil); c.fail != nil {
					d.retry(t, "billing", key.Part, key.Key)
				} else {
					want = want[1:]
					a := worker.Amender{Store: d.DB, Name: "consumer/billing", Actor: "ada"}
					if err := a.DiscardParked(t.Context(), key, 1, "damaged"); err != nil {
						t.Fatal(err)
					}
					d.retry(t, "billing", key.Part, key.Key)
				}
				after(time.Minute)
				d.want(t, append([]string{"order-1@1 {1}", "order-2@1 {3}", "order-2@2 {6}"}, want...)...)
				d.wantParked(t, "billing")
				end()
			})
		})
	}
}

// An outage parks nothing, and what failed then is applied by itself.
func TestOutageParksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d, breaker := memory.NewBroker(1), newDesk(), &fuse{}
		d.failing(func(string) error { return errors.New("away") })
		var all []bus.Message
		var want []string
		for i := range 30 {
			all = append(all, noteAt(t, fmt.Sprint(i), 1, i+1))
			want = append(want, fmt.Sprintf("order-%d@1 {%d}", i, i+1))
		}
		publish(t, broker, all...)
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"), bus.WithBreaker(breaker))
		after(time.Hour)
		d.want(t)
		d.wantParked(t, "billing")
		breaker.open.Store(true)
		d.failing(nil)
		after(time.Hour)
		d.want(t)
		breaker.open.Store(false)
		after(time.Minute)
		d.want(t, want...)
		d.wantParked(t, "billing")
		end()
	})
}

// Garbage of other producers is parked with its bytes, under a key that no stream can
// have, or passes by, as WithForeign says; and a consumer without events expects it.
func TestConsumerMeetsGarbage(t *testing.T) {
	t.Parallel()
	refuse, ignore := bus.WithForeign(bus.Refuse), bus.WithForeign(bus.Ignore)
	const why = "read message of topic shop.order: message is no event of Annals: header annals-name is missing"
	parked := []string{
		`shop.order/0 foreign/shop.order-"\xff\x00" waiting 1: ` + why,
		"shop.order/0 foreign/shop.order-order-1 waiting 2: " + why,
		"shop.order/0 foreign/shop.order-sha256:8a3c3fb01fabe9e3919c93e6ff4aad2df3c078d62d30585674e941746678504b waiting 1: " + why,
		"shop.order/0 foreign/shop.order/0 waiting 2: " + why,
	}
	for name, c := range map[string]struct {
		events bool
		opts   []bus.ConsumerOption
		parked []string
		want   []string
	}{
		"events are expected":            {true, nil, parked, []string{"order-1@1 {1}"}},
		"events are expected, by name":   {true, []bus.ConsumerOption{refuse}, parked, []string{"order-1@1 {1}"}},
		"garbage is expected":            {true, []bus.ConsumerOption{ignore}, nil, []string{"order-1@1 {1}"}},
		"messages are expected":          {false, nil, nil, nil},
		"messages are expected, no more": {false, []bus.ConsumerOption{refuse}, parked, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker, d := memory.NewBroker(1), newDesk()
				route := d.onMessages("m", bus.HasHeader("tenant", "acme"))
				if c.events {
					route = d.onOrders()
				}
				garbage := func(key string) bus.Message {
					return bus.Message{Topic: "shop.order", Key: []byte(key), Value: []byte("\x00garbage")}
				}
				publish(t, broker, garbage("order-1"), noteAt(t, "1", 1, 1), garbage("order-1"), garbage("\xff\x00"), garbage(strings.Repeat("k", 500)),
					garbage(""), garbage(""), messageAt(t, "other", "1", 1, 2))
				end := run(t, bus.NewConsumer("billing", route), d, broker.Source("shop.order", "shop.other"), append(c.opts, bus.WithRetry(worker.Retry{Systemic: 1}))...)
				after(time.Minute)
				d.want(t, c.want...)
				d.wantParked(t, "billing", c.parked...)
				if len(c.parked) > 0 {
					items, err := d.Items(t.Context(), "consumer/billing", worker.Key{Part: "shop.order/0", Key: "foreign/shop.order/0"}, -1, 10)
					if err != nil || len(items) != 2 {
						t.Errorf("items %+v, %v", items, err)
					}
				}
				end()
			})
		})
	}
}

// A route that panics when it is asked has the message parked.
func TestMatchThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		publish(t, broker, noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2))
		c := bus.NewConsumer("billing", d.onMessages("m", func(m bus.Received) bool {
			if string(m.Key) == "1" {
				panic("oh")
			}
			return true
		}))
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "m: 2 2")
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 1: panic: oh")
		end()
	})
}

func TestConsumerStops(t *testing.T) {
	t.Parallel()
	broker, d := memory.NewBroker(1), newDesk()
	publish(t, broker, noteAt(t, "1", 1, 1), noteAt(t, "2", 1, 2), noteAt(t, "3", 1, 3))
	d.failing(func(what string) error {
		if what == "order-2@1 {2}" {
			return worker.Permanent(errors.New("refused"))
		}
		return nil
	})
	err := bus.NewConsumer("billing", d.onOrders()).Run(t.Context(), d, broker.Source("shop.order"), silent, bus.WithStop())
	if want := "handle order-2@1 (order.noted, position 2): refused"; err == nil || err.Error() != want {
		t.Errorf("Run = %v, want %s", err, want)
	}
	d.want(t, "order-1@1 {1}")
	d.wantParked(t, "billing")
}

// reluctant is a publisher that fails at first.
type reluctant struct {
	*memory.Broker
	mu    sync.Mutex
	fails int
}

func (r *reluctant) Publish(ctx context.Context, ms []bus.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails--; r.fails >= 0 {
		return errors.New("broker is away")
	}
	return r.Broker.Publish(ctx, ms)
}

// A copy of a message that waits for somebody is in the topic of dead letters before it
// is parked, with its own bytes and what is known of its failure.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(3), newDesk()
		dead := &reluctant{Broker: broker, fails: 3}
		d.failing(func(what string) error {
			if strings.HasPrefix(what, "order-1") {
				return errors.New("not yet")
			}
			return nil
		})
		poison := noteAt(t, "1", 1, 1)
		publish(t, broker, noteAt(t, "2", 1, 2), poison, noteAt(t, "1", 2, 3))
		began := time.Now().UTC()
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"), bus.WithVersion("v7"),
			bus.WithRetry(worker.Retry{Attempts: 2}), bus.WithDeadLetter(dead, bus.Contract{Topic: "shop.dead", Partitions: 1}))
		for i := range 3 { // an attempt counts if others succeed
			after(time.Hour)
			publish(t, broker, noteAt(t, "2", i+2, i+4))
		}
		after(time.Hour)
		d.want(t, "order-2@1 {2}", "order-2@2 {4}", "order-2@3 {5}", "order-2@4 {6}")
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 2: handle order-1@1 (order.noted, position 1): not yet")
		all := broker.Messages("shop.dead")
		if len(all) != 1 || len(all[0]) != 1 {
			t.Fatalf("dead letters %v, want one in one partition", all)
		}
		m := all[0][0]
		if string(m.Key) != "1" || string(m.Value) != "1" {
			t.Errorf("dead letter %s %s, want the key and value of the message", m.Key, m.Value)
		}
		var got []string
		for _, h := range m.Headers {
			got = append(got, h.Key+": "+string(h.Value))
		}
		want := []string{
			"dlq.topic: shop.order", "dlq.partition: 0", "dlq.offset: 1", "dlq.timestamp: " + began.Format(time.RFC3339Nano), "dlq.group: consumer/billing",
			"dlq.error: handle order-1@1 (order.noted, position 1): not yet", "dlq.attempts: 2", "dlq.first-failure: " + began.Format(time.RFC3339Nano), "dlq.version: v7",
		}
		for _, h := range poison.Headers {
			want = append(want, h.Key+": "+string(h.Value))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		broker.Delete("shop.dead") // it is made again
		d.retry(t, "billing", "shop.order/0", "order-1")
		for i := range 3 {
			after(time.Hour)
			publish(t, broker, noteAt(t, "2", i+5, i+7))
		}
		after(time.Hour)
		if all := broker.Messages("shop.dead"); len(all) != 1 || len(all[0]) != 1 {
			t.Errorf("dead letters %v, want one for each time that it waits", all)
		}
		end()
	})
}

// While dead letters cannot be sent nothing is parked.
func TestDeadLettersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		d.failing(func(string) error { return worker.Permanent(errors.New("refused")) })
		publish(t, broker, noteAt(t, "1", 1, 1))
		var mu sync.Mutex
		var told []string
		end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"),
			bus.WithDeadLetter(&reluctant{Broker: broker, fails: 1 << 30}, bus.Contract{Topic: "shop.dead"}),
			bus.WithHooks(worker.Hooks{Paused: func(p worker.Pause) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, p.Err.Error())
			}}))
		after(time.Hour)
		d.wantParked(t, "billing")
		mu.Lock()
		defer mu.Unlock()
		want := []string{`before key "order-1" is parked: send dead letter to shop.dead: broker is away`}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
		end()
	})
}
