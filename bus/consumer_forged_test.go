package bus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// A record with a malformed lineage is no event: it is parked, ends nothing, and its text
// gets into no mark. So it is whatever routes there are, wherever it lies.
func TestMalformedLineageIsForeign(t *testing.T) {
	t.Parallel()
	lineage := eventstore.Lineage{{Incarnation: event.ID{1}}}.String()
	const why = `read message of topic shop.order: message is no event of Annals: header annals-lineage: parse lineage "garbage": want up to 8 of incarnation@position, joined by commas`
	for name, at := range map[string]int{"first": 0, "between": 1, "last": 2} {
		for _, covered := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					broker, d := memory.NewBroker(1), newDesk()
					all := []bus.Message{noteAt(t, "1", 1, 1, lineage), noteAt(t, "1", 2, 2, lineage)}
					garbage := noteAt(t, "9", 1, 9, "garbage")
					if !covered {
						garbage = with(garbage, bus.HeaderName, "payment.made")
					}
					publish(t, broker, append(append(append([]bus.Message{}, all[:at]...), garbage), all[at:]...)...)
					c := bus.NewConsumer("billing", d.onOrders())
					for range 2 { // nor does it after a restart
						end := run(t, c, d, broker.Source("shop.order"))
						after(time.Hour)
						end()
					}
					d.want(t, "order-1@1 {1}", "order-1@2 {2}")
					d.wantParked(t, "billing", "shop.order/0 order-9 waiting 1: "+why)
					wantAt(t, d, "billing", "shop.order", 3)
					c1, err := d.Checkpoint(t.Context(), c.Name())
					if m := c1["shop.order/0"]; err != nil || m.Lineage != lineage || m.Position != 2 {
						t.Errorf("the mark is %+v, %v, want lineage %s and position 2", m, err, lineage)
					}
				})
			})
		}
	}
}

// Garbage with the id of an event that comes later does not suppress it: what is no event
// is known by its place.
func TestGarbageCannotHaveTheIDOfAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		real := noteAt(t, "1", 1, 1)
		garbage := with(bus.Message{Topic: "shop.order", Key: []byte("k"), Value: []byte("v")}, bus.HeaderID, event.ID{1: 1, 15: 1}.String())
		publish(t, broker, garbage, garbage, with(with(garbage, "ce_id", "1"), "ce_source", "/legacy"), with(real, bus.HeaderName, "no name"), with(real, bus.HeaderLineage, "garbage"), real)
		c := bus.NewConsumer("billing", d.onMessages("any", bus.InTopic("shop.order")))
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "any: k v", "any: k v", "any: k v", "any: 1 1", "any: 1 1", "any: 1 1")
		d.wantParked(t, "billing")
		end()
	})
}

// A record that has not what every event has is garbage, whatever category it names: it
// waits by itself, and holds up no stream.
func TestGarbageHoldsUpNoStream(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{bus.HeaderID, bus.HeaderName, bus.HeaderPosition, bus.HeaderCategory} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker, d := memory.NewBroker(1), newDesk()
				bare := with(bus.Message{Topic: "shop.order", Key: []byte("1"), Value: []byte("v")}, bus.HeaderCategory, "order")
				publish(t, broker, bare, without(noteAt(t, "1", 9, 9), missing), noteAt(t, "1", 1, 1))
				end := run(t, bus.NewConsumer("billing", d.onOrders()), d, broker.Source("shop.order"))
				after(time.Hour)
				d.want(t, "order-1@1 {1}")
				d.wantParked(t, "billing", "shop.order/0 foreign/shop.order-1 waiting 2: read message of topic shop.order: message is no event of Annals: header annals-name is missing")
				end()
			})
		})
	}
}
