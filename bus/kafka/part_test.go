package kafka

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// tray is a receiver that keeps what is delivered.
type tray struct{ got []bus.Delivery }

func (*tray) Begin(context.Context, ...string) (worker.Checkpoint, error) { return nil, nil }

func (to *tray) Deliver(_ context.Context, d bus.Delivery) error {
	to.got = append(to.got, d)
	return nil
}

// queued is how many deliveries wait for a slot.
func (s *slots) queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// A partition is taken away between the look at what is queued and the take of it: what
// was queued is gone, and no delivery says that it was read.
func TestPartTakenAwayBeforeItIsDelivered(t *testing.T) {
	t.Parallel()
	m, to := newMember(t), &tray{}
	m.to, m.slots.free = to, 0
	p := m.assign("t")
	p.push([]*kgo.Record{{Topic: "t", Offset: 7}, {Topic: "t", Offset: 8}})
	for m.slots.queued() == 0 {
		runtime.Gosched()
	}
	m.mu.Lock() // so that it cannot take
	m.slots.release()
	p.dropLocked()
	m.mu.Unlock()
	m.workers.Wait()
	if len(to.got) != 0 || m.slots.free != 1 {
		t.Errorf("delivered %+v, and %d slots are free, want nothing and 1", to.got, m.slots.free)
	}
	if d, ok := p.take(); ok {
		t.Errorf("take = %+v, want nothing", d)
	}
}

// A partition is taken away while somebody asks what its failure means: it is not left
// paused for whoever has it next.
func TestPartTakenAwayBeforeItFails(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	p := m.assign("t")
	m.drop(m.client, map[string][]int32{"t": {0}})
	p.fail(errors.New("offset out of range"))
	p.push([]*kgo.Record{{Topic: "t", Offset: 7, Value: make([]byte, mostBytes)}})
	m.workers.Wait()
	if paused := m.client.PauseFetchPartitions(nil); len(paused) > 0 || m.ctx.Err() != nil {
		t.Errorf("paused are %v, and the member ended with %v, want neither", paused, context.Cause(m.ctx))
	}
}

// A partition that is assigned once more, and was not taken away before, is not paused.
func TestPartAssignedOnceMore(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	p := m.assign("t")
	p.running = make(chan struct{}) // a delivery is under way
	p.push([]*kgo.Record{{Topic: "t", Offset: 7, Value: make([]byte, mostBytes)}})
	if len(m.client.PauseFetchPartitions(nil)) != 1 {
		t.Fatal("not paused")
	}
	m.mu.Lock()
	_, err := m.beginPartLocked("t", 0, topic{id: "x", partitions: 1}, nil, bounds{})
	m.mu.Unlock()
	if paused := m.client.PauseFetchPartitions(nil); err != nil || len(paused) > 0 || p.ctx.Err() == nil {
		t.Errorf("paused are %v, %v, want none", paused, err)
	}
}
