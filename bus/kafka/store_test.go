package kafka_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// store is a sink that several members share, as the processes of a service
// share a database. It keeps the rules of a checkpoint: no gap, no repeat.
type store struct {
	mu      sync.Mutex
	marks   worker.Checkpoint
	applied map[event.Position]int
	gaps    []string
	grown   chan struct{}
}

func newStore() *store {
	return &store{marks: worker.Checkpoint{}, applied: map[event.Position]int{}, grown: make(chan struct{}, 1)}
}

func (s *store) Begin(context.Context, ...string) (worker.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.marks), nil
}

func (s *store) Deliver(_ context.Context, d worker.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.marks[d.Part]
	if d.First > at.Offset {
		s.gaps = append(s.gaps, d.Part)
	}
	next := worker.Mark{Source: d.Source, Of: d.Of, Offset: max(at.Offset, d.Next), Position: at.Position}
	for _, e := range d.Events {
		if e.Position > next.Position {
			s.applied[e.Position]++
			next.Position = e.Position
		}
	}
	s.marks[d.Part] = next
	select {
	case s.grown <- struct{}{}:
	default:
	}
	return nil
}

func (s *store) await(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		have := len(s.applied)
		s.mu.Unlock()
		if have == n {
			break
		}
		select {
		case <-s.grown:
		case <-ctx.Done():
			t.Fatalf("%d of %d events came: %v", have, n, ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, times := range s.applied {
		if times != 1 {
			t.Errorf("position %d was applied %d times", p, times)
		}
	}
	if len(s.gaps) > 0 {
		t.Errorf("deliveries that would skip: %v", s.gaps)
	}
}
