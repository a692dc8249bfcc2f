package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
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
	client *kgo.Client
	admin  *kadm.Client

	maxBytes int // of a record batch

	sending sync.Mutex // held by Publish

	mu  sync.Mutex
	ids map[string]string // as last seen
}

// NewPublisher returns a Publisher. It does no I/O and does not close the
// client. The client must be made with kgo.ManualFlushing, and be used by nobody
// else to produce. NewPublisher panics if it was not.
func NewPublisher(client *kgo.Client) *Publisher {
	if manual, _ := client.OptValue(kgo.ManualFlushing).(bool); !manual {
		panic("kafka: NewPublisher: make its client with kgo.ManualFlushing(), which keeps the order of a key when a broker refuses a record")
	}
	maxBytes, _ := client.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	return &Publisher{client: client, admin: kadm.NewClient(client), maxBytes: int(maxBytes), ids: map[string]string{}}
}

// Topics implements bus.Publisher.
func (p *Publisher) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	topics, _, err := describe(ctx, p.client, names)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	p.met(topics)
	out := map[string]bus.Topic{}
	for name, t := range topics {
		out[name] = bus.Topic{ID: t.id, Partitions: t.partitions}
	}
	return out, nil
}

// met has the client forget topics that were deleted and made again.
func (p *Publisher) met(topics map[string]topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, t := range topics {
		if before := p.ids[name]; before != "" && before != t.id {
			p.client.PurgeTopicsFromProducing(name)
		}
		p.ids[name] = t.id
	}
}

// Create implements bus.Publisher. It returns when the brokers have told all partitions to
// each other: a record sent earlier would meet an unknown topic.
func (p *Publisher) Create(ctx context.Context, contracts ...bus.Contract) error {
	names := make([]string, len(contracts))
	for i, c := range contracts {
		names[i] = c.Topic
		if err := p.create(ctx, c); err != nil {
			return err
		}
	}
	topics, err := await(ctx, p.client, names)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	p.met(topics)
	return nil
}

func (p *Publisher) create(ctx context.Context, c bus.Contract) error {
	replication := int16(-1)
	if c.Replication > 0 {
		replication = int16(c.Replication)
	}
	_, err := p.admin.CreateTopic(ctx, int32(cmp.Or(c.Partitions, bus.DefaultPartitions)), replication, configOf(c), c.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", c.Topic, err)
	}
	return nil
}

// configOf returns the settings of a topic.
func configOf(c bus.Contract) map[string]*string {
	retention := int64(-1)
	if c.Retention > 0 {
		retention = c.Retention.Milliseconds()
	}
	set := map[string]*string{}
	put := func(key, value string) { set[key] = &value }
	put("cleanup.policy", "delete")
	put("retention.ms", strconv.FormatInt(retention, 10))
	if c.MinInSync > 0 {
		put("min.insync.replicas", strconv.Itoa(c.MinInSync))
	}
	if c.MaxBytes > 0 {
		put("max.message.bytes", strconv.Itoa(c.MaxBytes))
	}
	for key, value := range c.Config {
		put(key, value)
	}
	return set
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
