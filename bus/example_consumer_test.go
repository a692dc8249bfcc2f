package bus_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func ExampleConsumer() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler))
	// One service publishes: an order, and the same one a second time.
	shop, broker := memory.New(), memory.NewBroker(1)
	placed := event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: []byte("1250")}
	if _, err := shop.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.None(), placed); err != nil {
		fmt.Println(err)
	}
	if err := bus.NewRelay(shop, broker, bus.WithDomain("shop"), quiet).Drain(ctx); err != nil {
		fmt.Println(err)
	}
	if err := broker.Publish(ctx, broker.Messages("shop.order")[0]); err != nil {
		fmt.Println(err)
	}

	// Another one consumes: with Postgres, tx is a pgx.Tx, and the source a kafka.Consumer.
	billing := bus.NewConsumer("billing",
		bus.On(orderCodec, func(_ context.Context, _ *memory.Tx, e event.Of[order]) error {
			fmt.Printf("%s: %s %v\n", e.Name, e.Stream, e.Data)
			return nil
		}),
		bus.OnMessage(bus.Named("order.noted").And(bus.InTopic("shop.order")), func(_ context.Context, _ *memory.Tx, m bus.Received) error {
			fmt.Printf("%s: %s\n", m, m.Value)
			return nil
		}))
	hooks := bus.WithHooks(worker.Hooks{Applied: func(a worker.Applied) {
		fmt.Printf("%d new, %d repeated\n", len(a.Events), a.Repeated)
		cancel()
	}})
	if err := billing.Run(ctx, memory.New(), broker.Source("shop.order"), hooks, quiet); err != nil {
		fmt.Println(err)
	}
	// Output:
	// order.noted: order-o-1 {1250}
	// shop.order/0 offset 0: 1250
	// 1 new, 1 repeated
}
