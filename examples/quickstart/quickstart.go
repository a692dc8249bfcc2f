// Package quickstart is the quick start of the README: one aggregate with a
// history, one projection, one relay. Its tests run it, and compare it with the
// README.
package quickstart

// [quickstart]
import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/upcast"
)

type (
	Event    interface{ isOrder() } // sealed: nobody else adds facts about orders
	Placed   struct{ Cents int64 }
	Shipped  struct{ Tracking string }
	placedV1 struct{ Euros int64 } // frozen: the shape of bytes already stored
	Place    struct{ Cents int64 }
	Ship     struct{ Tracking string }
)

func (Placed) isOrder()  {}
func (Shipped) isOrder() {}

// Codec names each fact once. Names are stored, so they never change.
var Codec = codec.JSON(codec.Types[Event]{
	"order.placed":  Placed{},
	"order.shipped": Shipped{},
}, upcast.Step("order.placed", 1, func(v placedV1) Placed { return Placed{Cents: v.Euros * 100} }))

// Order holds what decisions need. Its zero value is an order not yet placed.
type Order struct{ placed, shipped bool }

func (o Order) Evolve(e Event) Order {
	switch e.(type) {
	case Placed:
		o.placed = true
	case Shipped:
		o.shipped = true
	}
	return o
}

var ErrNotPlaced = errors.New("order is not placed")

func (c Place) Decide(o Order) ([]Event, error) {
	if o.placed {
		return nil, nil // already true: no new fact
	}
	return []Event{Placed(c)}, nil
}

func (c Ship) Decide(o Order) ([]Event, error) {
	switch {
	case !o.placed:
		return nil, ErrNotPlaced
	case o.shipped:
		return nil, nil
	}
	return []Event{Shipped(c)}, nil
}

// Totals commits its row and its checkpoint in one transaction.
var Totals = projection.New("totals", projection.On(Codec,
	func(ctx context.Context, tx pgx.Tx, e event.Of[Event]) error {
		if placed, ok := e.Data.(Placed); ok {
			_, err := tx.Exec(ctx, `INSERT INTO totals (order_id, cents) VALUES ($1, $2)`, e.Stream.ID, placed.Cents)
			return err
		}
		return nil
	}))

// Run places and ships an order, and keeps the read model and the topic
// annals.order in step until ctx ends. The client comes from kafka.NewClient, with
// kgo.SeedBrokers(...).
func Run(ctx context.Context, pool *pgxpool.Pool, client *kgo.Client) error {
	if _, err := postgres.Migrate(ctx, pool); err != nil {
		return err
	}
	db := postgres.New(pool)
	orders := aggregate.New[Order](db, "order", Codec)
	if _, err := orders.Execute(ctx, "o-1", Place{Cents: 1250}); err != nil {
		return err
	}
	if _, err := orders.Execute(ctx, "o-1", Ship{Tracking: "1Z"}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return Totals.Run(ctx, db) })
	group.Go(func() error { return bus.NewRelay(db, kafka.NewPublisher(client)).Run(ctx) })
	return group.Wait()
}

// [/quickstart]
