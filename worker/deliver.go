package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/annals-go/annals/event"
)

// Deliver implements Sink. When ctx ends, or Consume does, it ends after the batch in
// flight, also while it waits for something to pass.
func (s *sink) Deliver(ctx context.Context, d Delivery) error {
	m := s.member(d.Part)
	if m == nil {
		return Permanent(fmt.Errorf("deliver to %s: part %s was not begun", s.Name, d.Part))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ongoing, cancel)() //nolint:contextcheck // that of Consume: see there
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.exit()
	for {
		err := s.deliver(ctx, m.seg, d)
		if err == nil {
			s.goesOn()
			return nil
		}
		if ctx.Err() == nil && !s.fatal(err) {
			again := m.seg.recover(ctx, err)
			if again == nil && ctx.Err() == nil {
				continue
			}
			err = cmp.Or(again, err)
		}
		if ctx.Err() != nil {
			m.seg.tidyUp(ctx) // whoever has the part next must not see a crash
		}
		return err
	}
}

func (s *sink) deliver(ctx context.Context, seg *segment, d Delivery) error {
	if !seg.begun {
		if err := seg.reread(ctx); err != nil {
			return err
		}
	}
	if err := s.meet(ctx, d); err != nil {
		return err
	}
	if d.Offsets != nil && d.Source != seg.mark.Source {
		if len(seg.held) > 0 {
			return s.settleFirst(ctx, seg)
		}
		seg.suspect = Claim{} // it names offsets of the source before
	}
	in, err := s.intake(seg, d)
	if err != nil {
		return err
	}
	if err := seg.take(ctx, in); err != nil {
		return err
	}
	if len(in.page.Events) == 0 { // repeats only
		if err := ctx.Err(); err != nil {
			return err // the part is another's by now, and nothing was begun that has to end
		}
		if err := seg.save(ctx, Write{Marks: Checkpoint{d.Part: in.mark(seg.mark, in, 0, 0)}}); err != nil {
			return err
		}
	}
	return nil
}

// ErrUnsettled says that a source was made again while messages of the one before are
// parked. They come first.
var ErrUnsettled = errors.New("the source was made again, and messages of the one before are parked: retry or discard them, see annals parked")

// settleFirst tries what is parked, and waits for it: with another source the offsets
// begin anew, and so does what orders the parked ones.
func (s *sink) settleFirst(ctx context.Context, seg *segment) error {
	paid := seg.pauses > 0 // the pause before this try has paid for it: see stand
	for again := true; again; paid = false {
		var err error
		if again, err = seg.drainNext(ctx, paid); err != nil {
			return err
		}
	}
	if len(seg.held) > 0 {
		return Systemic(ErrUnsettled)
	}
	return errAgain
}

// intake returns what there is to take of a delivery.
func (s *sink) intake(seg *segment, d Delivery) (*intake, error) {
	lineage, last, err := seg.mark.receive(s.Name, d)
	if err != nil {
		return nil, err
	}
	after, err := seg.mark.after(s.Name, d)
	if err != nil {
		return nil, err
	}
	after.Lineage = lineage
	in, lost := &intake{}, 0
	at := seg.mark.Position
	for i, e := range d.Events {
		switch {
		case e.Position > last:
			lost++
			continue
		case d.Offsets != nil:
			if d.Source == seg.mark.Source && d.Offsets[i] < seg.mark.Offset {
				continue
			}
			in.offsets = append(in.offsets, d.Offsets[i])
		case d.Late:
			in.late = seg.mark.Position
		case e.Position <= at:
			continue
		}
		if in.page.Events == nil {
			in.page.Events = make([]event.Recorded, 0, len(d.Events)-i)
		}
		in.page.Events, at = append(in.page.Events, e), e.Position
	}
	if lost > 0 {
		s.Logger.Warn("left out events of a history that the store has lost", "name", s.Name, "part", d.Part, "events", lost)
	}
	in.mark = func(m Mark, in *intake, lo, hi int) Mark {
		for _, e := range in.page.Events[lo:hi] {
			m.Position = max(m.Position, e.Position)
		}
		m.Lineage = lineage
		switch {
		case hi == len(in.page.Events):
			after.Position, after.Revision, after.Epoch = m.Position, m.Revision, m.Epoch
			return after
		case in.offsets != nil:
			m.Source, m.Offset, m.Of = d.Source, in.offsets[hi-1]+1, d.Of
		}
		return m
	}
	return in, nil
}

// after returns the mark after a delivery, the position aside. The events of a part
// come in the order of their positions, repeats aside, so a position at or before the
// mark is a repeat and needs no window of remembered ids.
func (m Mark) after(name string, d Delivery) (Mark, error) {
	if m.Of != 0 && m.Of != d.Of {
		return m, Permanent(&PartsError{Name: name, Part: d.Part, Was: m.Of, Is: d.Of})
	}
	offset := int64(0)
	if m.Source == d.Source {
		offset = m.Offset
	}
	if d.First > offset {
		return m, Permanent(&GapError{Name: name, Part: d.Part, Want: offset, Got: d.First})
	}
	m.Source, m.Offset, m.Of = d.Source, max(offset, d.Next), d.Of
	return m, nil
}

// meet holds a lineage that is new to this run against the marks of all parts of
// the source: one that was given events which the store has lost, and that
// nothing comes to any more, would not notice.
func (s *sink) meet(ctx context.Context, d Delivery) error {
	s.mu.Lock()
	known := s.met[d.Lineage]
	s.mu.Unlock()
	if known {
		return nil
	}
	c, err := s.Store.Checkpoint(ctx, s.Name)
	if err != nil {
		return err
	}
	for _, part := range slices.Sorted(maps.Keys(c)) {
		if c[part].Source != d.Source {
			continue
		}
		if _, _, err := c[part].Receive(s.Name, Delivery{Part: part, Lineage: d.Lineage}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met[d.Lineage] = true
	return nil
}
