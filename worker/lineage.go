package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// ErrDiverged is matched by *DivergedError.
var ErrDiverged = errors.New("store has another history")

// ErrBehind says that the log is read from a replica that does not have yet what
// the reader was given already. It passes by itself.
var ErrBehind = errors.New("replica is behind the checkpoint")

// DivergedError says that a reader was given events that its store does not have,
// or has others in their place: the store was set back, by a restore or by a
// failover that lost commits. The reader has stopped and changed nothing.
type DivergedError struct {
	Name, Part string
	// From and To are the positions between which the histories differ; up to From-1
	// they agree. To is the position of the mark.
	From, To event.Position
}

func (e *DivergedError) Error() string {
	part := ""
	if e.Part != "" {
		part = " part " + e.Part + ":"
	}
	return fmt.Sprintf("resume %s:%s the store was set back: at positions %d to %d it does not have what this reader was given: run annals doctor for the ways on", e.Name, part, e.From, e.To)
}

// Is reports whether target is ErrDiverged.
func (e *DivergedError) Is(target error) bool { return target == ErrDiverged }

// Resume compares the mark of a reader of the log with the log, and returns it as
// a place in the present generation: what a reader does before its first page,
// and again when the log is held by another server. The error is a permanent
// *DivergedError if the histories differ, ErrBehind, or one of the log.
//
// A mark that is kept beside the log has been set back together with it: of
// that only the last events are compared. A mark that is kept elsewhere, see Join,
// is compared from the last waypoint on that the lineage knows to be common, and
// from the beginning of the log if there is none. A mark that names no server was
// set by hand; it is believed.
func Resume(ctx context.Context, log eventstore.Log, name string, m Mark) (Mark, error) {
	l, err := log.Lineage(ctx)
	if err != nil {
		return m, fmt.Errorf("resume %s: %w", name, err)
	}
	switch {
	case m.Position > 0 && m.Server == "": // set by hand: from here on
		m.Digest, m.Trail = Digest{}, Trail("").then(Waypoint{Position: m.Position})
	case m.Position > 0 && m.Server != l.Now().Server && !sabotage.NoLineage:
		if err := compare(ctx, log, l, name, m); err != nil {
			return m, err
		}
	}
	m.Lineage, m.Server = l.String(), l.Now().Server
	return m, nil
}

// compare reads again what the mark stands for.
func compare(ctx context.Context, log eventstore.Log, l eventstore.Lineage, name string, m Mark) error {
	trail := m.Trail.Waypoints()
	common := l.Common(m.Server)
	if !isApart(log) {
		common = m.Position - 1
	}
	if m.Position <= common {
		return nil
	}
	trail = slices.DeleteFunc(trail, func(w Waypoint) bool { return w.Position >= m.Position })
	var at Waypoint
	for len(trail) > 0 && (trail[0].Position <= common || trail[0].Digest == Digest{}) {
		at, trail = trail[0], trail[1:]
	}
	trail = append(trail, Waypoint{m.Position, m.Digest})
	good := at.Position
	q := eventstore.LogQuery{After: at.Position, Server: l.Now().Server}
	for len(trail) > 0 {
		page, err := log.ReadLog(ctx, q)
		if err != nil {
			return fmt.Errorf("resume %s: compare with the log: %w", name, err)
		}
		for _, e := range page.Events {
			if e.Position > trail[0].Position {
				break // what should be there is not
			}
			at = Waypoint{e.Position, at.Digest.Next(e)}
			if at.Position < trail[0].Position {
				continue
			}
			if at != trail[0] {
				return diverged(name, m, good)
			}
			good, trail = at.Position, trail[1:]
			if len(trail) == 0 {
				return nil
			}
		}
		if page.Next >= trail[0].Position {
			return diverged(name, m, good)
		}
		if page.Next == q.After {
			if l.Now().Replica {
				return fmt.Errorf("resume %s: at position %d of %d: %w", name, page.Next, m.Position, ErrBehind)
			}
			return diverged(name, m, good)
		}
		q.After = page.Next
	}
	return nil
}

func diverged(name string, m Mark, good event.Position) error {
	return Permanent(&DivergedError{Name: name, From: good + 1, To: m.Position})
}

// Reached returns the mark after the given events and everything else up to a
// position. Those at or before the mark are passed over.
func (m Mark) Reached(to event.Position, events []event.Recorded) Mark {
	i := 0
	for i < len(events) && events[i].Position <= m.Position {
		i++
	}
	if i < len(events) {
		m.Digest = m.Digest.Next(events[i:]...)
		m.Trail = m.Trail.then(Waypoint{events[len(events)-1].Position, m.Digest})
	}
	m.Position = max(m.Position, to)
	return m
}
