package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
)

var (
	_ bus.Publisher = (*Publisher)(nil)
	_ bus.Pinner    = (*Publisher)(nil)
)

// Publisher implements bus.Publisher over a client that NewClient has made. It is safe
// for concurrent use.
type Publisher struct {
	client *kgo.Client
	admin  *kadm.Client
	guard  *guard
	spare  *batch // for the next Publish, under the turn of the guard; may be nil

	// What the client takes: bytes of a record batch, and records and bytes of a round.
	limitOf                func(topic string) int
	mostRecords, mostBytes int64

	mu      sync.Mutex
	seen    map[string]seen
	pins    map[string]int
	spreads map[string]kgo.TopicPartitioner // used in turn
}

// NewPublisher returns a Publisher. It does no I/O and does not close the client. It
// panics if the client was not made by NewClient.
func NewPublisher(client *kgo.Client) *Publisher {
	g, err := guardOf(client)
	if err != nil {
		panic("kafka: NewPublisher: " + err.Error())
	}
	p := &Publisher{
		client: client, admin: kadm.NewClient(client), guard: g, limitOf: limits(client), mostBytes: math.MaxInt64,
		seen: map[string]seen{}, pins: map[string]int{}, spreads: map[string]kgo.TopicPartitioner{},
	}
	p.mostRecords, _ = client.OptValue(kgo.MaxBufferedRecords).(int64)
	if n, _ := client.OptValue(kgo.MaxBufferedBytes).(int64); n > 0 {
		p.mostBytes = n
	}
	return p
}

// limits returns what tells the most bytes of a record batch for a topic, as the client
// is set.
func limits(client *kgo.Client) func(string) int {
	batch, _ := client.OptValue(kgo.ProducerBatchMaxBytesFn).(func(string) int32)
	write, _ := client.OptValue(kgo.BrokerMaxWriteBytes).(int32)
	id, _ := client.OptValue(kgo.ClientID).(string)
	transactional, _ := client.OptValue(kgo.TransactionalID).(string)
	request := int(write) - 1024 - len(id) - len(transactional) // more than a request has beside its batch
	return func(topic string) int { return min(int(batch(topic)), request) }
}

// Topics implements bus.Publisher. What an account may not read of a topic's settings is
// left out.
func (p *Publisher) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	ctx, done := p.guard.reach.watch(ctx)
	defer done()
	topics, _, err := describeReady(ctx, p.client, names)
	if err != nil {
		return nil, withRights(fmt.Errorf("read topics: %w", err))
	}
	out := map[string]bus.Topic{}
	for name, t := range topics {
		out[name] = bus.Topic{ID: t.id, Partitions: t.partitions, Replication: t.replication}
	}
	if err := p.settings(ctx, out); err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	p.met(out)
	return out, nil
}

// met has the client forget topics that were deleted and made again.
func (p *Publisher) met(topics map[string]bus.Topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, t := range topics {
		if before := p.seen[name].id; before != "" && before != t.ID {
			p.client.PurgeTopicsFromProducing(name)
		}
		p.seen[name] = seen{id: t.ID, partitions: t.Partitions, maxBytes: t.MaxBytes}
	}
}

// Create implements bus.Publisher. It returns when the brokers have told all partitions to
// each other: a record sent earlier would meet an unknown topic.
func (p *Publisher) Create(ctx context.Context, contracts ...bus.Contract) error {
	ctx, done := p.guard.reach.watch(ctx)
	defer done()
	names := make([]string, len(contracts))
	for i, c := range contracts {
		names[i] = c.Topic
		if err := p.create(ctx, c); err != nil {
			return err
		}
	}
	ask := func() (map[string]topic, []string, error) { return describeReady(ctx, p.client, names) }
	if _, err := await(ctx, ask, func([]string, error) {}); err != nil {
		return fmt.Errorf("create topics: wait for topics %v: %w", names, err)
	}
	if _, err := p.Topics(ctx, names...); err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

func (p *Publisher) create(ctx context.Context, c bus.Contract) error {
	replication := int16(-1)
	if c.Replication > 0 {
		replication = int16(c.Replication)
	}
	_, err := within(ctx, func() (kadm.CreateTopicResponse, error) {
		return p.admin.CreateTopic(ctx, int32(cmp.Or(c.Partitions, bus.DefaultPartitions)), replication, configOf(c), c.Topic)
	})
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return withRights(fmt.Errorf("create topic %s: %w", c.Topic, err))
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
