package kafka

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// guard is the partitioner of a client, and what its Publishers share. A record goes to
// the partition that its Publisher has set, as long as the client puts it into the first
// batch that it makes of that partition in the round. A record that would begin a second
// one is declined, with all of the partition that follow: so a batch that a broker
// refuses is never overtaken, whenever the client takes it into its head to send.
type guard struct {
	reach *reach        // of the clients with these options
	turn  chan struct{} // full while somebody publishes
	left  []string      // under turn: topics that the client may have records for, of a Publish that gave up

	mu     sync.Mutex
	round  int
	topics map[string]*guarded
}

func newGuard() *guard {
	return &guard{reach: newReach(nil), turn: make(chan struct{}, 1), topics: map[string]*guarded{}}
}

// next begins a round. The client has no records then.
func (g *guard) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.round++
}

// ForTopic implements kgo.Partitioner. What is known of a topic outlives the client's
// knowledge of it.
func (g *guard) ForTopic(topic string) kgo.TopicPartitioner {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.topics[topic]
	if t == nil {
		t = &guarded{guard: g}
		g.topics[topic] = t
	}
	return t
}

// guarded is the guard of a topic. The fields are guarded by mu of the guard.
type guarded struct {
	*guard
	begun  []int // by partition: the last round that has a batch
	closed []int // by partition: the last round that a record was declined in
	fresh  bool  // the record to come begins a batch
}

var _ kgo.TopicPartitionerOnNewBatch = (*guarded)(nil)

// declined is the partition of a record that is left for the next round.
const declined = -2

// RequiresConsistency implements kgo.TopicPartitioner: n is then the number of
// partitions, those without a leader among them.
func (t *guarded) RequiresConsistency(*kgo.Record) bool { return true }

// OnNewBatch implements kgo.TopicPartitionerOnNewBatch: Partition is called once more for
// the same record, which begins a batch.
func (t *guarded) OnNewBatch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh = true
}

// Partition implements kgo.TopicPartitioner.
func (t *guarded) Partition(r *kgo.Record, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh, p := t.fresh, int(r.Partition)
	t.fresh = false
	if p < 0 || p >= n {
		return p // the client says so
	}
	for len(t.begun) < n {
		t.begun, t.closed = append(t.begun, 0), append(t.closed, 0)
	}
	if t.closed[p] == t.round || fresh && t.begun[p] == t.round {
		t.closed[p] = t.round
		r.Partition = declined
		return declined
	}
	if fresh {
		t.begun[p] = t.round
	}
	return p
}
