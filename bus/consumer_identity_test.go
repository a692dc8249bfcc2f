package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// What a message is known by, and that only those which a route takes are remembered.
func TestIdentities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), &seen{desk: newDesk()}
		foreign := bus.Message{Topic: "shop.order", Value: []byte("v")}
		cloud := with(with(foreign, "ce_id", "1"), "ce_source", "/a")
		own := with(foreign, "own", "yes")
		publish(t, broker, noteAt(t, "1", 1, 7), messageAt(t, "other", "1", 1, 8), foreign, foreign,
			cloud, cloud, with(with(foreign, "ce_id", "1"), "ce_source", "/b"), with(cloud, "ce_id", ""), own, own,
			with(noteAt(t, "1", 2, 9), bus.HeaderID, event.ID{}.String()), with(noteAt(t, "1", 3, 10), bus.HeaderID, event.ID{}.String()))
		id := event.ID{1, 2, 3}
		c := bus.NewConsumer("billing", d.onMessages("m", func(m bus.Received) bool { return m.Topic == "shop.order" }))
		end := run(t, c, d, broker.Source("shop.order", "shop.other"), bus.WithIdentity(func(m bus.Received) (event.ID, bool) {
			return id, bus.HasHeader("own", "yes")(m)
		}))
		after(time.Minute)
		var got []string
		nth, first := map[event.ID]int{}, 0
		for i, m := range d.all {
			if m.Topic != "shop.order" || m.Held || m.Position == 0 && time.Since(m.Time) > time.Hour {
				t.Errorf("%d is remembered as %+v", i, m)
			}
			if m.ID == id {
				first = i
			}
			if _, ok := nth[m.ID]; !ok {
				nth[m.ID] = i
			}
			got = append(got, fmt.Sprint(nth[m.ID], "@", int(m.Position)))
		}
		want := []string{"0@7", "1@0", "2@0", "3@0", "3@0", "5@0", "6@0", "7@0", "7@0", "9@9", "10@10"}
		if diff := cmp.Diff(want, got); diff != "" || first != 8 || d.all[0].ID != (event.ID{1: 1, 15: 7}) {
			t.Errorf("identities, each as the first with its id: %s", diff)
		}
		if got, want := d.all[3].ID.String(), "2516a948-83f7-5e0b-9be2-5685cf5a3109"; got != want {
			t.Errorf("a CloudEvent is known by %s, want %s: it is stored", got, want)
		}
		end()
	})
}

// A message known by a record is known by that of its incarnation of the topic.
func TestRecordsOfATopicThatWasMadeAgainAreOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		c := bus.NewConsumer("billing", d.onMessages("m", bus.InTopic("legacy")))
		for _, v := range []string{"a", "b"} {
			publish(t, broker, bus.Message{Topic: "legacy", Value: []byte(v)})
			end := run(t, c, d, broker.Source("legacy"))
			after(time.Minute)
			end()
			broker.Delete("legacy")
		}
		d.want(t, "m:  a", "m:  b")
	})
}

// P9: a consumer that was given events which the store has lost stops, as soon as the
// relay has begun a new incarnation, and one that was not goes on in it.
func TestConsumerThatWasGivenMoreStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := eventstore.Lineage{{Incarnation: event.ID{1}}}
		second := append(first, eventstore.Generation{Incarnation: event.ID{2}, Since: 2})
		for name, taken := range map[string]int{"given what was lost": 3, "given less": 2} {
			broker, d := memory.NewBroker(1), newDesk()
			var given []bus.Message
			for i := range taken {
				given = append(given, noteAt(t, "1", i+1, i+1, first.String()))
			}
			garbage := bus.Message{Topic: "shop.order", Value: []byte("garbage")} // it has no history
			publish(t, broker, append(given, garbage)...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			ended := make(chan error, 1)
			c := bus.NewConsumer("billing", d.onOrders())
			go func() {
				ended <- c.Run(ctx, d, broker.Source("shop.order"), silent, bus.WithForeign(bus.Ignore))
			}()
			after(time.Minute)
			// Not even one that no route takes goes by unnoticed.
			unknown := with(noteAt(t, "1", 3, 3, second.String()), bus.HeaderName, "payment.made")
			publish(t, broker, garbage, unknown)
			if name == "given less" {
				publish(t, broker, noteAt(t, "1", 4, 4, second.String()))
			}
			err := <-ended
			cancel()
			if name == "given less" {
				if err != nil {
					t.Errorf("%s: Run = %v", name, err)
				}
				d.want(t, "order-1@1 {1}", "order-1@2 {2}", "order-1@4 {4}")
				continue
			}
			want := "resume consumer/billing: part shop.order/0: the store was set back: at positions 3 to 3 it does not have what this reader was given: run annals doctor for the ways on"
			var diverged *worker.DivergedError
			if !errors.As(err, &diverged) || err.Error() != want {
				t.Errorf("%s: Run = %v, want %s", name, err, want)
			}
			d.want(t, "order-1@1 {1}", "order-1@2 {2}", "order-1@3 {3}")
		}
	})
}

// A topic that has grown stops the consumer: the inbox tells repeats, but the order of a
// key whose partition has changed would be lost.
func TestConsumerStopsWhenPartitionsGrow(t *testing.T) {
	t.Parallel()
	broker, d := memory.NewBroker(1), newDesk()
	publish(t, broker, noteAt(t, "1", 1, 1))
	c := bus.NewConsumer("billing", d.onOrders())
	source := &grown{Source: broker.Source("shop.order"), of: 1, messages: []bus.Message{noteAt(t, "1", 1, 1)}}
	if err := c.Run(t.Context(), d, source, silent); err != nil {
		t.Fatal(err)
	}
	source.of, source.first = 2, 1
	err := c.Run(t.Context(), d, source, silent)
	want := "advance consumer/billing: part shop.order/0 is one of 2, but the checkpoint was made with 1, so keys have moved: rebuild the read model; set a consumer with an inbox back with RewindParts"
	var parts *worker.PartsError
	if !errors.As(err, &parts) || err.Error() != want {
		t.Errorf("Run = %v, want %s", err, want)
	}
	if err := worker.RewindParts(t.Context(), d, c.Name(), eventstore.Lineage{{Incarnation: event.ID{1}}}.String(), true); err != nil {
		t.Fatal(err)
	}
	source.first, source.messages = 0, append(source.messages, noteAt(t, "1", 2, 2))
	if err := c.Run(t.Context(), d, source, silent); err != nil {
		t.Fatal(err)
	}
	d.want(t, "order-1@1 {1}", "order-1@2 {2}")
}

// grown is a source that delivers its messages once, from an offset on.
type grown struct {
	bus.Source
	of       int
	first    int64
	messages []bus.Message
}

func (g *grown) Receive(ctx context.Context, to bus.Receiver) error {
	if _, err := to.Begin(ctx, "shop.order/0"); err != nil {
		return err
	}
	d := bus.Delivery{Part: "shop.order/0", Source: "x", Of: g.of, First: g.first, Next: g.first}
	for _, m := range g.messages {
		d.Messages = append(d.Messages, bus.Received{Message: m, Offset: d.Next})
		d.Next++
	}
	return to.Deliver(ctx, d)
}
