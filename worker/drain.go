package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
)

// drainBatch is the most parked events that are applied at once.
const drainBatch = 100

// begunText is the error of a parked key while it is tried: found later, it says that
// the process has ended meanwhile.
const begunText = "the attempt has begun, and nothing is known of its end"

const killedText = "the process has ended while this event was applied"

// nextDue returns when a parked key is due; false if none will be.
func (s *segment) nextDue() (first time.Time, ok bool) {
	for _, p := range s.held {
		if p.State == Retrying && (!ok || p.Next.Before(first)) {
			first, ok = p.Next, true
		}
	}
	for _, not := range []time.Time{s.fair, s.broke} {
		if first.Before(not) {
			first = not
		}
	}
	return first, ok
}

// drainDue tries the parked key that is due longest, and reports whether there was
// one. Parked keys together take at most about a tenth of the time that others could
// use.
func (s *segment) drainDue(ctx context.Context) (bool, error) {
	now := time.Now()
	if now.Before(s.fair) || now.Before(s.broke) {
		return false, nil
	}
	var due *Parked
	for _, p := range s.held {
		if p.State == Retrying && !p.Next.After(now) && (due == nil || sooner(p, due)) {
			due = p
		}
	}
	if due == nil {
		return false, nil
	}
	if due.Error != "" {
		if d := s.budgeted(); d > 0 {
			s.broke = now.Add(d + s.Retry.Wait(1))
			return false, nil
		}
	}
	err := s.drain(ctx, due)
	s.fair = time.Now().Add(9 * time.Since(now))
	return true, err
}

func sooner(a, b *Parked) bool {
	return cmp.Or(a.Next.Compare(b.Next), cmp.Compare(a.Key.Key, b.Key.Key)) < 0
}

// drain applies the first events of a parked key, and frees it if there are no more.
// No newer event of the key can overtake: they come through the same goroutine, under
// the same term, and go behind the key until the write that frees it.
func (s *segment) drain(ctx context.Context, p *Parked) error {
	reading, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	items, err := s.Store.Items(reading, s.Name, p.Key, 0, drainBatch+1)
	if err != nil {
		return err
	}
	if s.killed(p); p.State != Retrying {
		return s.put(ctx, p)
	}
	events, err := s.read(reading, items[:min(len(items), drainBatch)])
	if err != nil && s.classify(err) != ClassPermanent {
		return err // the event was not tried
	}
	before := *p
	s.trying[p.Key.Key] = before
	p.Attempts++
	p.Error, p.Next = begunText, time.Now().Add(s.Retry.Wait(p.Attempts))
	if err := s.put(ctx, p); err != nil {
		return err
	}
	crash.At("worker.drain.begun")
	n := len(events)
	for err == nil {
		b := s.drainOf(p, items, events[:n])
		if err = s.apply(ctx, b); err == nil {
			return s.drained(ctx, p, items[n:], b)
		}
		at := n
		var failed *EventError
		if errors.As(err, &failed) {
			at = failed.Index
		}
		if class := s.classify(err); class == ClassSystemic || n == 1 || at == 0 || isOver(err) {
			break
		}
		if n = min(at, n/2); errors.As(err, &failed) {
			n = at
		}
		n, err = max(1, n), nil
	}
	return s.drainFailed(ctx, p, before, err)
}

func isOver(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, eventstore.ErrOtherServer) || errors.Is(err, eventstore.ErrOutcomeUnknown)
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
	for i := len(p.History); i > 0 && strings.HasPrefix(p.History[i-1].Error, killedText); i-- {
		kills++
	}
	if kills >= s.Retry.Kills {
		p.State = Waiting
	}
}

// put writes what is known of a parked key.
func (s *segment) put(ctx context.Context, p *Parked) error {
	return s.save(ctx, Write{Marks: Checkpoint{s.part: s.mark}, Park: []Parked{*p}})
}

// drainOf is the batch that applies the first events of a parked key.
func (s *segment) drainOf(p *Parked, items []Item, events []event.Recorded) Batch {
	w := Write{Marks: Checkpoint{s.part: s.mark}, Done: items[:len(events)]}
	if len(items) == len(events) {
		w.Free = []Key{p.Key}
	} else {
		next := *p
		next.Attempts, next.Error, next.Stack, next.Next = 0, "", "", time.Now()
		w.Park = []Parked{next}
	}
	return Batch{Term: s.term, Part: s.part, Events: events, Drain: true, Write: w}
}

func (s *segment) drained(ctx context.Context, p *Parked, rest []Item, b Batch) error {
	s.worked(ctx, len(b.Events))
	s.tally.ok(p.Key.Key)
	if len(rest) > 0 {
		*p = b.Write.Park[0]
		return nil
	}
	delete(s.held, p.Key.Key)
	delete(s.tried, p.Key.Key)
	delete(s.trying, p.Key.Key)
	s.Hooks.freed(KeyFreed{s.Name, p.Key})
	s.Logger.InfoContext(ctx, "parked key has drained", "name", s.Name, "part", s.part, "key", p.Key.Key)
	s.lookAround()
	return nil
}

// drainFailed writes down the attempt. It does not count if nothing else took effect
// since the last one, because then it may be the fault of what all depend on.
func (s *segment) drainFailed(ctx context.Context, p *Parked, before Parked, err error) error {
	class := s.classify(err)
	if isOver(err) || s.fatal(err) && (errors.Is(err, ErrDiverged) || errors.Is(err, ErrAltered)) {
		return err
	}
	s.Hooks.failed(Failure{Name: s.Name, Key: p.Key, Class: class, Err: err, Attempt: p.Attempts})
	if class == ClassSystemic || ctx.Err() != nil {
		next := before
		next.Next = p.Next
		*p = next
		if err := s.put(ctx, p); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.to != nil && s.pauses+1 >= s.Retry.Attempts {
			return Permanent(fmt.Errorf("%s: %d attempts: %w", s.Name, s.pauses+1, err))
		}
		s.stand(ctx, "it is no event's fault", err)
		return nil
	}
	if class == ClassTransient && s.tried[p.Key.Key] == s.applied && s.to == nil {
		p.Attempts = before.Attempts
	}
	s.tried[p.Key.Key] = s.applied
	s.tally.failed(p.Key.Key)
	s.note(p, class, err, time.Now())
	if p.State == Waiting {
		s.Logger.ErrorContext(ctx, "parked for good, until somebody decides", "name", s.Name, "part", s.part, "key", p.Key.Key, "attempts", p.Attempts, "error", err)
		s.lookAround()
	}
	return s.put(ctx, p)
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
