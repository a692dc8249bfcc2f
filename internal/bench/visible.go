package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// visible measures how long it takes from the call of an append until its event has gone
// through relay and broker, and has been committed by a consumer of the topic that has an
// inbox. By hand: a loop that polls the table and produces, and one that polls the
// broker, which keeps nothing and loses events.
func visible(name string, brokers starter, b bar) workload {
	return workload{
		name: name, unit: "ms p99", lower: true, measure: p99, of: "append to consumer", bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) { return openVisible(ctx, l, brokers) },
	}
}

func openVisible(ctx context.Context, l *lab, brokers starter) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	store, pool, err := db.annals(ctx, tailConns)
	if err != nil {
		return nil, err
	}
	raw, err := db.byHand(ctx, tailConns, byHand)
	if err != nil {
		return nil, err
	}
	b, err := brokers(ctx)
	if err != nil {
		return nil, err
	}
	c := clock{time.Now()}
	going, stop := context.WithCancel(ctx)
	g, going := errgroup.WithContext(going)
	end := func() error {
		stop()
		return g.Wait()
	}
	here, there := newInflow(0), newInflow(200*time.Millisecond)
	if err := errors.Join(goAnnals(going, g, b.seeds, store, here), goByHand(going, g, b.seeds, raw, there)); err != nil {
		_ = end()
		b.close()
		return nil, err
	}
	ours := pacedSide(here.reader(c, true), writeAnnals(store))
	hand := pacedSide(there.reader(c, false), writeByHand(raw, byHand))
	return &trial{
		sides: []side{{run: ours.run}, {run: hand.run}},
		close: func() {
			_ = end()
			b.close()
			db.drop(ctx)
		},
		finish: func(ctx context.Context) ([]string, error) {
			if err := end(); err != nil {
				return nil, err
			}
			return []string{hand.lost()}, holdAll(ctx, table{pool, store.Schema() + ".events", ours}, table{raw, byHand, hand})
		},
	}, settle(ctx, pool)
}

// arrived is an event at its destination.
type arrived struct {
	stream  event.Stream
	version event.Version
	payload []byte
}

// inflow is what has arrived and was not looked at yet.
type inflow struct {
	patience time.Duration // how long a reader waits for more before it says that there is none
	more     chan struct{}

	mu     sync.Mutex
	events []arrived
}

func newInflow(patience time.Duration) *inflow {
	return &inflow{patience: patience, more: make(chan struct{}, 1)}
}

func (f *inflow) add(events ...arrived) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, events...)
	select {
	case f.more <- struct{}{}:
	default:
	}
}

func (f *inflow) take() []arrived {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

func (f *inflow) wait(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-f.more:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (f *inflow) reader(c clock, strict bool) *reader {
	return &reader{
		clock: c, strict: strict, versions: map[event.Stream]event.Version{},
		page: func(ctx context.Context, after int64, see func(event.Stream, event.Version, []byte)) (int64, error) {
			events := f.take()
			if len(events) == 0 && f.patience > 0 {
				if err := f.wait(ctx, f.patience); err != nil {
					return after, err
				}
				events = f.take()
			}
			for _, e := range events {
				see(e.stream, e.version, e.payload)
			}
			return after, nil
		},
		wait: func(ctx context.Context, _ int64) error { return f.wait(ctx, standstill) },
	}
}

// measured is the event of the benchmark.
type measured struct {
	At   string `json:"at"`
	Text string `json:"text"`
}

// goAnnals runs a relay and a consumer with an inbox.
func goAnnals(ctx context.Context, g *errgroup.Group, seeds []string, store *postgres.DB, to *inflow) error {
	client, err := kafka.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	relay := bus.NewRelay(store, kafka.NewPublisher(client), bus.WithLogger(log))
	g.Go(func() error {
		defer client.Close()
		return relay.Run(ctx)
	})
	events := codec.JSON(codec.Types[any]{"bench.measured": measured{}})
	consumer := bus.NewConsumer("visible", bus.On(events, func(context.Context, pgx.Tx, event.Of[any]) error { return nil }))
	source := kafka.NewConsumer("visible", []string{bus.TopicName(bus.DefaultDomain, "bench")}, kgo.SeedBrokers(seeds...))
	committed := worker.Hooks{Applied: func(a worker.Applied) {
		for _, carrier := range a.Events {
			m, err := bus.Carried(carrier)
			if err != nil {
				continue // it is missed in the end
			}
			if e, err := bus.EventOf(m.Message); err == nil {
				to.add(arrived{e.Stream, e.Version, e.Payload})
			}
		}
	}}
	g.Go(func() error {
		return consumer.Run(ctx, store, source, bus.WithHooks(committed), bus.WithLogger(log))
	})
	return nil
}

// goByHand runs the two loops.
func goByHand(ctx context.Context, g *errgroup.Group, seeds []string, pool *pgxpool.Pool, to *inflow) error {
	const topic = "by-hand"
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ProducerLinger(0), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, bus.DefaultPartitions, 1, nil, topic); err != nil {
		client.Close()
		return err
	}
	var loops errgroup.Group
	loops.Go(func() error {
		for after := int64(0); ctx.Err() == nil; {
			rows, err := pool.Query(ctx, pageByHand, after, readerPage)
			if err == nil {
				_, err = scan(rows, func(r *row) {
					after = r.position
					client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(r.stream), Value: r.payload}, nil)
				})
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
			_ = sleep(ctx, time.Millisecond)
		}
		return nil
	})
	loops.Go(func() error {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil && ctx.Err() == nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				to.add(arrived{stream: event.Stream{ID: string(r.Key)}, payload: r.Value})
			})
		}
		return nil
	})
	g.Go(func() error {
		defer client.Close()
		return loops.Wait()
	})
	return nil
}
