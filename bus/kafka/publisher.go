package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

var _ bus.Publisher = (*Publisher)(nil)

// Publisher implements bus.Publisher over a client of the user's. It is safe
// for concurrent use.
type Publisher struct {
	client      *kgo.Client
	admin       *kadm.Client
	partitions  int32
	replication int16
	configs     map[string]*string

	mu  sync.Mutex
	ids map[string]string // as last seen
}

// Option changes a Publisher.
type Option func(*Publisher) error

// WithPartitions sets the number of partitions of topics that the Publisher
// creates. Default 6, from 1 to 10,000. The number of a topic must not change
// later: keys would move, and the order of their events with them.
func WithPartitions(n int) Option {
	return func(p *Publisher) error {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("option WithPartitions: %d: want 1 to 10000", n)
		}
		p.partitions = int32(n)
		return nil
	}
}

// WithReplication sets the replication factor of topics that the Publisher
// creates. Default: the broker's default.
func WithReplication(n int) Option {
	return func(p *Publisher) error {
		if n < 1 || n > 100 {
			return fmt.Errorf("option WithReplication: %d: want 1 to 100", n)
		}
		p.replication = int16(n)
		return nil
	}
}

// WithTopicConfig sets a configuration of topics that the Publisher creates,
// such as "min.insync.replicas". Default: cleanup.policy=delete and
// retention.ms=-1, which keep every event for consumers to come.
func WithTopicConfig(key, value string) Option {
	return func(p *Publisher) error {
		if key == "" {
			return errors.New("option WithTopicConfig: the key is empty")
		}
		p.configs[key] = &value
		return nil
	}
}

// NewPublisher returns a Publisher. It does no I/O. It panics if an option is
// out of its bounds, and names it. The client is not closed by it.
func NewPublisher(client *kgo.Client, opts ...Option) *Publisher {
	remove, forever := "delete", "-1"
	p := &Publisher{
		client: client, admin: kadm.NewClient(client),
		partitions: 6, replication: -1,
		configs: map[string]*string{"cleanup.policy": &remove, "retention.ms": &forever},
		ids:     map[string]string{},
	}
	for _, o := range opts {
		if err := o(p); err != nil {
			panic("kafka: " + err.Error())
		}
	}
	return p
}

// Topics implements bus.Publisher. Topics that do not exist are created; those
// that do are left as they are.
func (p *Publisher) Topics(ctx context.Context, names ...string) (map[string]string, error) {
	topics, missing, err := describe(ctx, p.client, names)
	if err == nil && len(missing) > 0 {
		topics, err = p.create(ctx, names, missing)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare topics: %w", err)
	}
	ids := map[string]string{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, t := range topics {
		if before := p.ids[name]; before != "" && before != t.id {
			p.client.PurgeTopicsFromProducing(name) // it remembers the deleted topic
		}
		ids[name] = t.id
	}
	maps.Copy(p.ids, ids)
	return ids, nil
}

// create returns when the brokers have told all partitions to each other: a
// record sent earlier would meet an unknown topic.
func (p *Publisher) create(ctx context.Context, names, missing []string) (map[string]topic, error) {
	created, err := p.admin.CreateTopics(ctx, p.partitions, p.replication, p.configs, missing...)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	for _, t := range created.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("create %s: %w: %s", t.Topic, t.Err, t.ErrMessage)
		}
	}
	for {
		topics, missing, err := describe(ctx, p.client, names)
		if err != nil || len(missing) == 0 {
			return topics, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("wait for %v: %w", missing, err)
		}
	}
}

// Publish implements bus.Publisher. A message that no broker would take is a
// permanent error, and nothing is sent then.
func (p *Publisher) Publish(ctx context.Context, messages []bus.Message) error {
	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = record(m)
		if most, size := p.maxBytes(), sizeOf(records[i]); size > most {
			return worker.Permanent(fmt.Errorf("message with key %q for topic %s has %d bytes, at most %d (kgo.ProducerBatchMaxBytes, max.message.bytes)", m.Key, m.Topic, size, most))
		}
	}
	var acks acks
	for _, r := range records {
		if acks.failed() != nil {
			break // what follows may have the key of what failed
		}
		p.client.Produce(ctx, r, acks.done)
	}
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("wait for acknowledgement: %w", err)
	}
	return acks.failed()
}

// acks keeps the first failure of a batch.
type acks struct {
	mu    sync.Mutex
	first error
}

func (a *acks) done(r *kgo.Record, err error) {
	if err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first == nil {
		a.first = fmt.Errorf("topic %s: %w", r.Topic, err)
	}
}

func (a *acks) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

func record(m bus.Message) *kgo.Record {
	r := &kgo.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: make([]kgo.RecordHeader, len(m.Headers))}
	for i, h := range m.Headers {
		r.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	return r
}

// recordOverhead is more than a record batch of one record adds to its parts.
const recordOverhead = 128

func sizeOf(r *kgo.Record) int {
	size := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	return size
}

func (p *Publisher) maxBytes() int {
	most, _ := p.client.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	return int(most)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
