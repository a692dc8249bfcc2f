package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
)

// held is what a worker knows by heart of a parked key.
type held struct {
	state State
	next  time.Time
	tried int // what segment.applied was when it was tried last
	first int64
}

// know has a parked key in mind, with what was known of it before.
func (s *segment) know(all map[string]*held, p Parked) {
	h := &held{p.State, p.Next, s.applied, p.First}
	if before := s.held[p.Key.Key]; before != nil {
		h.tried = before.tried
	}
	all[p.Key.Key] = h
}

// drainBatch is the most parked events that are applied at once.
const drainBatch = 100

// begunText is the error of a parked key while it is tried: found later, it says that
// the process has ended meanwhile.
const begunText = "the attempt has begun, and nothing is known of its end"

// nextText is that of a parked key between two drains.
const nextText = "the events before these have taken effect, and these are next"

// endedText begins the errors of events during which the process has ended.
const endedText = "the process has ended "

const killedText = endedText + "while this event was applied"

// nextDue returns when a parked key is due; false if none will be.
func (s *segment) nextDue() (first time.Time, ok bool) {
	for _, h := range s.held {
		if h.state == Retrying && (!ok || h.next.Before(first)) {
			first, ok = h.next, true
		}
	}
	for _, not := range []time.Time{s.fair, s.spent} {
		if ok && first.Before(not) {
			first = not
		}
	}
	return first, ok
}

// drainDue tries the parked key that is due longest, and reports whether there was
// one. Parked keys together take at most about a tenth of the time that others could
// use, and half of it while the reader keeps up with the log: or a key to which much
// is added would stay parked.
func (s *segment) drainDue(ctx context.Context) (bool, error) {
	if now := time.Now(); now.Before(s.fair) || now.Before(s.spent) {
		return false, nil
	}
	return s.drainNext(ctx, false)
}

// drainNext is drainDue for when nothing else is to be done. Paid says that this retry is
// out of the budget already.
func (s *segment) drainNext(ctx context.Context, paid bool) (bool, error) {
	now, due := time.Now(), ""
	var first *held
	for key, h := range s.held {
		if h.state == Retrying && !h.next.After(now) && (first == nil || h.next.Before(first.next) || h.next.Equal(first.next) && key < due) {
			due, first = key, h
		}
	}
	if first == nil {
		return false, nil
	}
	if !paid {
		if wait := s.budgeted(); wait > 0 {
			s.spent = now.Add(wait + s.Retry.Wait(1))
			return false, nil
		}
	}
	err := s.drain(ctx, Key{s.part, due}, first)
	others := time.Duration(9)
	if !s.behind {
		others = 1
	}
	s.fair = time.Now().Add(others * time.Since(now))
	return true, err
}

// drain applies the first events of a parked key, and frees it if there are no more.
// No newer event of the key can overtake: they come through the same goroutine, under
// the same term, and go behind the key until the write that frees it.
func (s *segment) drain(ctx context.Context, key Key, h *held) error {
	reading, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	page, err := s.Store.Parked(reading, ParkedQuery{Name: s.Name, Part: &s.part, Key: key.Key, Limit: 1})
	if err != nil {
		return err
	}
	if len(page) == 0 {
		return ErrFenced // somebody has changed what is known here
	}
	items, err := s.Store.Items(reading, s.Name, key, -1, drainBatch+1)
	if err != nil {
		return err
	}
	p := page[0]
	if before, ours := s.trying[key.Key]; ours {
		p = p.asBefore(before) // its end is not known, and yet this process has not ended
	}
	leave, ok := s.trials.enter(ctx, p.Error == begunText, s.Timeout+grace)
	if !ok {
		return ctx.Err()
	}
	defer leave()
	events, err := s.read(reading, items[:min(len(items), drainBatch)])
	if err != nil && s.classify(err) != ClassPermanent {
		return err // none was tried
	}
	if s.killed(&p); p.State != Retrying {
		return s.putWaiting(ctx, h, p, events)
	}
	before := p
	s.trying[key.Key] = before
	p.Attempts++
	p.Error, p.Next = begunText, time.Now().Add(s.Retry.Wait(p.Attempts))
	if err := s.put(ctx, h, p); err != nil {
		return err
	}
	crash.At("worker.drain.begun")
	n := 0
	if err == nil {
		n, err = s.drainSome(ctx, p, items, events, before.failed())
	}
	if err != nil {
		return s.drainFailed(ctx, h, before, p, events, err)
	}
	delete(s.trying, key.Key)
	if n == len(items) {
		delete(s.held, key.Key)
		s.Hooks.freed(KeyFreed{s.Name, key})
		s.Logger.InfoContext(ctx, "parked key has drained", "name", s.Name, "part", s.part, "key", key.Key)
		s.lookAround()
		return nil
	}
	h.next, h.tried, h.first = time.Now(), s.applied, items[n].Seq
	return nil
}

// failed reports whether an attempt at the present first event has come to its end, and
// failed. Of one that ended the process nothing is known.
func (p Parked) failed() bool {
	return p.Error != "" && p.Error != nextText && p.Error != begunText && !strings.HasPrefix(p.Error, endedText)
}

// drainSome applies as many of the first items as go, and returns how many went.
func (s *segment) drainSome(ctx context.Context, p Parked, items []Item, events []event.Recorded, retried bool) (int, error) {
	for n := len(events); ; {
		b := s.drainOf(p, items, events[:n])
		b.Retried = retried
		err := s.apply(ctx, b)
		if err == nil {
			s.tally.ok(p.Key.Key)
			s.worked(ctx, n)
			return n, nil
		}
		fewer := n / 2
		var failed *EventError
		if errors.As(err, &failed) {
			fewer = failed.Index
		}
		if s.classify(err) == ClassSystemic || isOver(err) || n == 1 || fewer < 1 || fewer >= n {
			return 0, err
		}
		n = fewer
	}
}

func isOver(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, eventstore.ErrOtherServer) || errors.Is(err, eventstore.ErrOutcomeUnknown)
}

// asBefore is a parked key without the attempt that has begun since; what people have
// written stays.
func (p Parked) asBefore(before Parked) Parked {
	if p.Error != begunText {
		return p
	}
	before.Owner, before.Note = p.Owner, p.Note
	return before
}

// killed notes an attempt that was begun by a process which has ended.
func (s *segment) killed(p *Parked) {
	if p.Error != begunText {
		return
	}
	if t, ok := s.trying[p.Key.Key]; ok { // by this one, which does not know its end
		p.Attempts, p.Error, p.Stack = t.Attempts, t.Error, t.Stack
		return
	}
	s.note(p, ClassTransient, errors.New(killedText), time.Now())
	kills := 0
	for i := len(p.History); i > max(0, len(p.History)-p.Attempts) && strings.HasPrefix(p.History[i-1].Error, killedText); i-- {
		kills++
	}
	p.State = Retrying // however many attempts there were: this one may have gone well
	if kills >= s.Retry.Kills {
		p.State = Waiting
	}
}

// put writes what is known of a parked key.
func (s *segment) put(ctx context.Context, h *held, p Parked) error {
	if err := s.save(ctx, Write{Marks: Checkpoint{s.part: s.mark}, Park: []Parked{p}}); err != nil {
		return err
	}
	h.state, h.next = p.State, p.Next
	return nil
}

// putWaiting tells of the first of the events before it, if it is to wait: those that
// cannot be read are not there.
func (s *segment) putWaiting(ctx context.Context, h *held, p Parked, events []event.Recorded) error {
	if len(events) > 0 {
		if err := s.waiting(ctx, p, events[0]); err != nil {
			return err
		}
	}
	return s.put(ctx, h, p)
}

// drainOf is the batch that applies the first events of a parked key.
func (s *segment) drainOf(p Parked, items []Item, events []event.Recorded) Batch {
	w := Write{Marks: Checkpoint{s.part: s.mark}, Done: items[:len(events)]}
	if len(items) == len(events) {
		w.Free = []Key{p.Key}
	} else {
		p.Attempts, p.Error, p.Stack, p.Next = 0, nextText, "", time.Now()
		w.Park = []Parked{p}
	}
	return Batch{Term: s.term, Part: s.part, Events: events, Drain: true, Write: w}
}

// drainFailed writes down the attempt. It does not count if nothing else took effect
// since the last one, or if most keys fail, because then it may be the fault of what all
// depend on.
func (s *segment) drainFailed(ctx context.Context, h *held, before, p Parked, events []event.Recorded, err error) error {
	if isOver(err) || halts(err) {
		return err
	}
	class := s.classify(err)
	err = blamed(err)
	s.Hooks.failed(Failure{Name: s.Name, Key: p.Key, Class: class, Err: err, Attempt: p.Attempts})
	if class == ClassSystemic || ctx.Err() != nil {
		before.Next = p.Next
		if err := s.put(ctx, h, before); err != nil {
			return err
		}
		delete(s.trying, p.Key.Key)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.outage(ctx, false, err)
	}
	s.tally.failed(p.Key.Key)
	if class == ClassTransient && s.to == nil && (h.tried == s.applied || s.tally.systemic(s.Retry.Systemic, 0)) {
		p.Attempts = before.Attempts
	}
	h.tried = s.applied
	s.note(&p, class, err, time.Now())
	if err := s.putWaiting(ctx, h, p, events); err != nil {
		return err
	}
	delete(s.trying, p.Key.Key)
	if p.State == Waiting {
		s.Logger.ErrorContext(ctx, "parked for good, until somebody decides", "name", s.Name, "part", s.part, "key", p.Key.Key, "attempts", p.Attempts, "error", err)
		s.lookAround()
	}
	return nil
}

// ErrGone says that a parked event is not in the log any more.
var ErrGone = errors.New("event is gone from the log")

// read returns the events of items: what was kept, or what the log has.
func (s *segment) read(ctx context.Context, items []Item) ([]event.Recorded, error) {
	out := make([]event.Recorded, 0, len(items))
	for _, i := range items {
		if i.Data != nil {
			e, err := decodeEvent(i.Data)
			if err != nil {
				return nil, Permanent(err)
			}
			out = append(out, e)
			continue
		}
		if s.Log == nil {
			return nil, Permanent(fmt.Errorf("read position %d: this reader has no log", i.Seq))
		}
		page, err := s.Log.ReadLog(ctx, eventstore.LogQuery{After: event.Position(i.Seq - 1), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Events) == 0 || int64(page.Events[0].Position) != i.Seq {
			return nil, Permanent(fmt.Errorf("read position %d: %w", i.Seq, ErrGone))
		}
		out = append(out, page.Events[0])
	}
	return out, nil
}
