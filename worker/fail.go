package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// ErrUnsure says that a worker does not know whether its term still runs, so it waits
// until it does.
var ErrUnsure = errors.New("term is not certain")

// failed decides what becomes of events that have failed: at is the index of the one
// whose fault it is, -1 if that is not known. After it the take goes on, with fewer
// events, or with a key parked, or after a pause. An error ends the take.
func (s *segment) failed(ctx context.Context, in *intake, lo, hi, at int, err error) error {
	class := s.classify(err)
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, eventstore.ErrOtherServer), errors.Is(err, errTermOver):
		return err
	case ctx.Err() != nil:
		return err
	case halts(err):
		return err
	case class == ClassSystemic:
		return s.outage(ctx, in, "it is no event's fault", err)
	case errors.Is(err, context.DeadlineExceeded) && hi-lo > 1:
		// Was it one event that took so long, or all of them?
		in.alone = lo
		if at > lo {
			in.alone = at
		}
		s.size = max(1, (hi-lo)/2)
		return nil
	case at < 0 && hi-lo > 1:
		s.size = max(1, (hi-lo)/2)
		return nil
	case at < 0:
		at = lo
	}
	e, err := in.page.Events[at], blamed(err)
	s.Hooks.failed(Failure{Name: s.Name, Key: s.key(e), Class: class, Err: err, Attempt: 1})
	for _, before := range in.page.Events[lo:at] {
		if s.Covers(before) && s.held[s.key(before).Key] == nil && in.parking[s.key(before).Key] == nil {
			s.tally.ok(s.key(before).Key)
		}
	}
	s.tally.failed(s.key(e).Key)
	switch {
	case s.Stop && at > lo:
		in.alone = at // those before it take effect first
		return nil
	case s.Stop:
		return s.stopAt(ctx, e, class, err)
	case s.tally.systemic():
		return s.outage(ctx, in, "most keys fail", err)
	case len(s.held)+len(in.parking) >= MaxParked:
		return s.outage(ctx, in, fmt.Sprintf("%d keys are parked, which is the most", MaxParked), err)
	}
	s.hold(in, e, class, err)
	if len(in.parking) > 2 {
		s.size = max(1, (hi-lo)/2) // so that what is applied again stays little
	}
	return nil
}

// stopAt waits, or returns the error after enough attempts.
func (s *segment) stopAt(ctx context.Context, e event.Recorded, class Class, err error) error {
	if class == ClassPermanent {
		return Permanent(err)
	}
	if s.pauses+1 >= s.Retry.Attempts {
		return Permanent(fmt.Errorf("%s: %d attempts: %w", s.Name, s.pauses+1, err))
	}
	s.stand(ctx, "an event fails: "+e.String(), err)
	return nil
}

// outage waits for what is not the fault of an event. Nothing is parked for it, and
// the next attempt is with few events.
func (s *segment) outage(ctx context.Context, in *intake, why string, err error) error {
	if errors.Is(err, ErrOpen) {
		why = "the breaker is open"
	}
	if s.to != nil && s.pauses+1 >= s.Retry.Attempts {
		return Permanent(fmt.Errorf("%s: %d attempts: %w", s.Name, s.pauses+1, blamed(err)))
	}
	clear(in.parking)
	s.tally.reset()
	s.stand(ctx, why, err)
	if errors.Is(err, eventstore.ErrOutcomeUnknown) {
		return err // the mark says what became of it
	}
	s.size = max(1, min(s.size, s.Batch/16))
	return nil
}

// hold has the key of an event parked with the next batch.
func (s *segment) hold(in *intake, e event.Recorded, class Class, err error) {
	now := time.Now()
	p := &Parked{Key: s.key(e), Since: now, Attempts: 1, First: int64(e.Position)}
	s.note(p, class, err, now)
	in.parking[p.Key.Key] = p
	s.tried[p.Key.Key] = s.applied
}

// note writes down an attempt that has failed, and whether there is another one.
func (s *segment) note(p *Parked, class Class, err error, now time.Time) {
	text, stack := explain(err)
	p.Error, p.Stack, p.Version = text, stack, s.Version
	p.History = append(p.History, Attempt{now, text, s.Version})
	p.History = p.History[max(0, len(p.History)-MaxHistory):]
	p.State = Retrying
	if class == ClassPermanent || p.Attempts >= s.Retry.Attempts {
		p.State = Waiting
	}
	p.Next = now.Add(s.Retry.Wait(p.Attempts))
	s.tell(func(r *Report) { r.Error, r.Time = text, now })
}

func (s *segment) classify(err error) Class { return s.Retry.class(err, s.stores) }

// explain returns what is to be kept of an error: its text, and the stack of a panic.
func explain(err error) (text, stack string) {
	var p *PanicError
	if errors.As(err, &p) {
		stack = string(p.Stack)
	}
	return cut(err.Error()), cut(stack)
}

// blamed is the error of the event itself: which one of its batch it was says nothing
// any more.
func blamed(err error) error {
	var failed *EventError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// cut shortens a text to MaxError bytes of valid text.
func cut(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	for len(s) > MaxError {
		_, size := utf8.DecodeLastRuneInString(s[:MaxError+1])
		s = s[:MaxError+1-size]
	}
	return s
}

// tidy makes a key one that every store can keep: as it is, or quoted.
func tidy(key string) string {
	if !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		return strconv.Quote(key)
	}
	return key
}
