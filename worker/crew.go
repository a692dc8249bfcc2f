package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/internal/crash"
)

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
		var segments []*segment
		for _, t := range have {
			segments = append(segments, t.seg)
		}
		roster, err := w.renew(ctx, segments, Report{})
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

// renew sends a sign of life, and extends the terms of segments that do not hang. What
// holds all of them up is reported instead of how each does.
func (w *run) renew(ctx context.Context, segments []*segment, all Report) (Roster, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Lease)
	defer cancel()
	r := Renewal{Name: w.Name, Holder: w.Holder, Lease: w.Lease, Reports: map[string]Report{}}
	for _, s := range segments {
		if s.hangs(time.Now()) {
			continue // its lease runs out, and somebody else may have better luck
		}
		r.Terms, r.Reports[s.part] = append(r.Terms, s.term), s.report()
		if all.Paused != "" {
			r.Reports[s.part] = all
		}
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
	mine, most := 0, share(roster, w.Holder, len(names))
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
		if mine++; mine > most {
			t.why = "others have less"
			t.stop() // rest resigns when the batch in flight is done
		}
	}
	for _, name := range names {
		if mine >= most || time.Since(began) > w.Lease/3 {
			return nil // the leases that there are come first
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
