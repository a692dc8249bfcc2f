package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// member is one Receive.
type member struct {
	*Consumer
	ready  chan struct{} // closed when client is set: the client may call begin before
	client *kgo.Client
	to     bus.Receiver
	ctx    context.Context //nolint:containedctx // that of Receive, and ended by stop
	stop   context.CancelCauseFunc
	slots  *slots

	workers sync.WaitGroup // those of parts; only poll adds to it, and workers

	mu    sync.Mutex
	parts map[string]*part // that are this member's
}

func (m *member) part(name string) *part {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parts[name]
}

// begin sets where to read partitions that were just assigned. The group's own
// offsets are not asked: what has taken effect is known in the checkpoint only.
func (m *member) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := m.beginParts(ctx, offsets); err != nil {
		if ctx.Err() == nil { // not merely a group session that has ended
			m.stop(fmt.Errorf("begin: %w", err)) // the client would only log it
		}
		return nil, err
	}
	return offsets, nil
}

func (m *member) beginParts(ctx context.Context, offsets map[string]map[int32]kgo.Offset) error {
	var names []string
	for topic, partitions := range offsets {
		for partition := range partitions {
			names = append(names, partName(topic, partition))
		}
	}
	if len(names) == 0 {
		return nil
	}
	marks, err := m.to.Begin(ctx, names...)
	if err != nil {
		return err
	}
	assigned := slices.Sorted(maps.Keys(offsets))
	topics, err := m.await(ctx, assigned)
	if err != nil {
		return err
	}
	bounds, err := boundsOf(ctx, m.client, assigned...)
	if err != nil {
		return err
	}
	m.tell(ctx, bounds, offsets)
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range offsets {
		if err := m.checkParts(topic, topics[topic].partitions, marks); err != nil {
			return err
		}
		for partition := range partitions {
			at, err := m.beginPartLocked(topic, partition, topics[topic], marks, bounds)
			if err != nil {
				return err
			}
			if committed := partitions[partition].EpochOffset().Offset; sabotage.AutoCommit && committed >= 0 {
				at, m.parts[partName(topic, partition)].fetched = committed, committed
			}
			partitions[partition] = kgo.NewOffset().At(at)
		}
	}
	return nil
}

// await waits until the topics exist. How many partitions they have, and which incarnation
// they are, is known without leaders.
func (m *member) await(ctx context.Context, names []string) (map[string]topic, error) {
	ask := func() (map[string]topic, []string, error) { return describe(ctx, m.client, names) }
	topics, err := await(ctx, ask, func(missing []string, err error) {
		m.logger.WarnContext(ctx, "waits for topics", "group", m.group, "missing", missing, "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("wait for topics %v: %w", names, err)
	}
	return topics, nil
}

// tell logs which partitions that were assigned have no leader. What they have lost shows
// when they are fetched from.
func (m *member) tell(ctx context.Context, b bounds, offsets map[string]map[int32]kgo.Offset) {
	var waiting []string
	for topic, partitions := range offsets {
		for partition := range partitions {
			if !b.known(topic, partition) {
				waiting = append(waiting, partName(topic, partition))
			}
		}
	}
	if len(waiting) > 0 {
		slices.Sort(waiting)
		m.logger.WarnContext(ctx, "waits for partitions without a leader", "group", m.group, "parts", waiting)
	}
}

// beginPartLocked returns where to fetch a partition from.
func (m *member) beginPartLocked(topic string, partition int32, is topic, marks worker.Checkpoint, b bounds) (int64, error) {
	p := &part{member: m, name: partName(topic, partition), topic: topic, partition: partition, id: is.id, of: is.partitions, rank: m.rank(topic)}
	if mark := marks[p.name]; mark.Source == p.id {
		p.next = mark.Offset
	}
	p.fetched = p.next
	if lost := b.lost(topic, partition, p.next); lost != nil {
		if lost.Truncated || m.skip == nil || !m.skip(lost) {
			return 0, worker.Permanent(lost)
		}
		p.fetched = lost.To
	}
	if before := m.parts[p.name]; before != nil {
		before.dropLocked()
		m.client.ResumeFetchPartitions(map[string][]int32{topic: {partition}})
	}
	p.ctx, p.cancel = context.WithCancel(m.ctx)
	m.parts[p.name] = p
	return p.fetched, nil
}

// checkParts refuses a topic that has not the number of partitions that any of
// its marks was made with, or that this member began with: keys have moved, and
// the order of their events with them. The error names the group: which checkpoint it is
// only the receiver knows.
func (m *member) checkParts(name string, is int, marks worker.Checkpoint) error {
	for part, mark := range marks {
		if topicOf(part) == name && mark.Of != 0 && mark.Of != is {
			return worker.Permanent(&worker.PartsError{Name: "group " + m.group, Part: part, Was: mark.Of, Is: is})
		}
	}
	for _, p := range m.parts {
		if p.topic == name && p.of != is {
			return worker.Permanent(&worker.PartsError{Name: "group " + m.group, Part: p.name, Was: p.of, Is: is})
		}
	}
	return nil
}

// parting is the longest that a rebalance waits for the deliveries in flight of
// partitions that move to another member. They are told to end; a batch that has begun
// goes on to its own deadline; meanwhile nothing is polled. Waiting longer would hold up the group and make nothing
// safer: whoever has the partition next takes the term, and then such a batch changes
// nothing any more.
const parting = 3 * time.Second

// revoked ends the deliveries of partitions that move to another member, drops what waits,
// and waits for a while.
func (m *member) revoked(_ context.Context, client *kgo.Client, gone map[string][]int32) {
	running := m.drop(client, gone)
	wait := parting
	if all, _ := client.OptValue(kgo.RebalanceTimeout).(time.Duration); all > 0 {
		wait = min(wait, all/4)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for _, r := range running {
		select {
		case <-r:
		case <-timer.C:
			return
		}
	}
}

// lost does the same for partitions that others may have by now.
func (m *member) lost(_ context.Context, client *kgo.Client, gone map[string][]int32) {
	m.drop(client, gone)
}

// drop takes partitions away, and returns what is closed when their deliveries have ended.
func (m *member) drop(client *kgo.Client, gone map[string][]int32) (running []<-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range gone {
		for _, partition := range partitions {
			p := m.parts[partName(topic, partition)]
			if p == nil {
				continue
			}
			delete(m.parts, p.name)
			p.dropLocked()
			if p.running != nil {
				running = append(running, p.running)
			}
		}
	}
	client.ResumeFetchPartitions(gone) // the client keeps a pause for when they come back
	return running
}
