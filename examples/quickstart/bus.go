package quickstart

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

// [publish]

// Publish keeps the topic shop.order in step with the log until ctx ends.
func Publish(ctx context.Context, db *postgres.DB, brokers kgo.Opt) error {
	client, err := kafka.NewClient(brokers)
	if err != nil {
		return err
	}
	defer client.Close()
	relay := bus.NewRelay(db, kafka.NewPublisher(client),
		bus.WithDomain("shop"),
		bus.WithTopics(bus.Contract{
			Topic: "shop.order", Partitions: 12, // for the life of the topic
			Owner: "team orders", Description: "what has become of each order",
		}),
	)
	return relay.Run(ctx)
}

// [/publish]

// [consume]

// Billing belongs to another service, with a database of its own. It writes an invoice
// for each order that is placed, once, however often the message comes.
var Billing = bus.NewConsumer("billing", bus.On(Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[Event]) error {
	placed, ok := e.Data.(Placed)
	if !ok {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO invoices (order_id, cents) VALUES ($1, $2)`, e.Stream.ID, placed.Cents)
	return err
}))

// Bill runs Billing until ctx ends. Run as many processes of it as you like: the members of
// the group share the partitions among themselves.
func Bill(ctx context.Context, db *postgres.DB, brokers kgo.Opt) error {
	return Billing.Run(ctx, db, kafka.NewConsumer("billing", []string{"shop.order"}, brokers))
}

// [/consume]
