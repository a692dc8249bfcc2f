package kafka

import (
	"context"
	"slices"
	"sync"
)

// fairly is how often whoever has waited longest goes first, whatever its rank: every so
// many grants.
const fairly = 8

// slots are how many deliveries may go on at one time.
type slots struct {
	mu      sync.Mutex
	free    int
	granted int       // to those who had to wait
	waiting []*waiter // longest first
}

type waiter struct {
	rank  int // lower goes first
	ready chan struct{}
}

// acquire waits for a slot. After an error there is none to release. One that was granted
// may come together with the end of ctx.
func (s *slots) acquire(ctx context.Context, rank int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	w := &waiter{rank, make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // it was granted between the end of ctx and the lock
		s.releaseLocked()
	}
	return ctx.Err()
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked()
}

func (s *slots) releaseLocked() {
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	s.granted++
	next := 0
	if s.granted%fairly != 0 {
		for i, w := range s.waiting {
			if w.rank < s.waiting[next].rank {
				next = i
			}
		}
	}
	close(s.waiting[next].ready)
	s.waiting = slices.Delete(s.waiting, next, next+1)
}

// turn is a slot that a delivery has, and gives up while it does nothing but wait.
type turn struct {
	slots *slots
	rank  int
	held  bool
}

func (t *turn) begin(ctx context.Context) error {
	err := t.slots.acquire(ctx, t.rank)
	t.held = err == nil
	return err
}

func (t *turn) end() {
	if t.held {
		t.held = false
		t.slots.release()
	}
}

// idle gives the slot up while the sink waits: see worker.WithIdle.
func (t *turn) idle(ctx context.Context) func() (goOn func()) {
	return func() (goOn func()) {
		t.end()
		return func() { _ = t.begin(ctx) } // if ctx has ended, so does the delivery
	}
}
