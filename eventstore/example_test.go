package eventstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

func ExampleStore() {
	ctx := context.Background()
	var store eventstore.Store = memory.New() // or postgres.New(pool)
	order := event.Stream{Category: "order", ID: "o-1"}
	placed := event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":1250}`)}
	placed.Metadata.ID = event.NewID()

	res, err := store.Append(ctx, order, eventstore.None(), placed)
	fmt.Println(res.Version, res.Repeated, err)

	// The same events with the same ids again: nothing is stored twice.
	res, err = store.Append(ctx, order, eventstore.None(), placed)
	fmt.Println(res.Version, res.Repeated, err)

	// Another event, by somebody who thinks that the stream is empty.
	placed.Metadata.ID = event.NewID()
	_, err = store.Append(ctx, order, eventstore.None(), placed)
	fmt.Println(errors.Is(err, eventstore.ErrConflict), err)

	for e, err := range store.ReadStream(ctx, order, eventstore.StreamQuery{}) {
		fmt.Println(e, string(e.Payload), err)
	}
	// Output:
	// 1 false <nil>
	// 1 true <nil>
	// true append order-o-1: expected no event, stream is at 1
	// order-o-1@1 (order.placed, position 1) {"Cents":1250} <nil>
}
