package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

var _ bus.Source = (*Consumer)(nil)

// Consumer is a member of a consumer group. The members of a group share the partitions
// of the topics out among themselves, as a work queue; each group is given everything.
// See the package comment for what happens when a partition moves to another member.
type Consumer struct {
	group  string
	topics []string
	opts   []kgo.Opt
	settings
}

// NewConsumer returns a member of the group for the topics. Among the options are those
// of its client, which lives as long as Receive does: seed brokers, TLS, SASL, a name,
// kgo.InstanceID and timeouts of the group. Which topics it consumes, from where, and what
// happens when partitions move is not theirs to say. It does no I/O. It panics if an
// Option is out of its bounds, and names it.
//
// The group protocol is that of KIP-848 where the broker has it (Apache Kafka from 4.3
// on), and the classic one with the cooperative-sticky balancer elsewhere, unless
// kgo.Balancers or kgo.ServerSideBalancer is among the options: then it is what these say.
// Members of both can be in one group if the broker lets them
// (group.consumer.migration.policy of Apache Kafka); else those of the other protocol wait
// until the last of the first has left. kgo.RebalanceTimeout is 15 s unless the options
// say otherwise.
//
// The client fetches at most 16 MiB at once from a broker, and 1 MiB of a partition, and
// lets it wait for at most 100 ms, unless kgo.FetchMaxBytes, kgo.FetchMaxPartitionBytes or
// kgo.FetchMaxWait is among the options. A connection that leads nowhere is given up after
// about five seconds, unless kgo.RequestTimeoutOverhead is. With what
// WithPrefetch says, that bounds what a member holds: of each partition one delivery, and
// as much that waits.
func NewConsumer(group string, topics []string, opts ...kgo.Opt) *Consumer {
	s, others, err := newSettings(topics, opts)
	if err != nil {
		panic(fmt.Sprintf("kafka: NewConsumer: %v", err))
	}
	return &Consumer{group, topics, others, s}
}

// Owns implements worker.Source: a part is named topic/partition.
func (c *Consumer) Owns(part string) bool { return slices.Contains(c.topics, topicOf(part)) }

// Consume implements worker.Source: it is Receive for events only. What becomes of a
// record that no relay has made is what WithForeign says.
func (c *Consumer) Consume(ctx context.Context, to worker.Sink) error {
	return c.Receive(ctx, bus.Events(to, c.foreign))
}

// Receive implements bus.Source. It first waits until the topics exist. A partition
// without a leader is waited for, and holds up no other. When ctx ends it
// drops what is not delivered yet, leaves the group, and returns after the deliveries in
// flight.
//
// Errors: *bus.LostError for records that the broker has lost, permanent unless WithSkip
// may skip them; *worker.PartsError, permanent, for a topic that has grown; ErrMadeAgain
// for one that was deleted while it was read, after which Receive can be called again.
func (c *Consumer) Receive(ctx context.Context, to bus.Receiver) error {
	err := c.receive(ctx, to)
	if err == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // it ends as it was told to
	}
	return withRights(fmt.Errorf("consume as %s: %w", c.group, err))
}

func (c *Consumer) receive(ctx context.Context, to bus.Receiver) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m := &member{
		Consumer: c, to: to, ctx: ctx, stop: stop,
		ready: make(chan struct{}), slots: &slots{free: c.concurrency}, parts: map[string]*part{},
	}
	r := newReach(func(e *AccessError) {
		c.logger.WarnContext(ctx, "is not let in by a broker", "group", c.group, "broker", e.Broker, "error", e.Error())
	})
	protocol, err := c.protocol(ctx, r)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(slices.Concat(c.clientOpts(), protocol, []kgo.Opt{
		kgo.WithHooks(r),
		kgo.ConsumerGroup(c.group),
		kgo.ConsumeTopics(c.topics...),
		commits(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // see push
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Held from a poll until what it returned is queued, and no longer: so what is
		// queued is of the partition as it is assigned now.
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(m.begin),
		kgo.OnPartitionsAssigned(nil),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
	})...)
	if err != nil {
		return worker.Permanent(err)
	}
	m.client = client
	close(m.ready)
	var watching sync.WaitGroup
	begin, begun := r.watch(ctx)
	_, err = m.await(begin, c.topics)
	begun()
	if err == nil {
		watching.Go(m.watch)
		err = m.poll()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx) // of whoever was first to stop the others
	}
	stop(nil)
	client.CloseAllowingRebalance()
	m.workers.Wait()
	watching.Wait()
	return err
}

// commits says that the client commits no offsets: the checkpoint has them.
func commits() kgo.Opt {
	if sabotage.AutoCommit {
		return kgo.AutoCommitInterval(100 * time.Millisecond)
	}
	return kgo.DisableAutoCommit()
}

// clientOpts are the options of the user's, before them what they may change.
func (c *Consumer) clientOpts() []kgo.Opt {
	return slices.Concat(quick(), []kgo.Opt{
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(1 << 20),
		// A fetch that waits for others does not include a partition that goes on meanwhile.
		kgo.FetchMaxWait(100 * time.Millisecond),
		// A call to join a group takes as long if the connection leads nowhere. Members need
		// no more: deliveries in flight end within parting, or change nothing any more.
		kgo.RebalanceTimeout(15 * time.Second),
		kgo.Balancers(unset{kgo.CooperativeStickyBalancer()}),
	}, c.opts)
}

// poll queues what is fetched until ctx ends. It never waits for a delivery.
func (m *member) poll() error {
	for m.ctx.Err() == nil {
		fetches := m.client.PollRecords(m.ctx, m.half())
		if fetches.IsClientClosed() {
			return kgo.ErrClientClosed
		}
		failed, err := failures(fetches)
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			name := partName(f.Topic, f.Partition)
			if len(f.Records) == 0 || failed[place{f.Topic, f.Partition}] != nil {
				return
			}
			if p := m.part(name); p != nil {
				p.push(f.Records)
			} else {
				err = fmt.Errorf("fetch %s: records of a partition that was not assigned", name)
			}
		})
		m.client.AllowRebalance()
		for at, failure := range failed {
			m.failed(at, failure)
		}
		if err != nil {
			return err
		}
	}
	return m.ctx.Err()
}

type place struct {
	topic     string
	partition int32
}

// failures returns the errors of a poll that the client does not mend by itself: those of
// partitions, and that of the group.
func failures(fetches kgo.Fetches) (failed map[place]error, group error) {
	for _, e := range fetches.Errors() {
		var rejoining *kgo.ErrGroupSession
		switch {
		case errors.As(e.Err, &rejoining) && refusesGroup(e.Err):
			group = e.Err
		case errors.As(e.Err, &rejoining), errors.Is(e.Err, context.Canceled):
			// the client joins the group again by itself
		default:
			if failed == nil {
				failed = map[place]error{}
			}
			failed[place{e.Topic, e.Partition}] = e.Err
		}
	}
	return failed, group
}

// refusesGroup reports whether a broker will not have the member in the group as it is.
func refusesGroup(err error) bool {
	for _, e := range []error{
		kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.InvalidGroupID, kerr.InconsistentGroupProtocol,
		kerr.InvalidSessionTimeout, kerr.FencedInstanceID, kerr.UnsupportedAssignor, kerr.GroupMaxSizeReached,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failed has a partition end the member, if it is still the member's.
func (m *member) failed(at place, failure error) {
	p := m.part(partName(at.topic, at.partition))
	if p == nil {
		return
	}
	m.mu.Lock()
	known, fetched := p.err != nil, p.fetched
	m.mu.Unlock()
	if !known {
		p.fail(m.fetchError(p.ctx, at.topic, at.partition, fetched, failure))
	}
}

func partName(topic string, partition int32) string { return fmt.Sprintf("%s/%d", topic, partition) }

func topicOf(part string) string {
	i := strings.LastIndexByte(part, '/')
	return part[:max(i, 0)]
}
