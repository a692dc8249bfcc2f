package worker

import (
	"context"
	"errors"
	"sync"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Run reads the log until ctx ends, and returns nil then; a batch in flight is
// finished first, under its own deadline, and the terms are given up. What may pass
// is waited for, however long it takes. Run returns an error only if a person has to
// decide: a *DivergedError, an *AlteredError, one that Begin marks as permanent, and,
// if Stop is set, that of the event that would be parked.
//
// If the log is an eventstore.Listener, it listens meanwhile. No goroutine outlives Run.
func (r Reader) Run(ctx context.Context) error { return newRun(r).all(ctx) }

// RunTo is Run, but it also returns once everything up to the given position has
// taken effect or is parked, whoever of several workers has seen to it. Then the
// error is nil, or a *ParkedError. A failure that is not an event's is returned after
// Retry.Attempts.
func (r Reader) RunTo(ctx context.Context, to event.Position) error {
	run := newRun(r)
	run.to = &to
	return run.all(ctx)
}

// run is one Run of a Reader.
type run struct {
	Reader
	to     *event.Position // nil: for ever
	stores Classifier      // the store, if it is one
	pages  *pages
	budget *budget // of retries, shared by the segments
	trials trials
	mu     sync.Mutex
	at     map[string]event.Position // how far segments are known to be; under mu
	kick   chan struct{}             // makes the crew look around at once
}

func newRun(r Reader) *run {
	w := &run{Reader: r.OrDefaults(), at: map[string]event.Position{}, kick: make(chan struct{}, 1)}
	w.Retry = w.Retry.orDefaults()
	if w.Holder == "" {
		w.Holder = someHolder()
	}
	w.stores, _ = r.Store.(Classifier)
	w.budget = newBudget(w.Retry)
	if r.Log != nil {
		w.pages = &pages{log: r.Log, turn: make(chan struct{}, 1)}
		if w.Segments > 1 {
			w.pages.most = keptPages
		}
	}
	return w
}

func (w *run) all(ctx context.Context) (err error) {
	w.Health.began(w.Name)
	defer func() { w.Health.ended(err) }()
	inner, cancel := context.WithCancelCause(ctx)
	defer w.pages.end()
	defer cancel(nil)
	if listener, ok := w.Log.(eventstore.Listener); ok && w.to == nil {
		var listening sync.WaitGroup
		listening.Go(func() { _ = listener.Listen(inner) }) // a hint: a reader polls
		defer listening.Wait()
		defer cancel(nil)
	}
	err = w.crew(inner)
	if ctx.Err() != nil && w.to != nil && err == nil {
		return ctx.Err()
	}
	return err
}

// lookAround wakes the crew.
func (w *run) lookAround() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// fatal reports whether an error is one that no waiting mends, of the reader as a
// whole and not of an event.
func (w *run) fatal(err error) bool {
	return halts(err) || IsPermanent(err)
}

// progress notes how far a segment is. It can go back: see Reader.Begin.
func (w *run) progress(segment string, to event.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.at[segment]
	w.at[segment] = to
	if w.to != nil && before < *w.to && to >= *w.to {
		w.lookAround()
	}
}

// arrived reports whether a RunTo has come to its end.
func (w *run) arrived(ctx context.Context, have map[string]*tenure) (bool, error) {
	if w.to == nil {
		return false, nil
	}
	c, err := w.Store.Checkpoint(ctx, w.Name)
	if err != nil {
		if w.fatal(err) {
			return false, err
		}
		return false, nil
	}
	for _, name := range SegmentNames(w.Segments) {
		w.mu.Lock()
		at, ours := w.at[name], have[name] != nil
		w.mu.Unlock()
		if ours && at < *w.to || !ours && c[name].Position < *w.to {
			return false, nil
		}
	}
	return w.unparked(ctx)
}

// unparked reports that nothing is tried again any more, and the error says what is parked.
func (w *run) unparked(ctx context.Context) (bool, error) {
	all, err := w.Store.Parked(ctx, ParkedQuery{Name: w.Name, State: Retrying, Limit: 1})
	if err != nil || len(all) > 0 {
		return false, nil
	}
	parked := &ParkedError{Name: w.Name}
	for p, err := range eachParked(ctx, w.Store, ParkedQuery{Name: w.Name}) {
		if err != nil {
			return false, nil
		}
		if parked.Keys++; parked.Keys == 1 {
			parked.Err = errors.New(p.Error)
		}
	}
	if parked.Keys == 0 {
		return true, nil
	}
	return true, parked
}
