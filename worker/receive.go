package worker

import (
	"fmt"

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
	if m.Lineage == d.Lineage || m.Lineage == "" || d.Lineage == "" || sabotage.NoLineage {
		return max(m.Lineage, d.Lineage), d.Events, nil // one of them may be empty
	}
	mine, err := eventstore.ParseLineage(m.Lineage)
	if err != nil {
		return "", nil, Permanent(fmt.Errorf("receive %s: part %s: the mark: %w", name, d.Part, err))
	}
	theirs, err := eventstore.ParseLineage(d.Lineage)
	if err != nil {
		return "", nil, Permanent(fmt.Errorf("receive %s: part %s: %w", name, d.Part, err))
	}
	common, grown := theirs.CommonWith(mine.Now().Incarnation)
	if grown && m.Position <= common {
		return d.Lineage, d.Events, nil
	}
	common, older := mine.CommonWith(theirs.Now().Incarnation)
	if !grown && older {
		for _, e := range d.Events {
			if e.Position <= common {
				events = append(events, e)
			}
		}
		return m.Lineage, events, nil
	}
	if grown {
		common, _ = theirs.CommonWith(mine.Now().Incarnation)
	}
	return "", nil, Permanent(&DivergedError{Name: name, Part: d.Part, From: common + 1, To: m.Position})
}
