package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Deliver implements Sink.
func (s *sink) Deliver(ctx context.Context, d Delivery) error {
	m := s.member(d.Part)
	if m == nil {
		return Permanent(fmt.Errorf("deliver to %s: part %s was not begun", s.Name, d.Part))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		err := s.deliver(ctx, m.seg, d)
		if err == nil {
			s.goesOn()
		}
		if err == nil || s.ongoing.Err() != nil || s.fatal(err) {
			return err
		}
		if err := m.seg.recover(s.ongoing, err); err != nil { //nolint:contextcheck // that of Consume: see there
			return err
		}
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
	lineage, events, err := seg.mark.Receive(s.Name, d)
	if err != nil {
		return err
	}
	if lost := len(d.Events) - len(events); lost > 0 {
		s.Logger.WarnContext(ctx, "left out events of a history that the store has lost", "name", s.Name, "part", d.Part, "events", lost)
	}
	after, err := seg.mark.after(s.Name, d)
	if err != nil {
		return err
	}
	after.Lineage = lineage
	in := &intake{page: eventstore.Page{Events: behind(seg.mark.Position, events)}}
	if d.Late {
		in.page.Events, in.late = events, seg.mark.Position
	}
	in.mark = func(m Mark, in *intake, lo, hi int) Mark {
		for _, e := range in.page.Events[lo:hi] {
			m.Position = max(m.Position, e.Position)
		}
		m.Lineage = lineage
		if hi == len(in.page.Events) {
			after.Position, after.Revision, after.Epoch = m.Position, m.Revision, m.Epoch
			return after
		}
		return m
	}
	if err := seg.take(ctx, in); err != nil {
		return err
	}
	if len(in.page.Events) == 0 { // repeats only
		if err := seg.save(ctx, Write{Marks: Checkpoint{d.Part: in.mark(seg.mark, in, 0, 0)}}); err != nil {
			return err
		}
	}
	return nil
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

// behind returns the events that lie behind the position, each once.
func behind(at event.Position, events []event.Recorded) []event.Recorded {
	fresh := make([]event.Recorded, 0, len(events))
	for _, e := range events {
		if e.Position > at {
			fresh = append(fresh, e)
			at = e.Position
		}
	}
	return fresh
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
