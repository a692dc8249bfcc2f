package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/internal/sabotage"
)

// intake is a page of the log, or a delivery, on its way to take effect.
type intake struct {
	page    eventstore.Page
	own     bool    // the events are in the log, and can be read again
	offsets []int64 // of the events, if they count and not the positions: see Delivery
	// mark returns the mark after events lo to hi, from the one before them.
	mark func(m Mark, in *intake, lo, hi int) Mark

	alone   int                // the index of an event that is to be applied by itself; -1: none
	parking map[string]*Parked // keys to be parked with the next batch
	last    error              // of the event that failed last
	late    event.Position     // events up to it come late, see Delivery
}

// seq returns the place of an event in its part.
func (in *intake) seq(i int) int64 {
	if in.offsets != nil {
		return in.offsets[i]
	}
	return int64(in.page.Events[i].Position)
}

// parked takes the keys off the list that are parked with the events up to a place.
func (in *intake) parked(to int64) {
	for key, p := range in.parking {
		if p.First <= to {
			delete(in.parking, key)
		}
	}
}

// take makes the events take effect, a batch at a time, those of parked keys aside.
// When it returns nil, each has taken effect or is parked.
func (s *segment) take(ctx context.Context, in *intake) error {
	in.alone, in.parking = -1, map[string]*Parked{}
	events := in.page.Events
	if err := s.holdLate(in); err != nil {
		return err
	}
	for lo := 0; lo < len(events); {
		if ctx.Err() != nil {
			return ctx.Err() // the rest is for the next one
		}
		hi := min(lo+s.size, len(events))
		if in.alone > lo {
			hi = min(hi, in.alone)
		} else if in.alone == lo {
			hi = lo + 1
		}
		hi, at, err := s.attempt(ctx, in, lo, hi)
		if at == unclaimed {
			return err
		}
		if errors.Is(err, errMostFail) {
			return s.outage(ctx, true, in.last)
		}
		if err == nil {
			if hi-lo == s.size {
				s.size = min(2*s.size, s.most)
			}
			lo = hi
			in.parked(in.seq(hi - 1))
			continue
		}
		if err := s.failed(ctx, in, lo, hi, at, err); err != nil {
			return err
		}
	}
	clear(s.told)
	return nil
}

// unclaimed is the index that attempt returns for events that were not tried.
const unclaimed = -2

// attempt claims and tries the events lo to hi, or fewer, and returns how many.
func (s *segment) attempt(ctx context.Context, in *intake, lo, hi int) (upTo, at int, err error) {
	alone := s.suspect.Events > 0 && s.suspect.Events < 32 && in.seq(lo) <= int64(s.suspect.To)
	leave, ok := s.trials.enter(ctx, alone, s.Timeout+grace)
	if !ok {
		return hi, unclaimed, ctx.Err()
	}
	defer leave()
	if hi, err = s.claim(ctx, in, lo, hi); err != nil {
		return hi, unclaimed, err
	}
	at, err = s.try(ctx, in, lo, hi)
	return hi, at, err
}

// claim says, before they are applied, which events a worker begins with: the first
// of a term, and those that one has begun with before and not ended. Of the latter it
// takes ever fewer, until it is one. If that has ended the process too often, it is
// parked without another attempt. It returns how many may be applied.
//
// This is a search in steps of 16, by crashes: 500 events take two to find the one,
// and Retry.Kills more to be sure that it is the one.
func (s *segment) claim(ctx context.Context, in *intake, lo, hi int) (int, error) {
	c := Claim{Times: 1}
	if s.suspect.Events > 0 && in.seq(lo) > int64(s.suspect.To) {
		s.suspect, s.proven = Claim{}, true
	}
	if s.suspect.Events > 0 {
		hi = min(hi, lo+max(1, s.suspect.Events/16))
		for hi > lo+1 && in.seq(hi-1) > int64(s.suspect.To) {
			hi--
		}
		if s.suspect.Events == 1 {
			c.Times = s.suspect.Times + 1
		}
		if c.Times > s.Retry.Kills {
			killer := Permanent(fmt.Errorf(endedText+"%d times while this event was applied", s.suspect.Times))
			if s.Stop {
				return hi, killer
			}
			s.hold(in, lo, ClassPermanent, killer)
			s.suspect = Claim{}
			return lo + 1, nil
		}
	} else if s.proven {
		return hi, nil
	}
	c.To, c.Events = event.Position(in.seq(hi-1)), hi-lo
	next := s.mark
	next.Claim = c
	if err := s.save(ctx, Write{Marks: Checkpoint{s.part: next}}); err != nil {
		return hi, err
	}
	s.claimed = c
	crash.At("worker.claimed")
	return hi, nil
}

// save writes, and has the mark that was written.
func (s *segment) save(ctx context.Context, w Write) error {
	ctx, cancel := Detach(ctx, s.Timeout)
	defer cancel()
	if err := s.Store.Save(ctx, s.Name, s.term, w); err != nil {
		return err
	}
	s.moved(w)
	return nil
}

func (s *segment) moved(w Write) {
	s.mark = w.Marks[s.part]
	s.mark.Revision++
	s.known = s.mark.Revision
	s.mark.Epoch = max(s.mark.Epoch, s.term.Epoch)
}

// try applies the events lo to hi. After an error it returns the index of the event
// that has failed, or -1 if that is not known.
func (s *segment) try(ctx context.Context, in *intake, lo, hi int) (at int, err error) {
	next := in.mark(s.mark, in, lo, hi)
	next.Claim = Claim{}
	if s.suspect.Events > 1 && in.seq(hi-1) < int64(s.suspect.To) {
		next.Claim = s.mark.Claim // what is left of it is still suspect
		next.Claim.To, next.Claim.Events = s.suspect.To, s.suspect.Events-(hi-lo)
	}
	b := Batch{Term: s.term, Part: s.part, Page: in.page, Write: Write{Marks: Checkpoint{s.part: next}}}
	b.Page.Events = in.page.Events[lo:hi]
	if hi < len(in.page.Events) {
		b.Page.Next = in.page.Events[hi-1].Position
	}
	room := (hi-lo)/max(1, s.Segments) + 1
	b.Events = make([]event.Recorded, 0, room)
	index, first := make([]int, 0, room), []int(nil)
	for i := lo; i < hi; i++ {
		e := in.page.Events[i]
		if !s.Covers(e) {
			continue
		}
		if s.Segments > 1 || len(s.held)+len(in.parking) > 0 {
			key := s.key(e)
			if SegmentOf(key.Key, s.Segments) != s.number {
				continue
			}
			if s.isHeld(in, key, in.seq(i)) {
				if p := in.parking[key.Key]; p != nil && p.First == in.seq(i) {
					b.Write.Park, first = append(b.Write.Park, *p), append(first, i)
				}
				b.Write.Items = append(b.Write.Items, in.item(key, i))
				continue
			}
		}
		b.Events, index = append(b.Events, e), append(index, i)
	}
	if len(b.Write.Park) > 0 && s.mostFail(in.last, b.Events) {
		return -1, errMostFail
	}
	for i, p := range b.Write.Park {
		if at, told := s.told[p.Key.Key]; told && at == p.First {
			continue
		}
		if err := s.waiting(ctx, p, in.page.Events[first[i]]); err != nil {
			return -1, err
		}
		s.told[p.Key.Key] = p.First
	}
	if err := s.apply(ctx, b); err != nil {
		if len(index) == 0 && !halts(err) {
			return -1, Systemic(err) // there was none whose fault it could be
		}
		var failed *EventError
		if errors.As(err, &failed) && failed.Index >= 0 && failed.Index < len(index) {
			return index[failed.Index], err
		}
		if len(index) == 1 {
			return index[0], err
		}
		return -1, err
	}
	for i := range b.Write.Park {
		p := b.Write.Park[i]
		s.know(s.held, p)
		s.Hooks.parked(KeyParked{Name: s.Name, Key: p.Key, Events: b.Write.behind(p.Key), Err: errors.New(p.Error)})
		s.Logger.WarnContext(ctx, "parked", "name", s.Name, "part", s.part, "key", p.Key.Key, "position", p.First, "state", p.State, "error", p.Error)
	}
	if s.tally.bad > 0 {
		for _, e := range b.Events {
			s.tally.ok(s.key(e).Key)
		}
	}
	s.claimed = Claim{}
	s.worked(ctx, len(b.Events))
	return 0, nil
}

// waiting tells of an event that is about to wait for somebody.
func (s *segment) waiting(ctx context.Context, p Parked, e event.Recorded) error {
	if s.Waiting == nil || p.State != Waiting {
		return nil
	}
	ctx, cancel := Detach(ctx, s.Timeout)
	defer cancel()
	if err := Guard(func() error { return s.Waiting(ctx, p, e) }); err != nil {
		return Systemic(fmt.Errorf("before key %q is parked: %w", p.Key.Key, err))
	}
	return nil
}

// isHeld reports whether an event goes behind a parked key, or has its key parked. One that
// lies before the first that is parked has taken effect, and comes again, as when a topic
// is filled again. Of one that comes late that is not known: see holdLate.
func (s *segment) isHeld(in *intake, key Key, seq int64) bool {
	p, h := in.parking[key.Key], s.held[key.Key]
	if sabotage.ParkAlone {
		return p != nil && p.First == seq
	}
	return p != nil && p.First <= seq || h != nil && (h.first <= seq || in.late > 0)
}

func (s *segment) key(e event.Recorded) Key { return Key{s.part, tidy(s.Key(e))} }

// apply has a batch take effect, under its own deadline and while the term is
// trusted.
func (s *segment) apply(ctx context.Context, b Batch) (err error) {
	if s.trusted != nil && time.Now().UnixNano() > s.trusted.Load() {
		s.lookAround()
		return Systemic(fmt.Errorf("%s: the lease of segment %q may have run out: %w", s.Name, s.part, ErrUnsure))
	}
	done := func(error) {}
	if s.Breaker != nil && len(b.Events) > 0 {
		if done, err = s.Breaker.Allow(); err != nil {
			return Systemic(err)
		}
	}
	ctx, cancel := Detach(ctx, s.Timeout)
	defer cancel()
	until := time.Now().Add(s.Timeout + grace)
	s.busyUntil.Store(until.UnixNano())
	healthy := s.Health.expect(s.part, "a batch", until)
	defer func() {
		s.busyUntil.Store(0)
		healthy()
	}()
	b.Repeated = map[int]bool{}
	began := time.Now()
	ctx, ended := s.Hooks.batch(ctx, Work{Name: s.Name, Part: s.part, Term: b.Term, Events: len(b.Events), Drain: b.Drain})
	err = Guard(func() error { return s.Apply(ctx, b) })
	ended(err)
	done(err)
	if err != nil {
		return err
	}
	s.moved(b.Write)
	s.Hooks.applied(Applied{Name: s.Name, Part: s.part, Events: b.effective(), Repeated: len(b.Repeated), Mark: s.mark, Took: time.Since(began)})
	return nil
}
