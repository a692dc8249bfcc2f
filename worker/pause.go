package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// recover waits, if that mends the error, so that the next step begins anew.
func (s *segment) recover(ctx context.Context, err error) error {
	s.begun = false
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // it ends as it was told to
	case errors.Is(err, errTermOver):
		return err
	case errors.Is(err, errAgain):
		return nil
	case errors.Is(err, ErrFenced):
		return s.fenced(ctx)
	case errors.Is(err, eventstore.ErrOtherServer):
		s.Logger.InfoContext(ctx, "the log is held by another server", "name", s.Name, "part", s.part, "position", s.from)
		s.rest(ctx)
		return nil
	case s.fatal(err):
		return err
	case s.to != nil && s.lastTry():
		return s.afterAttempts(err)
	}
	s.stand(ctx, "cannot go on", err)
	return nil
}

// lastTry reports whether there is no attempt left for whoever does not wait without an
// end, and afterAttempts is its error.
func (s *segment) lastTry() bool { return s.pauses+1 >= s.Retry.Attempts }

func (s *segment) afterAttempts(err error) error {
	return fmt.Errorf("%s: %d attempts: %w", s.Name, s.pauses+1, err)
}

// rest waits a moment, to let another one get ahead.
func (s *segment) rest(ctx context.Context) { pause(ctx, s.Retry.Wait(1)) }

// fenced finds out whether the term is over, or only the mark was changed.
func (s *segment) fenced(ctx context.Context) error {
	roster, err := s.Store.Roster(ctx, s.Name)
	if err == nil {
		for _, seat := range roster.Seats {
			if seat.Segment == s.term.Segment && seat.Epoch != s.term.Epoch {
				s.Logger.InfoContext(ctx, "another worker has the term", "name", s.Name, "part", s.part, "epoch", s.term.Epoch, "holder", seat.Holder)
				return errTermOver
			}
		}
	}
	s.Logger.InfoContext(ctx, "the checkpoint was changed, reading it again", "name", s.Name, "part", s.part, "position", s.mark.Position)
	s.rest(ctx)
	return nil
}

// stand waits for something to pass that is no event's fault. It says so once, when
// it begins.
func (s *segment) stand(ctx context.Context, why string, err error) {
	if s.pauses++; s.pauses == 1 {
		s.paused, s.why = time.Now(), why
		s.Logger.WarnContext(ctx, "paused", "name", s.Name, "part", s.part, "why", why, "error", err)
		s.Hooks.paused(Pause{Name: s.Name, Part: s.part, Why: why, Err: err})
	}
	s.tell(func(r *Report) { *r = Report{Paused: why, Error: err.Error(), Time: time.Now()} })
	if s.pauses == 3 {
		s.lookAround() // it is reported soon after it began, and not at every try
	}
	defer idle(ctx)()
	for d := s.Retry.Wait(s.pauses); pause(ctx, d); {
		if d = s.budgeted(); d == 0 {
			return
		}
		d += s.Retry.Wait(1) // so that not all segments ask again at once
	}
}

// budgeted takes one retry out of the budget; it returns how long to wait if there is none.
func (w *run) budgeted() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget.spend(time.Now())
}

// worked notes that a batch took effect.
func (s *segment) worked(ctx context.Context, events int) {
	s.run.mu.Lock()
	s.budget.earn(events)
	s.run.mu.Unlock()
	s.applied += events
	s.proven = true
	if s.pauses > 0 {
		took := time.Since(s.paused)
		s.Logger.InfoContext(ctx, "goes on", "name", s.Name, "part", s.part, "paused_for", took)
		s.resumed(took)
	}
}

// resumed ends a pause.
func (s *segment) resumed(took time.Duration) {
	s.Hooks.resumed(Pause{Name: s.Name, Part: s.part, Why: s.why, For: took})
	s.pauses = 0
	s.tell(func(r *Report) { r.Paused = "" })
}

// ErrUnsure says that a worker does not know whether its term still runs, so it waits
// until it does.
var ErrUnsure = errors.New("term is not certain")

// stopAt waits, or returns the error after enough attempts.
func (s *segment) stopAt(ctx context.Context, e event.Recorded, class Class, err error) error {
	if class == ClassPermanent {
		return Permanent(err)
	}
	if s.lastTry() {
		return Permanent(s.afterAttempts(err))
	}
	s.stand(ctx, "an event fails: "+e.String(), err)
	return nil
}

// outage waits for what is not the fault of an event, and has the take begin again:
// nothing is parked for it.
func (s *segment) outage(ctx context.Context, most bool, err error) error {
	why := "it is no event's fault"
	switch {
	case most:
		why = "most keys fail"
	case errors.Is(err, ErrOpen):
		why = "the breaker is open"
	}
	if s.to != nil && s.lastTry() {
		return Halt(s.afterAttempts(blamed(err)))
	}
	s.tally.reset()
	s.failing = most
	s.tidyUp(ctx) // whoever is given the part while this one waits must not see a crash
	s.stand(ctx, why, err)
	s.size = max(1, min(s.size, s.most/16))
	return errAgain
}
