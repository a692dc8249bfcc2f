package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// consumeBatch is the most records of one transaction, of both sides.
const consumeBatch = 1000

// consume measures a consumer with an inbox that takes a topic from its beginning to its
// end, again and again, each time in a group of its own. By hand: a loop that polls the
// same topic, remembers the ids and keeps the offsets in a transaction of each poll. Both
// decode every event, and add up what is in it. The broker is in the process.
func consume(b bar) workload {
	return workload{
		name: "consume/inbox", unit: "events/s", measure: perSecond, bar: b,
		open: openConsume,
	}
}

func openConsume(ctx context.Context, l *lab) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	c := &consumed{events: l.events}
	if c.store, c.pool, err = db.annals(ctx, tailConns); err != nil {
		return nil, err
	}
	if c.raw, err = db.byHand(ctx, tailConns, byHand); err != nil {
		return nil, err
	}
	if err := c.createByHand(ctx); err != nil {
		return nil, err
	}
	if c.cluster, err = inProcess(ctx); err != nil {
		return nil, err
	}
	if err := c.fill(ctx); err != nil {
		c.cluster.close()
		return nil, err
	}
	return &trial{
		sides:  []side{{run: c.side(c.ours)}, {run: c.side(c.byHand)}},
		finish: c.finish,
		close: func() {
			c.cluster.close()
			db.drop(ctx)
		},
	}, settle(ctx, c.pool)
}

// consumed is a topic, and who consumes it.
type consumed struct {
	store     *postgres.DB
	pool, raw *pgxpool.Pool
	cluster   cluster
	events    int
	passes    [2]int // of Annals, and by hand
}

var consumedTopic = bus.TopicName(bus.DefaultDomain, "bench")

// fill publishes the events, as a relay does.
func (c *consumed) fill(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.cluster.seeds...))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, bus.DefaultPartitions, 1, nil, consumedTopic); err != nil {
		return err
	}
	lineage, err := c.store.Lineage(ctx)
	if err != nil {
		return err
	}
	const streams = 1000
	mapper, raw := bus.TopicPerCategory(bus.DefaultDomain), batch(1)[0]
	records := make([]*kgo.Record, 0, streams)
	for i := range c.events {
		raw.Metadata.ID, raw.Payload = event.NewID(), payload(i)
		m, _, err := mapper(event.Recorded{
			Raw: raw, Stream: filled(i % streams), Version: event.Version(i/streams + 1), Position: event.Position(i + 1), RecordedTime: time.Now().UTC(),
		})
		if err != nil {
			return err
		}
		record := &kgo.Record{Topic: m.Topic, Key: m.Key, Value: m.Value}
		for _, h := range append(m.Headers, bus.Header{Key: bus.HeaderLineage, Value: []byte(lineage.String())}) {
			record.Headers = append(record.Headers, kgo.RecordHeader(h))
		}
		if records = append(records, record); len(records) == streams || i == c.events-1 {
			if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
				return err
			}
			records = records[:0]
		}
	}
	return nil
}

// numbered is the event, as far as both sides look at it.
type numbered struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
}

func (c *consumed) side(pass func(context.Context) (sum int64, took time.Duration, err error)) func(context.Context, time.Duration) (sample, error) {
	want := int64(c.events) * int64(c.events-1) / 2
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return timed(d, func() (int, time.Duration, error) {
			sum, took, err := pass(ctx)
			if err == nil && sum != want {
				err = fmt.Errorf("consume %d events: they add up to %d, want %d", c.events, sum, want)
			}
			return c.events, took, err
		})
	}
}

// ours runs a consumer that is new until it has had every event. The time begins when it is
// given the first partition: how long a group needs to begin is the broker's.
func (c *consumed) ours(ctx context.Context) (int64, time.Duration, error) {
	c.passes[0]++
	name := fmt.Sprint("consume-", c.passes[0])
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var sum, n, began, ended atomic.Int64
	events := codec.JSON(codec.Types[any]{"bench.measured": numbered{}})
	consumer := bus.NewConsumer(name, bus.On(events, func(_ context.Context, _ pgx.Tx, e event.Of[any]) error {
		sum.Add(int64(e.Data.(numbered).Number))
		return nil
	}))
	start := time.Now()
	hooks := worker.Hooks{
		Gained: func(worker.TermGained) { began.CompareAndSwap(0, int64(time.Since(start))) },
		Applied: func(a worker.Applied) {
			if n.Add(int64(len(a.Events))) == int64(c.events) {
				ended.Store(int64(time.Since(start)))
				stop()
			}
		},
	}
	source := kafka.NewConsumer(name, []string{consumedTopic}, kgo.SeedBrokers(c.cluster.seeds...))
	err := consumer.Run(ctx, c.store, source, bus.WithBatch(consumeBatch), bus.WithHooks(hooks), bus.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		return 0, 0, err
	}
	return sum.Load(), time.Duration(ended.Load() - began.Load()), nil
}

func (c *consumed) createByHand(ctx context.Context) error {
	_, err := c.raw.Exec(ctx, `
CREATE TABLE inbox_by_hand (consumer text, id uuid, topic text NOT NULL, position bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (consumer, id));
CREATE TABLE offsets_by_hand (consumer text, topic text, part integer, next bigint NOT NULL, PRIMARY KEY (consumer, topic, part))`)
	return err
}

// byHand polls the topic, without a group, until it has had every event.
func (c *consumed) byHand(ctx context.Context) (sum int64, _ time.Duration, _ error) {
	c.passes[1]++
	name := fmt.Sprint("consume-", c.passes[1])
	client, err := kgo.NewClient(kgo.SeedBrokers(c.cluster.seeds...), kgo.ConsumeTopics(consumedTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	start := time.Now()
	for n := 0; n < c.events; {
		fetches := client.PollRecords(ctx, consumeBatch)
		if err := fetches.Err(); err != nil {
			return 0, 0, err
		}
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		more, err := c.applyByHand(ctx, name, records)
		if err != nil {
			return 0, 0, err
		}
		n, sum = n+len(records), sum+more
	}
	return sum, time.Since(start), nil
}

// applyByHand does what is to be done once, and remembers it, in one transaction.
func (c *consumed) applyByHand(ctx context.Context, name string, records []*kgo.Record) (sum int64, err error) {
	ids, positions, next := make([]string, len(records)), make([]string, len(records)), map[int32]int64{}
	for i, r := range records {
		for _, h := range r.Headers {
			switch h.Key {
			case bus.HeaderID:
				ids[i] = string(h.Value)
			case bus.HeaderPosition:
				positions[i] = string(h.Value)
			}
		}
		next[r.Partition] = r.Offset + 1
	}
	err = pgx.BeginFunc(ctx, c.raw, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `INSERT INTO inbox_by_hand SELECT $1, g.id, $2, g.position FROM unnest($3::text[]::uuid[], $4::text[]::bigint[]) AS g (id, position) ON CONFLICT DO NOTHING RETURNING id`, name, consumedTopic, ids, positions)
		if err != nil {
			return err
		}
		fresh, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
		if err != nil || len(fresh) != len(records) {
			return fmt.Errorf("remember: %d of %d are new: %w", len(fresh), len(records), err)
		}
		for _, r := range records {
			var e numbered
			if err := json.Unmarshal(r.Value, &e); err != nil {
				return err
			}
			sum += int64(e.Number)
		}
		parts, offsets := make([]int32, 0, len(next)), make([]int64, 0, len(next))
		for part, offset := range next {
			parts, offsets = append(parts, part), append(offsets, offset)
		}
		_, err = tx.Exec(ctx, `INSERT INTO offsets_by_hand SELECT $1, $2, g.part, g.next FROM unnest($3::integer[], $4::bigint[]) AS g (part, next) ON CONFLICT (consumer, topic, part) DO UPDATE SET next = excluded.next`, name, consumedTopic, parts, offsets)
		return err
	})
	return sum, err
}

// finish compares what is remembered with what was consumed.
func (c *consumed) finish(ctx context.Context) ([]string, error) {
	if err := holds(ctx, c.pool, c.store.Schema()+".inbox", int64(c.passes[0]*c.events)); err != nil {
		return nil, err
	}
	return nil, holds(ctx, c.raw, "inbox_by_hand", int64(c.passes[1]*c.events))
}
