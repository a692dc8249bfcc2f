package bus_test

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/bus"
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
