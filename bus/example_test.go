package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

func ExampleRelay() {
	ctx := context.Background()
	db, broker := memory.New(), memory.NewBroker(1)
	_, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.None(),
		event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":1250}`)},
		event.Raw{Name: "order.shipped", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Tracking":"1Z"}`)})
	if err != nil {
		fmt.Println(err)
	}
	relay := bus.NewRelay(db, broker, bus.WithDomain("shop"))
	if err := relay.Drain(ctx); err != nil { // a service calls Run
		fmt.Println(err)
	}
	for _, m := range broker.Messages("shop.order")[0] {
		e, err := bus.EventOf(m)
		fmt.Println(string(m.Key), e.Version, e.Name, string(m.Value), err)
	}
	// Output:
	// o-1 1 order.placed {"Cents":1250} <nil>
	// o-1 2 order.shipped {"Tracking":"1Z"} <nil>
}

// What the domain calls its events, and what is in them, is nobody else's business.
func ExampleTranslate() {
	type (
		Placed   struct{ Cents, Margin int } // of the domain
		Noted    struct{ Text string }
		Accepted struct{ Amount string } // for the world
	)
	domain := codec.JSON(codec.Types[any]{"order.placed": Placed{}, "order.noted": Noted{}})
	world := codec.JSON(codec.Types[any]{"order.accepted": Accepted{}})
	mapper := bus.Translate(domain, world, func(e event.Of[any]) (any, bool, error) {
		placed, ok := e.Data.(Placed)
		return Accepted{fmt.Sprintf("%d.%02d", placed.Cents/100, placed.Cents%100)}, ok, nil
	}, bus.TopicPerCategory("shop"))

	ctx := context.Background()
	db, broker := memory.New(), memory.NewBroker(1)
	placed, _ := domain.Encode(Placed{1250, 300})
	noted, _ := domain.Encode(Noted{"for a birthday"})
	if _, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.None(), placed, noted); err != nil {
		fmt.Println(err)
	}
	if err := bus.NewRelay(db, broker, bus.WithMapper(mapper), quiet).Drain(ctx); err != nil {
		fmt.Println(err)
	}
	for _, m := range broker.Messages("shop.order")[0] {
		e, err := bus.EventOf(m)
		fmt.Println(e, string(e.Payload), err)
	}
	// Output:
	// order-o-1@1 (order.accepted, position 1) {"Amount":"12.50"} <nil>
}

var quiet = bus.WithLogger(slog.New(slog.DiscardHandler))

// A new consumer gets what was published before its time, in a topic of its own.
func ExampleRelay_Replay() {
	ctx := context.Background()
	db, broker := memory.New(), memory.NewBroker(1)
	for _, category := range []string{"order", "refund", "order"} {
		_, err := db.Append(ctx, event.Stream{Category: category, ID: "1"}, eventstore.Any(),
			event.Raw{Name: category + ".noted", Schema: 1, ContentType: "text/plain"})
		if err != nil {
			fmt.Println(err)
		}
	}
	relay := bus.NewRelay(db, broker, bus.WithDomain("shop"), quiet)
	if err := relay.Drain(ctx); err != nil { // a service calls Run
		fmt.Println(err)
	}
	done, err := relay.Replay(ctx, bus.Replay{
		ID: "for billing", Categories: []string{"order"}, Topic: "billing.history", Rate: 10_000,
	})
	fmt.Println(done.Events, "events up to position", done.After, err)
	for _, m := range broker.Messages("billing.history")[0] {
		e, err := bus.EventOf(m)
		fmt.Println(e, bus.ReplayOf(m), err)
	}
	// Output:
	// 2 events up to position 3 <nil>
	// order-1@1 (order.noted, position 1) for billing <nil>
	// order-1@2 (order.noted, position 3) for billing <nil>
}

func ExampleGuard() {
	ctx, stop := context.WithCancel(context.Background())
	guard := bus.NewGuard(bus.Backlog{Slow: 2, Refuse: 3, Interval: time.Millisecond})
	db := memory.New(memory.WithGate(guard)) // or postgres.New(pool, postgres.WithGate(guard))
	note := func() error {
		_, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(),
			event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"})
		return err
	}
	for range 4 {
		if err := note(); err != nil {
			fmt.Println(err)
		}
	}
	var watching sync.WaitGroup
	watching.Go(func() { guard.Watch(ctx, db) })
	for lag, _ := guard.Lag(); lag < 4; lag, _ = guard.Lag() { // until it has looked
		runtime.Gosched()
	}
	err := note()
	fmt.Println(errors.Is(err, bus.ErrBacklog), err)
	stop()
	watching.Wait()
	// Output:
	// true append order-o-1: relay/main is 4 positions behind the log, at most 3: try again later, and see annals status for what holds it up
}
