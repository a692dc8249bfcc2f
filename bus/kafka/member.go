package kafka

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// member is one Consume.
type member struct {
	*Consumer
	ready  chan struct{} // closed when client is set: the client may call begin before
	client *kgo.Client
	to     bus.Receiver
	stop   context.CancelCauseFunc

	mu    sync.Mutex
	parts map[string]*assigned // begin adds to it while deliveries run
}

// assigned is a partition that this member reads. Only the deliveries of the
// partition, one at a time, change next.
type assigned struct {
	id   string // of the topic
	of   int
	next int64
}

func (m *member) assigned(part string) *assigned {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.parts[part]
}

// begin sets where to read partitions that were just assigned. The group's own
// offsets are not asked: what has taken effect is known in the checkpoint only.
func (m *member) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var parts []string
	for name, partitions := range offsets {
		for partition := range partitions {
			parts = append(parts, partName(name, partition))
		}
	}
	marks, err := m.to.Begin(ctx, parts...)
	if err != nil {
		return nil, m.fail(ctx, err)
	}
	topics, err := await(ctx, m.client, m.topics)
	if err != nil {
		return nil, m.fail(ctx, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, partitions := range offsets {
		if err := m.checkParts(name, topics[name].partitions, marks); err != nil {
			return nil, m.fail(ctx, err)
		}
		for partition := range partitions {
			part := partName(name, partition)
			a := &assigned{id: topics[name].id, of: topics[name].partitions}
			if mark := marks[part]; mark.Source == a.id {
				a.next = mark.Offset
			}
			m.parts[part] = a
			partitions[partition] = kgo.NewOffset().At(a.next)
		}
	}
	return offsets, nil
}

// checkParts refuses a topic that has not the number of partitions that any of
// its marks was made with, or that this member began with: keys have moved, and
// the order of their events with them.
func (m *member) checkParts(name string, is int, marks worker.Checkpoint) error {
	for part, mark := range marks {
		if topicOf(part) == name && mark.Of != 0 && mark.Of != is {
			return worker.Permanent(&worker.PartsError{Name: m.group, Part: part, Was: mark.Of, Is: is})
		}
	}
	for part, a := range m.parts {
		if topicOf(part) == name && a.of != is {
			return worker.Permanent(&worker.PartsError{Name: m.group, Part: part, Was: a.of, Is: is})
		}
	}
	return nil
}

// fail ends Consume with err: the client would only log what begin returns.
func (m *member) fail(ctx context.Context, err error) error {
	if ctx.Err() == nil { // not merely a group session that has ended
		m.stop(fmt.Errorf("begin: %w", err))
	}
	return err
}
