package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
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

// tenure is the work on one segment under one term.
type tenure struct {
	term    Term
	trusted atomic.Int64 // UnixNano until which the lease runs at least
	stop    context.CancelFunc
	ended   chan struct{}
	err     error  // when ended
	why     string // it ended
	seg     *segment
}

func (w *run) all(ctx context.Context) (err error) {
	w.Health.began(w.Name)
	defer func() { w.Health.ended(err) }()
	inner, cancel := context.WithCancelCause(ctx)
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

// crew keeps as many segments as are this member's share, until ctx ends.
func (w *run) crew(ctx context.Context) (err error) {
	have := map[string]*tenure{}
	defer func() {
		for _, t := range have {
			t.stop()
		}
		for _, t := range have {
			<-t.ended
			if t.err != nil && err == nil {
				err = t.err
			}
			w.Hooks.lost(TermLost{w.Name, t.term, "the worker ends"})
		}
		w.resign(ctx, true, slices.Collect(maps.Values(have))...)
	}()
	failures := 0
	for ctx.Err() == nil {
		next := w.Lease / 3
		began := time.Now()
		roster, err := w.renew(ctx, have)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			if err := w.follow(ctx, roster, have, began); err != nil {
				return err
			}
		case w.fatal(err):
			return err
		default:
			failures++
			if w.to != nil && failures >= w.Retry.Attempts {
				return fmt.Errorf("%s: %d attempts: %w", w.Name, failures, err)
			}
			w.Logger.WarnContext(ctx, "cannot renew terms", "name", w.Name, "error", err)
			next = min(next, w.Retry.Wait(failures))
		}
		if done, err := w.arrived(ctx, have); done || err != nil {
			return err
		}
		if err := w.rest(ctx, have, next); err != nil {
			return err
		}
	}
	return nil
}

// rest waits for the next look, and takes what has ended off the list.
func (w *run) rest(ctx context.Context, have map[string]*tenure, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.kick:
	}
	if ctx.Err() != nil {
		return nil // the rest is for the end
	}
	var over []*tenure
	for _, t := range have {
		select {
		case <-t.ended:
			over = append(over, t)
		default:
		}
	}
	for _, t := range over {
		if t.err != nil {
			return t.err
		}
	}
	if len(over) == 0 {
		return nil
	}
	w.resign(ctx, false, over...)
	for _, t := range over {
		delete(have, t.term.Segment)
		w.Hooks.lost(TermLost{w.Name, t.term, t.why})
	}
	return nil
}

// renew sends a sign of life, and extends the terms of segments that do not hang.
func (w *run) renew(ctx context.Context, have map[string]*tenure) (Roster, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Lease)
	defer cancel()
	r := Renewal{Name: w.Name, Holder: w.Holder, Lease: w.Lease, Reports: map[string]Report{}}
	for name, t := range have {
		if t.seg.hangs(time.Now()) {
			continue // its lease runs out, and somebody else may have better luck
		}
		r.Terms = append(r.Terms, t.term)
		r.Reports[name] = t.seg.report()
	}
	return w.Store.Renew(ctx, r)
}

// follow does what the roster asks for: it stops the work on terms that are over,
// or too many, and claims what is free and this member's share.
func (w *run) follow(ctx context.Context, roster Roster, have map[string]*tenure, began time.Time) error {
	seats := map[string]Seat{}
	for _, s := range roster.Seats {
		seats[s.Segment] = s
	}
	names := SegmentNames(w.Segments)
	mine := 0
	for _, name := range names {
		t := have[name]
		if t == nil {
			continue
		}
		if s := seats[name]; s.Epoch != t.term.Epoch {
			w.Logger.WarnContext(ctx, "lost a term", "name", w.Name, "segment", name, "epoch", t.term.Epoch, "holder", s.Holder)
			t.why = "another worker has it"
			t.stop()
			continue
		}
		t.trusted.Store(began.Add(w.Lease).UnixNano())
		if mine++; mine > share(roster, w.Holder, len(names)) {
			t.why = "others have less"
			t.stop() // rest resigns when the batch in flight is done
		}
	}
	for _, name := range names {
		if mine >= share(roster, w.Holder, len(names)) {
			return nil
		}
		if s, ok := seats[name]; have[name] != nil || ok && s.Live {
			continue
		}
		term, err := w.claim(ctx, name, seats[name].Epoch)
		switch {
		case errors.Is(err, ErrTaken):
			w.Logger.DebugContext(ctx, "segment is taken", "name", w.Name, "segment", name, "error", err)
		case err != nil:
			if w.fatal(err) {
				return err
			}
			w.Logger.WarnContext(ctx, "cannot claim a term", "name", w.Name, "segment", name, "error", err)
		default:
			mine++
			have[name] = w.serve(ctx, term, began)
		}
	}
	return nil
}

func (w *run) claim(ctx context.Context, name string, epoch int64) (Term, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Lease)
	defer cancel()
	return w.Store.Claim(ctx, Claiming{Name: w.Name, Holder: w.Holder, Segment: name, Lease: w.Lease, Epoch: epoch})
}

// serve begins the work on a segment.
func (w *run) serve(ctx context.Context, term Term, began time.Time) *tenure {
	crash.At("worker.term.claimed")
	w.Logger.InfoContext(ctx, "began a term", "name", w.Name, "segment", term.Segment, "epoch", term.Epoch)
	w.Hooks.gained(TermGained{w.Name, term})
	ctx, cancel := context.WithCancel(ctx)
	t := &tenure{term: term, stop: cancel, ended: make(chan struct{})}
	t.trusted.Store(began.Add(w.Lease).UnixNano())
	t.seg = w.segment(term, term.Segment, &t.trusted)
	// So that a profile of goroutines says which segment hangs.
	ctx = pprof.WithLabels(ctx, pprof.Labels("reader", w.Name, "segment", term.Segment))
	go func() {
		pprof.SetGoroutineLabels(ctx)
		defer w.lookAround() // last: the crew has to find it ended
		defer close(t.ended)
		defer cancel()
		t.err = t.seg.readLog(ctx)
		if errors.Is(t.err, errTermOver) {
			t.err = nil
		}
	}()
	return t
}

// lookAround wakes the crew.
func (w *run) lookAround() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// resign gives terms up whose work has ended.
func (w *run) resign(ctx context.Context, leave bool, have ...*tenure) {
	ctx, cancel := Detach(ctx, min(w.Lease, 5*time.Second))
	defer cancel()
	terms := make([]Term, len(have))
	for i, t := range have {
		terms[i] = t.term
	}
	if err := w.Store.Resign(ctx, w.Name, w.Holder, leave, terms...); err != nil {
		w.Logger.WarnContext(ctx, "cannot give up terms, they run out by themselves", "name", w.Name, "error", err)
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
		return false, nil //nolint:nilerr // it is looked at again
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
		return false, nil //nolint:nilerr // it is looked at again
	}
	all, err = w.Store.Parked(ctx, ParkedQuery{Name: w.Name, Limit: MaxParked})
	if err != nil {
		return false, nil //nolint:nilerr // it is looked at again
	}
	if len(all) == 0 {
		return true, nil
	}
	return true, &ParkedError{Name: w.Name, Keys: len(all), Err: errors.New(all[0].Error)}
}
