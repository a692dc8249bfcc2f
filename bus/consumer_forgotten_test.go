package bus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// A whole key comes again after the memory: each of its messages is asked about, also
// those that went behind the first one, untried. What takes effect is what somebody has
// retried, and no more.
func TestForgottenRepeatsBehindAParkedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		one, two, three, four := noteAt(t, "1", 1, 1), noteAt(t, "1", 2, 2), noteAt(t, "1", 3, 3), noteAt(t, "1", 4, 4)
		c := bus.NewConsumer("billing", d.onOrders())
		publish(t, broker, one, two, three)
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		end()
		after(60 * day)
		end = run(t, c, d, broker.Source("shop.order"))
		after(time.Hour)
		key := worker.Key{Part: "shop.order/0", Key: "order-1"}
		a := worker.Amender{Store: d.DB, Name: "consumer/billing", Actor: "ada"}
		discard := func(offset int64) {
			t.Helper()
			if err := a.DiscardParked(t.Context(), key, offset, "it did"); err != nil {
				t.Fatal(err)
			}
			after(time.Minute)
		}
		before := []string{"order-1@1 {1}", "order-1@2 {2}", "order-1@3 {3}"}
		forgotten := ": " + bus.ErrForgotten.Error()
		publish(t, broker, one, two, three, four)
		after(time.Minute)
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 4"+forgotten)
		discard(3)
		d.want(t, before...)
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 3"+forgotten)
		d.retry(t, "billing", key.Part, key.Key) // of the second one it is said that it did not
		after(time.Minute)
		d.want(t, append(before, "order-1@2 {2}")...)
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 2"+forgotten)
		discard(5)
		d.want(t, append(before, "order-1@2 {2}", "order-1@4 {4}")...)
		d.wantParked(t, "billing")
		end()
	})
}

// What is new in front of a repeat that was forgotten takes effect without waiting for it.
func TestForgottenRepeatBehindNewOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), &seen{desk: newDesk()}
		c := bus.NewConsumer("billing", d.onOrders())
		old := noteAt(t, "1", 1, 1)
		publish(t, broker, old)
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		end()
		after(60 * day)
		end = run(t, c, d, broker.Source("shop.order"))
		after(time.Hour)
		d.failing(func(string) error { return worker.Permanent(errRefused) })
		publish(t, broker, noteAt(t, "1", 2, 2), noteAt(t, "1", 3, 3), noteAt(t, "1", 4, 4), old, noteAt(t, "1", 5, 5))
		after(time.Minute)
		d.failing(nil)
		d.all = nil
		d.retry(t, "billing", "shop.order/0", "order-1")
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-1@2 {2}", "order-1@3 {3}", "order-1@4 {4}")
		d.wantParked(t, "billing", "shop.order/0 order-1 waiting 2: "+bus.ErrForgotten.Error())
		var held []event.Position
		for _, m := range d.all {
			if m.Held {
				held = append(held, m.Position)
			}
		}
		if len(held) != 2 || held[0] != 2 || held[1] != 2 { // of all, and of those in front
			t.Errorf("the messages at %v are held, want that at 2 in two drains", held)
		}
		end()
	})
}
