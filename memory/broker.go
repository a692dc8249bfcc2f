package memory

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

var (
	_ bus.Publisher = (*Broker)(nil)
	_ bus.Source    = (*brokerSource)(nil)
)

// Broker is a partitioned broker in process. It is safe for concurrent use.
type Broker struct {
	partitions int

	mu     sync.Mutex
	topics map[string]*topic
	grown  chan struct{} // closed when a message arrives
	books  map[string]book
}

type topic struct {
	id         string
	partitions [][]received
}

// received is a message and when it came.
type received struct {
	bus.Message
	at time.Time
}

// NewBroker returns a broker whose topics have this many partitions, unless their
// contract says otherwise. It panics unless there is at least one.
func NewBroker(partitions int) *Broker {
	if partitions < 1 {
		panic(fmt.Sprintf("memory: NewBroker(%d): want at least 1 partition", partitions))
	}
	return &Broker{partitions: partitions, topics: map[string]*topic{}, grown: make(chan struct{}), books: map[string]book{}}
}

// Topics implements bus.Publisher.
func (b *Broker) Topics(_ context.Context, names ...string) (map[string]bus.Topic, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bus.Topic{}
	for _, name := range names {
		if t := b.topics[name]; t != nil {
			out[name] = bus.Topic{ID: t.id, Partitions: len(t.partitions)}
		}
	}
	return out, nil
}

// Create implements bus.Publisher. A topic has as many partitions as its contract says,
// or as the broker has by default.
func (b *Broker) Create(_ context.Context, contracts ...bus.Contract) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range contracts {
		if b.topics[c.Topic] == nil {
			n := cmp.Or(c.Partitions, b.partitions)
			b.topics[c.Topic] = &topic{id: event.NewID().String(), partitions: make([][]received, n)}
		}
	}
	return nil
}

// Publish implements bus.Publisher. A topic that does not exist is an error.
func (b *Broker) Publish(ctx context.Context, messages []bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.publishLocked(messages)
}

func (b *Broker) publishLocked(messages []bus.Message) error {
	for _, m := range messages {
		t := b.topics[m.Topic]
		if t == nil {
			return fmt.Errorf("publish to %s: no such topic", m.Topic)
		}
		h := fnv.New32a()
		_, _ = h.Write(m.Key)
		p := h.Sum32() % uint32(len(t.partitions))
		t.partitions[p] = append(t.partitions[p], received{m, time.Now()})
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
	out := make([][]bus.Message, len(b.topics[name].partitions))
	for i, p := range b.topics[name].partitions {
		for _, r := range p {
			out[i] = append(out[i], r.Message)
		}
	}
	return out
}

// Source returns a consumer of the topics: the only member of its group.
func (b *Broker) Source(topics ...string) bus.Source { return &brokerSource{b, topics} }

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
	return s.Receive(ctx, bus.Events(to, bus.Refuse))
}

// Receive implements bus.Source. A topic is read from when it is there.
func (s *brokerSource) Receive(ctx context.Context, to bus.Receiver) error {
	marks := worker.Checkpoint{}
	begun := map[string]bool{}
	for ctx.Err() == nil {
		s.mu.Lock()
		grown := s.grown
		s.mu.Unlock()
		delivered := false
		for _, name := range s.names {
			for i := range s.partitionsOf(name) {
				if part := partOf(name, i); !begun[part] {
					c, err := to.Begin(ctx, part)
					if err != nil {
						return err
					}
					marks[part], begun[part] = c[part], true
				}
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

func (b *Broker) partitionsOf(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[name] == nil {
		return 0
	}
	return len(b.topics[name].partitions)
}

func (s *brokerSource) deliver(ctx context.Context, name string, partition int, marks worker.Checkpoint, to bus.Receiver) (bool, error) {
	s.mu.Lock()
	t := s.topics[name]
	if t == nil || partition >= len(t.partitions) {
		s.mu.Unlock()
		return false, nil
	}
	part := partOf(name, partition)
	d := bus.Delivery{Part: part, Source: t.id, Of: len(t.partitions)}
	if marks[part].Source == t.id {
		d.First = marks[part].Offset
	}
	d.Next = d.First
	for _, m := range t.partitions[partition][d.First:] {
		d.Messages = append(d.Messages, bus.Received{Message: m.Message, Offset: d.Next, Time: m.at})
		d.Next++
	}
	s.mu.Unlock()
	if len(d.Messages) == 0 {
		return false, nil
	}
	if err := to.Deliver(ctx, d); err != nil {
		return false, err
	}
	marks[part] = worker.Mark{Source: d.Source, Offset: d.Next}
	return true, nil
}

func partOf(topic string, partition int) string { return fmt.Sprintf("%s/%d", topic, partition) }
