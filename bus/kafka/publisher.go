package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

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

	maxBytes int // of a record batch

	sending sync.Mutex // held by Publish

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

// NewPublisher returns a Publisher. It does no I/O and does not close the
// client. The client must be made with kgo.ManualFlushing, and be used by nobody
// else to produce. NewPublisher panics if it was not, or if an option is out of
// its bounds.
func NewPublisher(client *kgo.Client, opts ...Option) *Publisher {
	if manual, _ := client.OptValue(kgo.ManualFlushing).(bool); !manual {
		panic("kafka: NewPublisher: make its client with kgo.ManualFlushing(), which keeps the order of a key when a broker refuses a record")
	}
	maxBytes, _ := client.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	remove, forever := "delete", "-1"
	p := &Publisher{
		client: client, admin: kadm.NewClient(client),
		partitions: 6, replication: -1,
		configs:  map[string]*string{"cleanup.policy": &remove, "retention.ms": &forever},
		maxBytes: int(maxBytes),
		ids:      map[string]string{},
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
		// It returns when the brokers have told all partitions to each other: a
		// record sent earlier would meet an unknown topic.
		if err = p.create(ctx, missing); err == nil {
			topics, err = await(ctx, p.client, names)
		}
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

func (p *Publisher) create(ctx context.Context, missing []string) error {
	created, err := p.admin.CreateTopics(ctx, p.partitions, p.replication, p.configs, missing...)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	for _, t := range created.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create %s: %w: %s", t.Topic, t.Err, t.ErrMessage)
		}
	}
	return nil
}

// Publish implements bus.Publisher. A message that no broker would take is a
// permanent error, and nothing is sent then. So is one that the broker refuses because
// of what it is: too large for its topic, or invalid. No other error is permanent.
//
// It sends rounds of at most one record batch for each partition, and begins a
// round when the one before is acknowledged. A broker stores or refuses a batch
// as a whole, so what it stores of a partition is always the beginning of what
// it was sent. With several batches in flight, one that comes after a refused
// one may still be stored, and would overtake it.
func (p *Publisher) Publish(ctx context.Context, messages []bus.Message) error {
	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = record(m)
		if size := sizeOf(records[i]); size > p.maxBytes {
			return worker.Permanent(fmt.Errorf("message with key %q for topic %s has %d bytes, at most %d (kgo.ProducerBatchMaxBytes, max.message.bytes)", m.Key, m.Topic, size, p.maxBytes))
		}
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	for len(records) > 0 {
		n := p.round(records)
		if err := p.send(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// round returns how many of the records fit into one batch together, so that
// those of one partition certainly do.
func (p *Publisher) round(records []*kgo.Record) int {
	size := 0
	for i, r := range records {
		if size += sizeOf(r); size > p.maxBytes && i > 0 {
			return i
		}
	}
	return len(records)
}

// send buffers a round and flushes it. The client sends nothing before.
func (p *Publisher) send(ctx context.Context, records []*kgo.Record) error {
	var acks acks
	for _, r := range records {
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
		if refused(err) {
			a.first = worker.Permanent(a.first)
		}
	}
}

// refused reports whether some record of a batch will never be taken, as it is: which
// one, the relay finds out by publishing fewer. Every other error may pass, and is that
// of a broker, a topic or an account, not that of a record.
func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
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
