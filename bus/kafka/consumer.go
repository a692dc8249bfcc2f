package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

var _ worker.Source = (*Consumer)(nil)

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

// Consume implements worker.Source. It first waits until the topics exist. A
// record that no relay has made, an offset that the broker has lost, and a
// topic that is made again while it is read, are errors.
func (c *Consumer) Consume(ctx context.Context, to worker.Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := &member{Consumer: c, to: to, stop: cancel, parts: map[string]*assigned{}}
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
		return fmt.Errorf("consume as %s: %w", c.group, err)
	}
	defer client.CloseAllowingRebalance()
	m.client = client
	if err = m.await(ctx); err == nil {
		err = m.poll(ctx)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	} else if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("consume as %s: %w", c.group, err)
	}
	return nil
}

// member is one Consume.
type member struct {
	*Consumer
	to     worker.Sink
	stop   context.CancelCauseFunc
	client *kgo.Client
	parts  map[string]*assigned // written by begin, read by poll: never at once, because a poll blocks rebalances
}

// assigned is a partition that this member reads.
type assigned struct {
	id   string // of the topic
	of   int
	next int64
}

// await returns when all topics exist.
func (m *member) await(ctx context.Context) error {
	for {
		_, missing, err := describe(ctx, m.client, m.topics)
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// begin sets where to read partitions that were just assigned. The group's own
// offsets are not asked: what has taken effect is known in the checkpoint only.
func (m *member) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	marks, err := m.to.Checkpoint(ctx)
	if err != nil {
		return nil, m.fail(ctx, err)
	}
	topics, _, err := describe(ctx, m.client, m.topics)
	if err != nil {
		return nil, m.fail(ctx, err)
	}
	for topic, partitions := range offsets {
		t, ok := topics[topic]
		if !ok {
			return nil, m.fail(ctx, fmt.Errorf("topic %s is gone", topic))
		}
		for partition := range partitions {
			part := partName(topic, partition)
			mark := marks[part]
			if mark.Of != 0 && mark.Of != t.partitions {
				return nil, m.fail(ctx, worker.Permanent(&worker.PartsError{Name: m.group, Part: part, Was: mark.Of, Is: t.partitions}))
			}
			a := &assigned{id: t.id, of: t.partitions}
			if mark.Source == a.id {
				a.next = mark.Offset
			}
			m.parts[part] = a
			partitions[partition] = kgo.NewOffset().At(a.next)
		}
	}
	return offsets, nil
}

// fail ends Consume with err: the client would only log what begin returns.
func (m *member) fail(ctx context.Context, err error) error {
	if ctx.Err() == nil { // not merely a group session that has ended
		m.stop(err)
	}
	return err
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
	return nil
}

// deliver hands the partitions of a poll to the sink, all at once. It does not
// stop at ctx: what was polled is delivered before the member leaves.
func (m *member) deliver(ctx context.Context, fetches kgo.Fetches) error {
	if fetches.IsClientClosed() {
		return nil
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.Canceled) {
			return fmt.Errorf("fetch %s: %w", partName(e.Topic, e.Partition), e.Err)
		}
	}
	var group errgroup.Group
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		group.Go(func() error { return m.deliverPart(ctx, p) })
	})
	return group.Wait()
}

func (m *member) deliverPart(ctx context.Context, p kgo.FetchTopicPartition) error {
	part := partName(p.Topic, p.Partition)
	a := m.parts[part]
	if a == nil {
		return fmt.Errorf("fetch %s: records of a partition that was not assigned", part)
	}
	d := worker.Delivery{Part: part, Source: a.id, Of: a.of, First: a.next, Events: make([]event.Recorded, len(p.Records))}
	for i, r := range p.Records {
		e, err := bus.EventOf(message(r))
		if err != nil {
			return worker.Permanent(fmt.Errorf("%s offset %d: %w", part, r.Offset, err))
		}
		d.Events[i] = e
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
