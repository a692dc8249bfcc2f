package worker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrNotRunning is what Health.Check returns before Run has begun, and after it has
// returned nil.
var ErrNotRunning = errors.New("reader is not running")

// StuckError says that a reader has not come back from something in the time that it
// has for it.
type StuckError struct {
	Name, Segment string
	Doing         string        // what it does
	For           time.Duration // since when
	Over          time.Duration // how much longer than it may
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("%s: segment %q: %s takes %v, %v longer than it may: the code does not heed its context; see the stacks of its goroutines, and restart the process",
		e.Name, e.Segment, e.Doing, e.For.Round(time.Millisecond), e.Over.Round(time.Millisecond))
}

// Health tells whether one reader is alive: it runs, and does not hang. That its events
// fail, that it waits for a dependency, or that it lags, is no lack of health, as to
// restart it would not help; see Hooks, and annals status, for these.
//
// The zero value is ready, and nil is one that nobody asks. It is safe for concurrent
// use. One Health is for one reader.
type Health struct {
	mu      sync.Mutex
	name    string
	running bool
	err     error // of the last Run
	work    map[*work]struct{}
}

// work is a piece of work that has begun.
type work struct {
	segment, doing string
	since, until   time.Time
}

// Check returns nil if the reader runs and does not hang. Else it returns a
// *StuckError for each piece of work that takes too long, joined and sorted by
// segment, or the error that Run has returned, or ErrNotRunning. It takes no time.
func (h *Health) Check() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.running {
		if h.err != nil {
			return h.err
		}
		return ErrNotRunning
	}
	now := time.Now()
	var stuck []*StuckError
	for w := range h.work {
		if over := now.Sub(w.until); over > 0 {
			stuck = append(stuck, &StuckError{Name: h.name, Segment: w.segment, Doing: w.doing, For: now.Sub(w.since), Over: over})
		}
	}
	slices.SortFunc(stuck, func(a, b *StuckError) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Doing, b.Doing), cmp.Compare(a.Over, b.Over))
	})
	errs := make([]error, len(stuck))
	for i, e := range stuck {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// began says that Run of the named reader has begun.
func (h *Health) began(name string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name, h.running, h.work = name, true, map[*work]struct{}{}
}

// ended says that Run has returned err.
func (h *Health) ended(err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running, h.err = false, err
}

// expect says that the reader begins with a piece of work, which ends by calling done
// and has to end before the given time. That time is later than the deadline of the
// context which the work has, by what it takes to give up properly.
func (h *Health) expect(segment, doing string, until time.Time) (done func()) {
	if h == nil {
		return func() {}
	}
	w := &work{segment, doing, time.Now(), until}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running {
		h.work[w] = struct{}{}
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.work, w)
	}
}
