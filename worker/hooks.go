package worker

import (
	"context"
	"time"

	"github.com/annals-go/annals/event"
)

// Hooks are called by readers as they work, for metrics, traces and alerts. Each may
// be nil.
//
// They are called from the goroutines of the reader, several at once if it has several
// segments or parts, but those of one part in order. They hold up the reader while
// they run and get no deadline: they must not block. A panic of a hook is a mistake in
// the program and is not caught. Nothing may be concluded from a hook that was not
// called: a worker can end, or lose its term, between an effect and the call.
type Hooks struct {
	// Applied: the events have taken effect and the mark is stored (a read
	// model was committed, a broker has acknowledged). Repeated events, which
	// had no effect again, are not among them. A batch whose commit took effect but
	// whose answer was lost is not told of. Called after the commit.
	Applied func(Applied)
	// Failed: an attempt has failed. Called after its transaction was rolled back, and
	// before it is decided on: whether it is retried, parked or waited out. A batch
	// that failed and is searched for the event at fault counts once for each try.
	Failed func(Failure)
	// Parked: a key is now parked, so its events wait. Called after the commit, once
	// per key, not for the events that come to it later.
	Parked func(KeyParked)
	// Freed: nothing of the key is parked any more: its events have taken effect or
	// were discarded, and it is read with the others again. Called after the commit.
	Freed func(KeyFreed)
	// Paused: the reader waits because of something that is not the fault of its
	// events: a breaker is open, or most of what it tries fails. Called once when it
	// begins to wait, not at each try to go on.
	Paused func(Pause)
	// Resumed: it goes on, or has ended while it waited. Called once for each Paused.
	Resumed func(Pause)
	// Gained: the worker has a term, and begins with its segment.
	Gained func(TermGained)
	// Lost: it has the term no more and does nothing in its segment. Called once for
	// each Gained, after the batch in flight, if there was one, has ended.
	Lost func(TermLost)
	// Batch is called before each batch is applied. The handler gets the context that
	// it returns, which must come from the given one; the function that it returns is
	// called when the batch has ended, with its error, once. Either may be nil.
	Batch func(ctx context.Context, w Work) (context.Context, func(error))
}

// Applied is what Hooks.Applied is told.
type Applied struct {
	Name   string // of the reader
	Part   string
	Events []event.Recorded
	// Repeated is how many more came that had taken effect before, as far as Apply says:
	// see Batch.Repeated.
	Repeated int
	Mark     Mark
	Took     time.Duration
}

// Failure is what Hooks.Failed is told.
type Failure struct {
	Name string // of the reader
	// Key is the part, and the key of the event that failed; "" if it is not known
	// which one did.
	Key
	Class   Class
	Err     error
	Attempt int // of the event or batch, from 1
}

// KeyParked is what Hooks.Parked is told.
type KeyParked struct {
	Name string // of the reader
	Key
	Events int // that were parked at once, at least 1
	Err    error
}

// KeyFreed is what Hooks.Freed is told.
type KeyFreed struct {
	Name string // of the reader
	Key
}

// Pause is what Hooks.Paused and Hooks.Resumed are told.
type Pause struct {
	Name string // of the reader
	Part string
	Why  string        // in words, one of a few
	Err  error         // the last one before it
	For  time.Duration // how long it was; 0 in Hooks.Paused
}

// TermGained is what Hooks.Gained is told.
type TermGained struct {
	Name string // of the reader
	Term Term
}

// TermLost is what Hooks.Lost is told.
type TermLost struct {
	Name string // of the reader
	Term Term
	Why  string // in words, one of a few
}

// Work is what Hooks.Batch is told: the batch that begins.
type Work struct {
	Name   string // of the reader
	Part   string
	Term   Term
	Events int
	Drain  bool // they were parked, and are tried again
}

// tell calls hook if there is one.
func tell[T any](hook func(T), what T) {
	if hook != nil {
		hook(what)
	}
}

func (h Hooks) applied(a Applied)   { tell(h.Applied, a) }
func (h Hooks) failed(f Failure)    { tell(h.Failed, f) }
func (h Hooks) parked(p KeyParked)  { tell(h.Parked, p) }
func (h Hooks) freed(f KeyFreed)    { tell(h.Freed, f) }
func (h Hooks) paused(p Pause)      { tell(h.Paused, p) }
func (h Hooks) resumed(p Pause)     { tell(h.Resumed, p) }
func (h Hooks) gained(t TermGained) { tell(h.Gained, t) }
func (h Hooks) lost(t TermLost)     { tell(h.Lost, t) }

// batch calls Batch. Neither of what it returns is nil.
func (h Hooks) batch(ctx context.Context, w Work) (context.Context, func(error)) {
	if h.Batch == nil {
		return ctx, func(error) {}
	}
	within, end := h.Batch(ctx, w)
	if within == nil {
		within = ctx
	}
	if end == nil {
		end = func(error) {}
	}
	return within, end
}
