package worker

import (
	"context"
	"sync"
	"time"
)

// trials lets the segments of a run apply batches side by side, except for an event
// that has perhaps ended a process: it is tried while no other batch is in flight. Or
// events of other segments, that were in flight whenever it ended the process, would
// be taken for killers as well. The zero value is ready, and safe for concurrent use.
type trials struct {
	mu       sync.Mutex
	inFlight int
	alone    bool          // the one in flight is to have it for itself
	waiting  int           // for that
	changed  chan struct{} // closed when any of these has changed; nil: nobody waits
}

// enter waits for its turn, at most as long as given, so that one batch that hangs does
// not stop all. It reports false, and has not entered, if ctx ends before.
func (t *trials) enter(ctx context.Context, alone bool, most time.Duration) (leave func(), ok bool) {
	var late <-chan time.Time
	t.mu.Lock()
	defer t.mu.Unlock()
	if alone {
		t.waiting++
		defer func() { t.waiting-- }()
	}
	for over := false; !over && (t.alone || alone && t.inFlight > 0 || !alone && t.waiting > 0); {
		if late == nil {
			timer := time.NewTimer(most)
			defer timer.Stop()
			late = timer.C
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			over = true
		case <-ctx.Done():
		}
		t.mu.Lock()
		if ctx.Err() != nil {
			t.tellLocked()
			return nil, false
		}
	}
	t.inFlight++
	t.alone = t.alone || alone
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.inFlight--
		t.alone = t.alone && !alone
		t.tellLocked()
	}, true
}

// tellLocked has all who wait look again.
func (t *trials) tellLocked() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}
