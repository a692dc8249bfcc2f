package projection_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// What a relay has parked comes behind newer events of other streams. A consumer that
// went by its mark would take it for a repeat: P1, P8.
func TestLateEventsAreParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, broker := &ledger{DB: memory.New()}, memory.NewBroker(1)
		var mended atomic.Bool
		relay := bus.NewRelay(l.DB, broker, bus.WithMapper(func(e event.Recorded) (bus.Message, bool, error) {
			if e.Stream.ID == "a" && !mended.Load() {
				return bus.Message{}, false, errors.New("cannot be mapped")
			}
			m, ok, err := bus.TopicPerCategory("annals")(e)
			return m, ok && e.Stream.Category == "account", err
		}))
		l.append(t, "account-a", paid(t, 1))
		l.append(t, "account-b", paid(t, 2))
		l.append(t, "account-a", paid(t, 3))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- relay.Run(ctx) }()
		p := l.projection("totals")
		end := l.start(t, p, projection.From(broker.Source("annals.account")))
		<-time.After(time.Minute)
		mended.Store(true)
		key := worker.Key{Key: "account-a"}
		if _, err := (worker.Amender{Store: l.DB, Name: relay.Name(), Actor: "me"}).RetryParked(t.Context(), 0, key); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		l.append(t, "account-a", paid(t, 4))
		l.append(t, "account-b", paid(t, 5))
		<-time.After(time.Minute)
		all, err := l.Parked(t.Context(), worker.ParkedQuery{Name: p.Name()})
		if err != nil || len(all) != 1 || all[0].State != worker.Waiting || all[0].Events != 3 || all[0].Error != worker.ErrLate.Error() {
			t.Fatalf("parked %+v, %v, want the late events and what comes behind", all, err)
		}
		if _, err := (worker.Amender{Store: l.DB, Name: p.Name(), Actor: "me"}).RetryParked(t.Context(), 0, all[0].Key); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		end()
		want := map[string]bool{}
		for _, e := range l.effects(t) {
			want[e] = true
		}
		if got := l.effects(t); len(got) != 5 || len(want) != 5 {
			t.Errorf("effects %v, want each of five events once", got)
		}
		var order []string
		for _, e := range l.effects(t) {
			if strings.Contains(e, "account-a") {
				order = append(order, e)
			}
		}
		t.Log(l.effects(t), order)
	})
}

// A delivery of a new history that takes effect in two batches, with a failure between
// them, is of that history from its first batch on.
func TestDeliveryInTwoBatchesIsOfOneHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := eventstore.Lineage{{Incarnation: event.NewID()}}
		second := append(first, eventstore.Generation{Incarnation: event.NewID(), Since: 3})
		failed := false
		l := &ledger{DB: memory.New()}
		l.fail = func(e event.Of[Event]) error {
			if e.Position == 6 && !failed {
				failed = true
				return worker.Systemic(errors.New("away"))
			}
			return nil
		}
		source := script{of(delivery(t, "x", 0, 1, 3), "t/0", first), of(delivery(t, "x", 2, 4, 5, 6, 7), "t/0", second)}
		err := l.projection("totals").Run(t.Context(), l.DB, silent, projection.WithBatch(2), projection.From(source))
		if got := len(l.effects(t)); err != nil || got != 6 {
			t.Errorf("Run = %v with %d effects, want 6", err, got)
		}
	})
}
