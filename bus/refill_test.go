package bus_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
)

// A key is parked at its third event, and then its topic is filled again.
func TestRefillWithAParkedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, broker := memory.New(), memory.NewBroker(1)
		appendOrders(t, db, "1", 3)
		appendOrders(t, db, "2", 1)
		m := bus.TopicPerCategory("annals")
		poison := func(r event.Recorded) (bus.Message, bool, error) {
			if r.Position == 3 {
				return bus.Message{}, false, errors.New("poison")
			}
			return m(r)
		}
		relay := bus.NewRelay(db, broker, silent, bus.WithMapper(poison))
		end := start(t, relay)
		after(time.Hour)
		end()
		wantParked(t, db, "order-1 waiting: 1: map order-1@3 (order.noted, position 3): poison")
		if err := bus.Decide(t.Context(), db, relay.Name(), "annals.order", bus.Refill, "ada"); err != nil {
			t.Fatal(err)
		}
		broker.Delete("annals.order")
		end = start(t, relay)
		after(24 * time.Hour)
		wantPositions(t, broker, "annals.order", 1, 2, 4)
		wantParked(t, db, "order-1 waiting: 1: map order-1@3 (order.noted, position 3): poison")
		end()
	})
}
