package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
)

// apachePrefix is that of the workloads which need Apache Kafka.
const apachePrefix = "apache/"

// apacheRelay measures a relay that publishes a log to Apache Kafka, beside a loop that
// produces the same records, which were made before, with the settings that a relay has:
// all replicas acknowledge, the producer is idempotent, snappy, batches of up to 1 MB. The
// relay reads the log meanwhile. Further rows: the loop flushes behind as many records as a
// relay has in a batch; and the relay publishes in transactions.
func apacheRelay(b bar) workload {
	return workload{
		name: apachePrefix + "relay", unit: "events/s", measure: perSecond, bar: b, apart: true,
		open: func(ctx context.Context, l *lab) (*trial, error) {
			r := &relayed{}
			t, err := r.openTrial(ctx, l, apacheKafka, func(*pgxpool.Pool) (side, side) {
				return side{run: r.ours}, side{run: r.produced(r.events)}
			})
			if err != nil {
				return nil, err
			}
			ends := &roundTrips{key: kmsg.EndTxn}
			t.sides = append(t.sides,
				side{label: "loop flushes each 5,000", run: r.produced(relayPage)},
				side{label: "relay in transactions", ours: true, run: r.inTransactions(ends)},
			)
			return t.noting(func() string { return r.cluster.name }, ends.note), nil
		},
	}
}

// apacheVisible is visible with Apache Kafka.
func apacheVisible(b bar) workload {
	w := visible(apachePrefix+"append-to-consumer/1000-per-second", apacheKafka, b)
	w.apart = true
	return w
}

// inTransactions publishes the log with a new relay that has a new ledger.
func (r *relayed) inTransactions(ends *roundTrips) func(context.Context, time.Duration) (sample, error) {
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return timed(d, func() (int, time.Duration, error) {
			name := r.next("ledger-")
			ledger, err := kafka.NewLedger(name, kgo.SeedBrokers(r.cluster.seeds...), kgo.WithHooks(ends))
			if err != nil {
				return 0, 0, err
			}
			defer ledger.Close()
			took, err := r.drain(ctx, name, ledger)
			if err != nil {
				return 0, 0, err
			}
			return r.events, took, r.removeCommitted(ctx, bus.TopicName(name, "bench"))
		})
	}
}

// removeCommitted deletes a topic of transactions, which must have all events, each once.
// The end of a transaction has an offset too, so that they are read.
func (r *relayed) removeCommitted(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.seeds...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer client.Close()
	for n := 0; n < r.events; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("topic %s has %d records, want %d: %w", topic, n, r.events, err)
		}
		if n += fetches.NumRecords(); n > r.events {
			return fmt.Errorf("topic %s has %d records or more, want %d", topic, n, r.events)
		}
	}
	_, err = r.admin.DeleteTopic(ctx, topic)
	return err
}

// roundTrips notes how long the requests of one kind take.
type roundTrips struct {
	key kmsg.Key

	mu   sync.Mutex
	took []time.Duration
}

var _ kgo.HookBrokerE2E = (*roundTrips)(nil)

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (t *roundTrips) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if key == t.key.Int16() && e.Err() == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.took = append(t.took, e.DurationE2E())
	}
}

func (t *roundTrips) note() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	took := slices.Clone(t.took)
	return fmt.Sprintf("%d %s requests: %s / %s / %s", len(took), t.key.Name(), short(percentile(took, 0.5)), short(percentile(took, 0.99)), short(percentile(took, 1)))
}
