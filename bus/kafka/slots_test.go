package kafka

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// line has waiters of the given ranks wait for the one slot, in this order, and returns in
// which order they have it.
func line(t *testing.T, ranks ...int) (order []int) {
	t.Helper()
	s := &slots{free: 1}
	if err := s.acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	granted := make(chan int)
	for i, rank := range ranks {
		go func() {
			if err := s.acquire(t.Context(), rank); err != nil {
				t.Error(err)
			}
			granted <- i
		}()
		synctest.Wait()
	}
	for range ranks {
		s.release()
		order = append(order, <-granted)
	}
	s.release()
	if s.free != 1 || len(s.waiting) != 0 {
		t.Errorf("%d slots are free, and %d wait, want 1 and none", s.free, len(s.waiting))
	}
	return order
}

func TestSlotsGoByPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got, want := line(t, 2, 0, 1, 0, 2, 1), []int{1, 3, 2, 5, 0, 4}; !slices.Equal(got, want) {
			t.Errorf("served in the order %v, want %v: the preferred first, and of equals whoever came first", got, want)
		}
	})
}

// However many come that are preferred, whoever has waited longest has every eighth slot.
func TestSlotsStarveNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ranks := []int{1, 1}
		for range 30 {
			ranks = append(ranks, 0)
		}
		got := line(t, ranks...)
		if first, second := slices.Index(got, 0), slices.Index(got, 1); first != 7 || second != 15 {
			t.Errorf("those of low priority are served as number %d and %d, want 7 and 15", first, second)
		}
	})
}

func TestSlotsOfThoseWhoWaitNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slots{free: 1}
		if err := s.acquire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		const n = 5
		ended := make(chan error, n)
		for range n {
			go func() { ended <- s.acquire(ctx, 0) }()
		}
		synctest.Wait()
		cancel()
		s.release() // while they give up: some may have been given it by now
		for range n {
			if err := <-ended; err == nil {
				s.release()
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d slots are free, and %d wait, want 1 and none", s.free, len(s.waiting))
		}
	})
}

// A delivery that does nothing but wait gives its slot up, and takes it again.
func TestSlotsOfThoseWhoWaitForAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slots{free: 1}
		mine := turn{slots: s}
		if err := mine.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		idle := mine.idle(ctx)
		goOn := idle()
		other := turn{slots: s}
		if err := other.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		back := make(chan struct{})
		go func() { goOn(); close(back) }()
		synctest.Wait()
		select {
		case <-back:
			t.Error("two have the one slot")
		default:
		}
		other.end()
		<-back
		if !mine.held {
			t.Error("it goes on without a slot")
		}
		cancel()
		idle()() // it is not there any more: the delivery ends
		mine.end()
		if s.free != 1 {
			t.Errorf("%d slots are free, want 1", s.free)
		}
	})
}

// Whoever is not to go on takes no slot, also if one is free.
func TestSlotsOfThoseWhoHaveEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &slots{free: 1}
	if err := s.acquire(ctx, 0); !errors.Is(err, context.Canceled) || s.free != 1 {
		t.Errorf("acquire = %v, and %d slots are free, want context.Canceled and 1", err, s.free)
	}
}
