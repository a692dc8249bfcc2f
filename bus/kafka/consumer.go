package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

var _ bus.Source = (*Consumer)(nil)

// Consumer is a source for a projection: one member of a consumer group. Its
// members share the partitions of the topics out among themselves.
type Consumer struct {
	group  string
	topics []string
	opts   []kgo.Opt
}

// pollRecords is the most records that one poll hands out, of all partitions.
const pollRecords = 2000

// NewConsumer returns a member of the group for the topics. The options are
// those of its client, which lives as long as Consume does: seed brokers, TLS,
// SASL, and where the brokers have it kgo.ServerSideBalancer (KIP-848); the
// default is the cooperative-sticky balancer. It does no I/O.
func NewConsumer(group string, topics []string, opts ...kgo.Opt) *Consumer {
	return &Consumer{group, topics, opts}
}

// Owns implements worker.Source: a part is named topic/partition.
func (c *Consumer) Owns(part string) bool { return slices.Contains(c.topics, topicOf(part)) }

// Consume implements worker.Source: it is Receive for events only. A record that no relay
// has made is an error.
func (c *Consumer) Consume(ctx context.Context, to worker.Sink) error {
	return c.Receive(ctx, bus.Events(to, bus.Refuse))
}

// Receive implements bus.Source. It first waits until the topics exist. An offset that the
// broker has lost, and a topic that grows or is made again while it is read, are errors.
func (c *Consumer) Receive(ctx context.Context, to bus.Receiver) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m := &member{Consumer: c, to: to, stop: stop, ready: make(chan struct{}), parts: map[string]*assigned{}}
	client, err := kgo.NewClient(append(append([]kgo.Opt{kgo.MetadataMinAge(250 * time.Millisecond)}, c.opts...),
		kgo.ConsumerGroup(c.group),
		kgo.ConsumeTopics(c.topics...),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(m.begin),
	)...)
	if err != nil {
		return fmt.Errorf("consume as %s: %w", c.group, worker.Permanent(err))
	}
	defer client.CloseAllowingRebalance()
	m.client = client
	close(m.ready)
	if _, err = await(inner, client, c.topics); err == nil {
		err = m.poll(inner)
	}
	if ctx.Err() != nil {
		return nil
	}
	if cause := context.Cause(inner); cause != nil {
		err = cause // of begin, which can only stop the others
	}
	return fmt.Errorf("consume as %s: %w", c.group, err)
}

func (m *member) poll(ctx context.Context) error {
	for ctx.Err() == nil {
		fetches := m.client.PollRecords(ctx, pollRecords)
		err := m.deliver(ctx, fetches)
		m.client.AllowRebalance()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// deliver hands the partitions of a poll to the sink, all at once. It does not
// stop at ctx: what was polled is delivered before the member leaves.
func (m *member) deliver(ctx context.Context, fetches kgo.Fetches) error {
	if fetches.IsClientClosed() {
		return kgo.ErrClientClosed
	}
	for _, e := range fetches.Errors() {
		var rejoining *kgo.ErrGroupSession
		if errors.As(e.Err, &rejoining) || errors.Is(e.Err, context.Canceled) {
			continue // the client joins the group again by itself
		}
		return fmt.Errorf("fetch %s: %w", partName(e.Topic, e.Partition), e.Err)
	}
	var group errgroup.Group
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) > 0 {
			group.Go(func() error { return m.deliverPart(ctx, p) })
		}
	})
	return group.Wait()
}

func (m *member) deliverPart(ctx context.Context, p kgo.FetchTopicPartition) error {
	part := partName(p.Topic, p.Partition)
	a := m.assigned(part)
	if a == nil {
		return fmt.Errorf("fetch %s: records of a partition that was not assigned", part)
	}
	d := bus.Delivery{Part: part, Source: a.id, Of: a.of, First: a.next, Messages: make([]bus.Received, len(p.Records))}
	for i, r := range p.Records {
		d.Messages[i] = bus.Received{Message: message(r), Offset: r.Offset, Time: r.Timestamp}
		d.Next = r.Offset + 1
	}
	if err := m.to.Deliver(ctx, d); err != nil {
		return err
	}
	a.next = d.Next
	return nil
}

func message(r *kgo.Record) bus.Message {
	m := bus.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: make([]bus.Header, len(r.Headers))}
	for i, h := range r.Headers {
		m.Headers[i] = bus.Header{Key: h.Key, Value: h.Value}
	}
	return m
}

func partName(topic string, partition int32) string { return fmt.Sprintf("%s/%d", topic, partition) }

func topicOf(part string) string {
	i := strings.LastIndexByte(part, '/')
	return part[:max(i, 0)]
}
