package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/postgres"
)

// relayPage is the batch of a relay by default, and how much is read at once by hand.
const relayPage = 5000

// relay measures a relay that publishes the log from its beginning to its end to a new
// topic, again and again, beside the slower one of two loops: one that reads the log, and
// one that produces the same records. The broker is in the process.
func relay(b bar) workload {
	return workload{
		name: "relay/log-to-broker", unit: "events/s", measure: perSecond, bar: b,
		open: openRelay,
	}
}

func openRelay(ctx context.Context, l *lab) (_ *trial, err error) {
	const length = 100
	streams := max(2, 2*l.events/length) // so many that how the relay begins is a small part of the time
	events := streams * length
	r := &relayed{events: events}
	t, err := openFilled(ctx, l, streams, length, func(store *postgres.DB, pool *pgxpool.Pool) (side, side) {
		r.store = store
		return side{run: r.ours}, side{run: r.byHand(keptPagesByHand(pool, relayPage, events))}
	})
	if err != nil {
		return nil, err
	}
	closeTables := t.close
	t.close = func() {
		r.close()
		closeTables()
	}
	if err := r.open(ctx); err != nil {
		t.close()
		return nil, err
	}
	holdTables := t.finish
	t.finish = func(ctx context.Context) ([]string, error) {
		notes, err := holdTables(ctx)
		return append(notes, r.note()), err
	}
	return t, nil
}

// relayed is a log, and a broker that it goes to.
type relayed struct {
	store  *postgres.DB
	events int

	broker *broker.Broker
	client *kgo.Client // of the relay
	plain  *kgo.Client
	admin  *kadm.Client
	topics int // that were made

	reading, producing []float64 // by hand, events per second in each round
}

func (r *relayed) open(ctx context.Context) (err error) {
	if r.broker, err = broker.StartEmbedded(ctx); err != nil {
		return err
	}
	seeds := kgo.SeedBrokers(r.broker.Seeds...)
	if r.client, err = kafka.NewClient(seeds); err != nil {
		return err
	}
	if r.plain, err = kgo.NewClient(seeds); err != nil {
		return err
	}
	r.admin = kadm.NewClient(r.plain)
	return nil
}

// records returns those that a relay makes of the whole log, for a topic. They are not kept:
// the collector would look at them in the other side's turn.
func (r *relayed) records(ctx context.Context, topic string) ([]*kgo.Record, error) {
	lineage, err := r.store.Lineage(ctx)
	if err != nil {
		return nil, err
	}
	mapper := bus.TopicPerCategory(topic)
	out := make([]*kgo.Record, 0, r.events)
	for at := event.Position(0); len(out) < r.events; {
		page, err := r.store.ReadLog(ctx, eventstore.LogQuery{After: at, Limit: relayPage})
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			m, _, err := mapper(e)
			if err != nil {
				return nil, err
			}
			record := &kgo.Record{Topic: topic, Key: m.Key, Value: m.Value, Headers: make([]kgo.RecordHeader, 0, len(m.Headers)+1)}
			for _, h := range append(m.Headers, bus.Header{Key: bus.HeaderLineage, Value: []byte(lineage.String())}) {
				record.Headers = append(record.Headers, kgo.RecordHeader(h))
			}
			out = append(out, record)
		}
		at = page.Next
	}
	runtime.GC() // of what was needed to make them
	return out, nil
}

func (r *relayed) close() {
	for _, c := range []*kgo.Client{r.client, r.plain} {
		if c != nil {
			c.Close()
		}
	}
	if r.broker != nil {
		r.broker.Close()
	}
}

// timed does op until d has passed, and counts only the time that it says.
func timed(d time.Duration, op func() (int, time.Duration, error)) (sample, error) {
	var s sample
	for s.took < d {
		n, took, err := op()
		if err != nil {
			return s, err
		}
		s.n, s.took = s.n+n, s.took+took
	}
	return s, nil
}

// ours publishes the log with a new relay, which makes a new topic. That is part of the
// time.
func (r *relayed) ours(ctx context.Context, d time.Duration) (sample, error) {
	return timed(d, func() (int, time.Duration, error) {
		r.topics++
		name := fmt.Sprint("relay-", r.topics)
		relay := bus.NewRelay(r.store, kafka.NewPublisher(r.client), bus.WithName(name), bus.WithDomain(name), bus.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
		start := time.Now()
		err := relay.Drain(ctx)
		took := time.Since(start)
		if err != nil {
			return 0, 0, err
		}
		return r.events, took, r.remove(ctx, bus.TopicName(name, "bench"))
	})
}

// byHand does both loops, each as long, and returns what the slower one did.
func (r *relayed) byHand(read func(context.Context, time.Duration) (sample, error)) func(context.Context, time.Duration) (sample, error) {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		a, err := read(ctx, d)
		if err != nil {
			return sample{}, err
		}
		b, err := timed(d, func() (int, time.Duration, error) { return r.produce(ctx) })
		if err != nil {
			return sample{}, err
		}
		r.reading, r.producing = append(r.reading, perSecond(a)), append(r.producing, perSecond(b))
		if perSecond(a) < perSecond(b) {
			b = a
		}
		b.latencies = nil // of pages
		return b, nil
	}
}

// produce sends the same records as a relay, as fast as the client takes them, and
// flushes at the end.
func (r *relayed) produce(ctx context.Context) (int, time.Duration, error) {
	r.topics++
	topic := fmt.Sprint("produced-", r.topics)
	if _, err := r.admin.CreateTopic(ctx, bus.DefaultPartitions, 1, nil, topic); err != nil {
		return 0, 0, err
	}
	records, err := r.records(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	var (
		mu    sync.Mutex
		first error
	)
	start := time.Now()
	for _, record := range records {
		r.plain.Produce(ctx, record, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			first = errors.Join(first, err)
		})
	}
	if err := r.plain.Flush(ctx); err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	mu.Lock()
	defer mu.Unlock()
	if first != nil {
		return 0, 0, first
	}
	return len(records), took, r.remove(ctx, topic)
}

// remove deletes a topic, which must have all events.
func (r *relayed) remove(ctx context.Context, topic string) error {
	ends, err := r.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	got := int64(0)
	ends.Each(func(o kadm.ListedOffset) { got += o.Offset })
	if got != int64(r.events) {
		return fmt.Errorf("topic %s has %d records, want %d", topic, got, r.events)
	}
	_, err = r.admin.DeleteTopic(ctx, topic)
	r.plain.PurgeTopicsFromProducing(topic)
	r.client.PurgeTopicsFromProducing(topic)
	return err
}

func (r *relayed) note() string {
	return fmt.Sprintf("by hand, median of the rounds: reading the log %.0f events/s, producing %.0f events/s", spreadOf(r.reading).Median, spreadOf(r.producing).Median)
}
