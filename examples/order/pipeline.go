package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/examples/order/sales"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

const domain = "shop"

var topics = []string{bus.TopicName(domain, order.Category), bus.TopicName(domain, returns.Category)}

// pipeline is everything between a command and the read model.
type pipeline struct {
	pool    *pgxpool.Pool
	client  *kgo.Client
	db      *postgres.DB
	orders  *aggregate.Repository[order.Order, order.Event]
	returns *aggregate.Repository[returns.Return, returns.Event]
	relay   *bus.Relay
	sales   *projection.Projection[pgx.Tx]
	source  worker.Source
	topics  map[string]bus.Topic
	meter   *meter
	closers []func()
}

// otherConns is how many connections are used at once beside the writers': one
// for each partition of a topic, the relay, and whoever asks how far they are.
const otherConns = 8

// openPipeline connects to Postgres and Kafka, or starts them, and brings the
// schemas up to date. The caller closes it.
func openPipeline(ctx context.Context, writers int) (_ *pipeline, err error) {
	p := &pipeline{meter: newMeter()}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	server, err := devenv.Postgres(ctx)
	if err != nil {
		return nil, err
	}
	p.onClose(func() { _ = server.Close() })
	brokers, err := broker.Start(ctx)
	if err != nil {
		return nil, err
	}
	p.onClose(brokers.Close)
	config, err := pgxpool.ParseConfig(server.URL)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	config.MaxConns = int32(writers + otherConns)
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	p.onClose(p.pool.Close)
	if _, err = postgres.Migrate(ctx, p.pool); err != nil {
		return nil, err
	}
	if err = sales.Create(ctx, p.pool); err != nil {
		return nil, err
	}
	seeds := kgo.SeedBrokers(brokers.Seeds...)
	if p.client, err = kafka.NewClient(seeds); err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	p.onClose(p.client.Close)
	return p, p.assemble(ctx, seeds, !brokers.External)
}

func (p *pipeline) assemble(ctx context.Context, seeds kgo.Opt, embedded bool) (err error) {
	p.db = postgres.New(p.pool, postgres.WithPollInterval(10*time.Millisecond))
	p.orders = aggregate.New[order.Order](p.db, order.Category, order.Codec)
	p.returns = aggregate.New[returns.Return](p.db, returns.Category, returns.Codec)
	publisher := kafka.NewPublisher(p.client)
	opts := []bus.RelayOption{bus.WithDomain(domain), bus.WithHooks(worker.Hooks{Applied: p.meter.onRelayed}), bus.WithLogger(quiet)}
	if embedded { // it has forgotten what was published before it was started
		opts = append(opts, bus.WithRefill())
	}
	p.relay = bus.NewRelay(p.db, publisher, opts...)
	p.sales = sales.Projection(sales.Schema)
	p.source = kafka.NewConsumer("order-example-sales", topics, seeds)
	// Both topics at once: a consumer waits for a topic that has no event yet.
	contracts := make([]bus.Contract, len(topics))
	for i, topic := range topics {
		contracts[i].Topic = topic
	}
	if err := publisher.Create(ctx, contracts...); err != nil {
		return err
	}
	p.topics, err = publisher.Topics(ctx, topics...)
	return err
}

// quiet keeps the notes of the workers off the screen while progress is shown.
var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

// start runs the relay and the projection until ctx ends.
func (p *pipeline) start(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return p.relay.Run(ctx) })
	group.Go(func() error {
		return p.sales.Run(ctx, p.db, projection.From(p.source), projection.WithLogger(quiet),
			projection.WithHooks(worker.Hooks{Applied: p.meter.onApplied}))
	})
}

// await returns when the relay has published all that is in the log now, and
// the projection has applied all that is in the topics. The error matches
// worker.ErrParked if they cannot.
func (p *pipeline) await(ctx context.Context) error {
	head, err := p.db.Head(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		relayed, err := p.db.Checkpoint(ctx, p.relay.Name())
		if err != nil {
			return err
		}
		if published(relayed, head, p.topics) {
			applied, err := p.db.Checkpoint(ctx, p.sales.Name())
			if err != nil {
				return err
			}
			lag, err := kafka.Lag(ctx, p.client, applied, topics...)
			if err != nil {
				return err
			}
			if lag == 0 {
				if done, err := p.unparked(ctx); done || err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// unparked reports whether nothing is parked any more. What waits for somebody to
// decide is an error: the report would lack it.
func (p *pipeline) unparked(ctx context.Context) (bool, error) {
	done := true
	for _, name := range []string{p.relay.Name(), p.sales.Name()} {
		all, err := p.db.Parked(ctx, worker.ParkedQuery{Name: name})
		if err != nil {
			return false, err
		}
		for _, parked := range all {
			if parked.State == worker.Waiting {
				return false, &worker.ParkedError{Name: name, Keys: len(all), Err: errors.New(parked.Error)}
			}
			done = false
		}
	}
	return done, nil
}

// published reports whether every mark of the relay, that of each topic too, has
// reached the head. An empty log has no marks. A mark that names another id than
// the topic has now says what a deleted topic held: the relay, once it has
// looked, fills the new one.
func published(c worker.Checkpoint, head event.Position, topics map[string]bus.Topic) bool {
	for part, m := range c {
		_, topic, _ := strings.Cut(part, "/")
		if t, ours := topics[topic]; m.Position < head || ours && m.Source != t.ID {
			return false
		}
	}
	return head == 0 || len(c) > 0
}

func (p *pipeline) onClose(fn func()) { p.closers = append(p.closers, fn) }

func (p *pipeline) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
	p.closers = nil
}
