package worker

import (
	"context"
	"errors"
	"fmt"

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
	// they agree. To is the last position that this reader was given, or, of a relay,
	// has published.
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

// stretch is how many positions before a mark Resume reads again, at least, when
// the server has only been started again.
const stretch = 10_000

// Resume compares the mark of a reader of the log with the log, and returns it as
// a place in the present generation: what a reader does before its first page,
// and again when the log is held by another server. The error is a permanent
// *DivergedError if the histories differ, ErrBehind, or one of the log.
//
// It is compared from the last waypoint on that the lineage knows to be common, and
// from the beginning of the log if there is none. A mark that is kept beside the
// log has been set back together with it, so that all of it is common; then the
// last events are read all the same. When the same holder was started again that
// is at most about the last 10,000 positions, which show whether it was an older
// copy that was started.
//
// A mark that names no server, or lies before its own trail, was set by hand; it is
// believed.
func Resume(ctx context.Context, log eventstore.Log, name string, m Mark) (Mark, error) {
	l, err := log.Lineage(ctx)
	if err != nil {
		return m, fmt.Errorf("resume %s: %w", name, err)
	}
	switch {
	case m.Position == 0:
		m.Digest, m.Trail = Digest{}, ""
	case m.Server == "" || m.Trail.newest() > m.Position: // from here on
		m.Digest, m.Trail = Digest{}, Trail("").then(Waypoint{Position: m.Position})
	case m.Server != l.Now().Server && !sabotage.NoLineage:
		if err := compare(ctx, log, l, name, m); err != nil {
			return m, err
		}
	}
	m.Lineage, m.Server = l.String(), l.Now().Server
	return m, nil
}

// compare reads again what the mark stands for, as far as it is in doubt.
func compare(ctx context.Context, log eventstore.Log, l eventstore.Lineage, name string, m Mark) error {
	known := l.Common(m.Server)
	look := min(known, m.Position-1) // from where on a difference would be seen, if not where it begins
	if eventstore.Holder(m.Server) == eventstore.Holder(l.Now().Server) {
		look = max(look, m.Position-stretch)
	}
	good, same, err := m.walk(ctx, log, l.Now(), look)
	if err == nil && !same && look != known {
		if known >= m.Position { // the lineage and the log are not of one piece
			known = 0
		}
		good, same, err = m.walk(ctx, log, l.Now(), known)
	}
	switch {
	case err != nil:
		return fmt.Errorf("resume %s: %w", name, err)
	case !same:
		return Permanent(&DivergedError{Name: name, From: good + 1, To: m.Position})
	}
	return nil
}

// walk reads the log from the newest waypoint at or before a position to the mark.
// It returns the last place where it has found what the mark's reader was given,
// and whether that is the mark.
func (m Mark) walk(ctx context.Context, log eventstore.Log, now eventstore.Generation, from event.Position) (good event.Position, same bool, err error) {
	var at Waypoint
	want := append(m.Trail.before(m.Position), Waypoint{m.Position, m.Digest})
	for len(want) > 1 && (want[0].Position <= from || want[0].Digest == Digest{}) {
		at, want = want[0], want[1:]
	}
	good = at.Position
	// passed takes the places up to a position off, everything up to which was read.
	passed := func(to event.Position) bool {
		for len(want) > 0 && want[0].Position <= to {
			if want[0].Digest != at.Digest {
				return false
			}
			good, want = want[0].Position, want[1:]
		}
		return true
	}
	q := eventstore.LogQuery{After: at.Position, Server: now.Server}
	for len(want) > 0 {
		page, err := log.ReadLog(ctx, q)
		if err != nil {
			return good, false, fmt.Errorf("compare with the log: %w", err)
		}
		for _, e := range page.Events {
			if !passed(e.Position-1) || len(want) == 0 {
				return good, len(want) == 0, nil
			}
			at.Digest = at.Digest.Next(e)
		}
		switch {
		case !passed(page.Next):
			return good, false, nil
		case len(want) > 0 && page.Next == q.After && now.Replica:
			return good, false, fmt.Errorf("compare with the log at position %d of %d: %w", page.Next, m.Position, ErrBehind)
		case len(want) > 0 && page.Next == q.After: // it ends before the mark
			return good, false, nil
		}
		q.After = page.Next
	}
	return good, true, nil
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
