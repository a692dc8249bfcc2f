package worker

import (
	"cmp"
	"fmt"
	"math"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// Receive compares a delivery of a partitioned source with the mark of its part,
// before it is applied. It returns the lineage for the next mark, and the events
// that are of the same history as what the part was given before.
//
// Events of an older incarnation which that history does not share are left out:
// a relay of a store that was set back had published them, and they are in no
// log any more. If it is the part that was given such events, and the delivery
// belongs to what has come in their place, the error is a permanent
// *DivergedError.
func (m Mark) Receive(name string, d Delivery) (lineage string, events []event.Recorded, err error) {
	lineage, last, err := m.receive(name, d)
	if err != nil || last == math.MaxInt64 {
		return lineage, d.Events, err
	}
	for _, e := range d.Events {
		if e.Position <= last {
			events = append(events, e)
		}
	}
	return lineage, events, nil
}

// receive returns up to which position the events are of the same history.
func (m Mark) receive(name string, d Delivery) (lineage string, last event.Position, err error) {
	if m.Lineage == d.Lineage || m.Lineage == "" || d.Lineage == "" || sabotage.NoLineage {
		return cmp.Or(m.Lineage, d.Lineage), math.MaxInt64, nil
	}
	mine, err := eventstore.ParseLineage(m.Lineage)
	if err != nil {
		return "", 0, Permanent(fmt.Errorf("receive %s: part %s: the mark: %w", name, d.Part, err))
	}
	theirs, err := eventstore.ParseLineage(d.Lineage)
	if err != nil {
		return "", 0, Permanent(fmt.Errorf("receive %s: part %s: %w", name, d.Part, err))
	}
	if common, grown := theirs.CommonWith(mine.Now().Incarnation); grown {
		if m.Position > common {
			return "", 0, m.parted(name, d, common)
		}
		return d.Lineage, math.MaxInt64, nil
	}
	common, older := mine.CommonWith(theirs.Now().Incarnation)
	if !older {
		return "", 0, m.parted(name, d, shared(mine, theirs))
	}
	return m.Lineage, common, nil
}

func (m Mark) parted(name string, d Delivery, common event.Position) error {
	return Permanent(&DivergedError{Name: name, Part: d.Part, From: common + 1, To: max(m.Position, common+1)})
}

// shared returns up to where two histories, neither of which the other one has
// grown from, are the same.
func shared(a, b eventstore.Lineage) (most event.Position) {
	for _, g := range a {
		mine, _ := a.CommonWith(g.Incarnation)
		theirs, ok := b.CommonWith(g.Incarnation)
		if ok {
			most = max(most, min(mine, theirs))
		}
	}
	return most
}
