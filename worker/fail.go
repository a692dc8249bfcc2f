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

// failed decides what becomes of events that have failed: at is the index of the one
// whose fault it is, -1 if that is not known. After it the take goes on, with fewer
// events, or with a key parked, or after a pause. An error ends the take.
func (s *segment) failed(ctx context.Context, in *intake, lo, hi, at int, err error) error {
	class := s.classify(err)
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, eventstore.ErrOtherServer), ctx.Err() != nil, halts(err):
		return err
	case class == ClassSystemic:
		return s.outage(ctx, false, err)
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
		if key := s.key(before).Key; s.Covers(before) && s.held[key] == nil && in.parking[key] == nil {
			s.tally.ok(key)
		}
	}
	s.tally.failed(s.key(e).Key)
	in.last = err
	switch {
	case s.Stop && at > lo:
		in.alone = at // those before it take effect first
		return nil
	case s.Stop:
		return s.stopAt(ctx, e, class, err)
	case s.failing && s.pauses > 0 && !s.looksAround() && !s.givenUp(err):
		return s.outage(ctx, true, err)
	case len(s.held)+len(in.parking) >= MaxParked:
		return s.outage(ctx, false, fmt.Errorf("%d keys are parked, which is the most: %w", MaxParked, err))
	}
	s.hold(in, at, class, err)
	in.alone, s.size = -1, s.most // how the others do is seen before anything is parked
	return nil
}

// errMostFail says that what a batch would park is too much to be the fault of events.
var errMostFail = errors.New("most keys fail")

// errAgain has the reader begin again where it stands.
var errAgain = errors.New("again")

// mostFail reports whether most keys fail, even if all the given events succeed. So
// the events of a page are looked at before the first one is parked.
func (s *segment) mostFail(err error, others []event.Recorded) bool {
	keys := map[Key]bool{}
	for _, e := range others {
		keys[s.key(e)] = true
	}
	return s.tally.systemic(s.Retry.Systemic, len(keys)) && !s.givenUp(err)
}

// givenUp reports whether events are parked though most fail: waiting has not mended
// what is permanent.
func (s *segment) givenUp(err error) bool {
	return s.classify(err) == ClassPermanent && s.pauses >= s.Retry.Attempts
}

// looksAround reports whether this try, in a pause because most keys fail, is one of
// the rare ones that see how all of them do; the others end with the first failure.
func (s *segment) looksAround() bool { return s.pauses&(s.pauses-1) == 0 || s.pauses%32 == 0 }

// ErrLate says that an event came behind newer ones, as its relay had parked it. It is
// parked, because it is not known whether it took effect before: retry it, or discard it
// if it did.
var ErrLate = errors.New("event was parked by its relay and comes late: retry it, or discard it if it took effect before")

// holdLate has the keys parked of events that come late.
func (s *segment) holdLate(in *intake) error {
	if in.late == 0 {
		return nil
	}
	for i, e := range in.page.Events {
		if e.Position > in.late || !s.Covers(e) {
			continue
		}
		if s.Stop {
			return Halt(fmt.Errorf("position %d: %w", e.Position, ErrLate))
		}
		if key := s.key(e).Key; s.held[key] == nil && in.parking[key] == nil {
			s.hold(in, i, ClassPermanent, ErrLate)
		}
	}
	return nil
}

// hold has the key of an event parked with the next batch.
func (s *segment) hold(in *intake, at int, class Class, err error) {
	now := time.Now()
	p := &Parked{Key: s.key(in.page.Events[at]), Since: now, Attempts: 1, First: in.seq(at)}
	s.note(p, class, err, now)
	in.parking[p.Key.Key] = p
}

// note writes down an attempt that has failed, and whether there is another one.
func (s *segment) note(p *Parked, class Class, err error, now time.Time) {
	text, stack := explain(err)
	p.Error, p.Stack, p.Version = text, stack, s.Version
	p.History = append(p.History, Attempt{now, cut(text, MaxHistoryError), s.Version})
	p.History = p.History[max(0, len(p.History)-MaxHistory):]
	p.State = Retrying
	if class == ClassPermanent || p.Attempts >= s.Retry.Attempts {
		p.State = Waiting
	}
	p.Next = now.Add(s.Retry.Wait(max(p.Attempts, len(p.History))))
	s.tell(func(r *Report) { r.Error, r.Time = text, now })
}

func (s *segment) classify(err error) Class { return s.Retry.class(err, s.stores) }

// explain returns what is to be kept of an error: its text, and the stack of a panic.
func explain(err error) (text, stack string) {
	var p *PanicError
	if errors.As(err, &p) {
		stack = string(p.Stack)
	}
	return Cut(err.Error()), Cut(stack)
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

// tidy makes a key one that every store can keep: as it is, or quoted.
func tidy(key string) string {
	if !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		return strconv.Quote(key)
	}
	return key
}
