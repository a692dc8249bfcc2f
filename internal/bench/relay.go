package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
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
		open: func(ctx context.Context, l *lab) (*trial, error) {
			r := &relayed{}
			t, err := r.openTrial(ctx, l, inProcess, func(pool *pgxpool.Pool) (side, side) {
				return side{run: r.ours}, side{run: r.byHand(keptPagesByHand(pool, relayPage, r.events))}
			})
			if err != nil {
				return nil, err
			}
			return t.noting(r.note), nil
		},
	}
}

// openTrial fills a log, and starts brokers that it goes to.
func (r *relayed) openTrial(ctx context.Context, l *lab, brokers starter, sides func(*pgxpool.Pool) (side, side)) (*trial, error) {
	const length = 100
	streams := max(2, 2*l.events/length) // so many that how the relay begins is a small part of the time
	r.events = streams * length
	t, err := openFilled(ctx, l, streams, length, func(store *postgres.DB, pool *pgxpool.Pool) (side, side) {
		r.store = store
		return sides(pool)
	})
	if err != nil {
		return nil, err
	}
	closeTables := t.close
	t.close = func() {
		r.close()
		closeTables()
	}
	if err := r.open(ctx, brokers); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// relayed is a log, and a broker that it goes to.
type relayed struct {
	store  *postgres.DB
	events int

	cluster cluster
	client  *kgo.Client // of the relay
	plain   *kgo.Client
	admin   *kadm.Client
	topics  int // that were made

	reading, producing []float64 // by hand, events per second in each round
}

func (r *relayed) open(ctx context.Context, brokers starter) (err error) {
	if r.cluster, err = brokers(ctx); err != nil {
		return err
	}
	seeds := kgo.SeedBrokers(r.cluster.seeds...)
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
	r.cluster.close()
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
		name := r.next("relay-")
		took, err := r.drain(ctx, name, kafka.NewPublisher(r.client))
		if err != nil {
			return 0, 0, err
		}
		return r.events, took, r.remove(ctx, bus.TopicName(name, "bench"))
	})
}

// next is the name of a relay, or a topic, that is new.
func (r *relayed) next(prefix string) string {
	r.topics++
	return fmt.Sprint(prefix, r.topics)
}

// drain publishes the log with a relay that is new.
func (r *relayed) drain(ctx context.Context, name string, to bus.Publisher) (took time.Duration, err error) {
	relay := bus.NewRelay(r.store, to, bus.WithName(name), bus.WithDomain(name), bus.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	start := time.Now()
	err = relay.Drain(ctx)
	return time.Since(start), err
}

// byHand does both loops, each as long, and returns what the slower one did.
func (r *relayed) byHand(read func(context.Context, time.Duration) (sample, error)) func(context.Context, time.Duration) (sample, error) {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		var a sample
		for long := d; a.n == 0; long *= 2 { // a page may take longer than a short round
			var err error
			if a, err = read(ctx, long); err != nil {
				return sample{}, err
			}
		}
		b, err := r.produced(r.events)(ctx, d)
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

// produced sends the same records as a relay, which were made before, as fast as the client
// takes them, and flushes behind so many, and at the end.
func (r *relayed) produced(batch int) func(context.Context, time.Duration) (sample, error) {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return timed(d, func() (int, time.Duration, error) { return r.produce(ctx, batch) })
	}
}

func (r *relayed) produce(ctx context.Context, batch int) (int, time.Duration, error) {
	topic := r.next("produced-")
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
	for some := range slices.Chunk(records, batch) {
		for _, record := range some {
			r.plain.Produce(ctx, record, func(_ *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				first = errors.Join(first, err)
			})
		}
		if err := r.plain.Flush(ctx); err != nil {
			return 0, 0, err
		}
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
