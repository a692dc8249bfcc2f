package memory

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

var _ bus.Publisher = (*Broker)(nil)

// Broker is a partitioned broker in process. It is safe for concurrent use.
type Broker struct {
	partitions int

	mu     sync.Mutex
	topics map[string]*topic
	grown  chan struct{} // closed when a message arrives
}

type topic struct {
	id         string
	partitions [][]bus.Message
}

// NewBroker returns a broker whose topics have this many partitions. It panics
// unless there is at least one.
func NewBroker(partitions int) *Broker {
	if partitions < 1 {
		panic(fmt.Sprintf("memory: NewBroker(%d): want at least 1 partition", partitions))
	}
	return &Broker{partitions: partitions, topics: map[string]*topic{}, grown: make(chan struct{})}
}

// Topics implements bus.Publisher.
func (b *Broker) Topics(_ context.Context, names ...string) (map[string]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := map[string]string{}
	for _, name := range names {
		if b.topics[name] == nil {
			b.topics[name] = &topic{id: event.NewID().String(), partitions: make([][]bus.Message, b.partitions)}
		}
		ids[name] = b.topics[name].id
	}
	return ids, nil
}

// Publish implements bus.Publisher. A topic that does not exist is an error.
func (b *Broker) Publish(ctx context.Context, messages []bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		t := b.topics[m.Topic]
		if t == nil {
			return fmt.Errorf("publish to %s: no such topic", m.Topic)
		}
		h := fnv.New32a()
		_, _ = h.Write(m.Key)
		p := h.Sum32() % uint32(len(t.partitions))
		t.partitions[p] = append(t.partitions[p], m)
	}
	close(b.grown)
	b.grown = make(chan struct{})
	return nil
}

// Newest implements bus.Publisher.
func (b *Broker) Newest(ctx context.Context, name string, visit func(int32, bus.Message) bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read newest of %s: %w", name, err)
	}
	for i, messages := range b.Messages(name) {
		for _, m := range slices.Backward(messages) {
			if !visit(int32(i), m) {
				break
			}
		}
	}
	return nil
}

// Delete deletes a topic with all of its messages.
func (b *Broker) Delete(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, name)
}

// Messages returns a topic's messages, partition by partition.
func (b *Broker) Messages(name string) [][]bus.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[name] == nil {
		return nil
	}
	out := slices.Clone(b.topics[name].partitions)
	for i := range out {
		out[i] = slices.Clone(out[i])
	}
	return out
}

// Source returns a consumer of the topics: the only member of its group.
func (b *Broker) Source(topics ...string) worker.Source { return &brokerSource{b, topics} }

type brokerSource struct {
	*Broker
	names []string
}

// Owns implements worker.Source.
func (s *brokerSource) Owns(part string) bool {
	i := strings.LastIndexByte(part, '/')
	return i >= 0 && slices.Contains(s.names, part[:i])
}

// Consume implements worker.Source.
func (s *brokerSource) Consume(ctx context.Context, to worker.Sink) error {
	var parts []string
	for _, name := range s.names {
		for i := range s.partitions {
			parts = append(parts, partOf(name, i))
		}
	}
	marks, err := to.Begin(ctx, parts...)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		s.mu.Lock()
		grown := s.grown
		s.mu.Unlock()
		delivered := false
		for _, name := range s.names {
			for i := range s.partitions {
				some, err := s.deliver(ctx, name, i, marks, to)
				if err != nil {
					return err
				}
				delivered = delivered || some
			}
		}
		if delivered {
			continue
		}
		select {
		case <-ctx.Done():
		case <-grown:
		}
	}
	return nil
}

func (s *brokerSource) deliver(ctx context.Context, name string, partition int, marks worker.Checkpoint, to worker.Sink) (bool, error) {
	s.mu.Lock()
	t := s.topics[name]
	if t == nil {
		s.mu.Unlock()
		return false, nil
	}
	part := partOf(name, partition)
	from := int64(0)
	if marks[part].Source == t.id {
		from = marks[part].Offset
	}
	messages := slices.Clone(t.partitions[partition][from:])
	s.mu.Unlock()
	if len(messages) == 0 {
		return false, nil
	}
	d := worker.Delivery{Part: part, Source: t.id, Of: s.partitions, First: from, Next: from}
	for _, m := range messages {
		e, err := bus.EventOf(m)
		if err != nil {
			return false, err
		}
		if (bus.LineageOf(m) != d.Lineage || bus.IsLate(m) != d.Late) && len(d.Events) > 0 {
			if err := to.Deliver(ctx, d); err != nil {
				return false, err
			}
			d.First, d.Events = d.Next, nil
		}
		d.Lineage, d.Late, d.Next = bus.LineageOf(m), bus.IsLate(m), d.Next+1
		d.Events = append(d.Events, e)
	}
	if err := to.Deliver(ctx, d); err != nil {
		return false, err
	}
	marks[part] = worker.Mark{Source: d.Source, Offset: d.Next}
	return true, nil
}

func partOf(topic string, partition int) string { return fmt.Sprintf("%s/%d", topic, partition) }
