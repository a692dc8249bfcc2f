package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// ErrNotDiverged says that a reader was to be set back whose history is that of its
// store. Nothing was changed.
var ErrNotDiverged = errors.New("nothing has diverged")

// ErrNotCommon says that a reader was to be set back to a place that it has no
// waypoint at, or that the log does not share. Nothing was changed.
var ErrNotCommon = errors.New("no place that the log shares")

// Rewind sets a stopped reader of the log back to a place where its history and
// that of the log are still the same: 0, or the position of a waypoint. Before
// that the caller has set the read model back to the same place, or emptied it.
// Run goes on from there. Unless forced it is refused while nothing has diverged.
// Errors: ErrNotDiverged, ErrNotCommon, ErrFenced if the reader runs.
func Rewind(ctx context.Context, store LogStore, name string, to event.Position, force bool) error {
	fail := func(err error) error { return fmt.Errorf("rewind %s to position %d: %w", name, to, err) }
	c, err := store.Checkpoint(ctx, name)
	if err != nil {
		return fail(err)
	}
	m := c[""]
	common := m.Position
	l, err := store.Lineage(ctx)
	if err == nil {
		_, err = Resume(ctx, store, name, m)
	}
	var diverged *DivergedError
	switch {
	case errors.As(err, &diverged):
		common = diverged.From - 1
	case err != nil:
		return fail(err)
	case !force:
		return fail(ErrNotDiverged)
	}
	back, ok := m.Back(to)
	if !ok || to > common {
		var places []string
		for _, w := range m.Trail.before(common + 1) {
			places = append(places, fmt.Sprint(w.Position))
		}
		return fail(fmt.Errorf("%w: want one of %s", ErrNotCommon, strings.Join(append([]string{"0"}, places...), ", ")))
	}
	if to > 0 {
		back.Lineage, back.Server = l.String(), l.Now().Server
	}
	if err := store.Save(ctx, name, Term{}, Write{Marks: Checkpoint{"": back}}); err != nil {
		return fail(err)
	}
	return nil
}

// LogStore is a log, and a place for checkpoints of its readers.
type LogStore interface {
	eventstore.Log
	Checkpoints
}

// Back returns the mark as it was at a position, with its present revision; false
// if it has no waypoint there. At 0 every mark was.
func (m Mark) Back(to event.Position) (Mark, bool) {
	if to == m.Position {
		return m, true
	}
	back := Mark{Position: to, Revision: m.Revision}
	if to == 0 {
		return back, true
	}
	places := m.Trail.before(to + 1)
	if len(places) == 0 || places[len(places)-1].Position != to || to > m.Position {
		return m, false
	}
	back.Digest, back.Trail, back.Lineage, back.Server = places[len(places)-1].Digest, trailOf(places), m.Lineage, m.Server
	return back, true
}

// Common returns the newest place of the mark at or before a position: what Back
// takes. It is 0 if there is none.
func (m Mark) Common(position event.Position) event.Position {
	if position >= m.Position {
		return m.Position
	}
	return trailOf(m.Trail.before(position + 1)).newest()
}

// RewindParts sets a stopped reader of a partitioned source, such as topics, back
// to the beginning of each of its parts, as a reader in the history that the
// lineage tells, which is that in the mark of the relay: bus.Relay.Lineage. What a
// lost history had published besides is left out then. Before that the caller
// has emptied the read model. Parts that are not in the checkpoint yet can be named,
// so that they begin in that history too; the first reader of a topic in which a
// lost history has left events needs that, with force. Unless forced it is refused
// while no part has diverged. Errors: ErrNotDiverged, ErrFenced if the reader runs.
func RewindParts(ctx context.Context, store Checkpoints, name, lineage string, force bool, parts ...string) error {
	fail := func(err error) error { return fmt.Errorf("rewind %s to the beginning: %w", name, err) }
	if _, err := eventstore.ParseLineage(lineage); err != nil {
		return fail(err)
	}
	c, err := store.Checkpoint(ctx, name)
	if err != nil {
		return fail(err)
	}
	for _, part := range parts {
		if _, ok := c[part]; !ok {
			c[part] = Mark{}
		}
	}
	for _, part := range slices.Sorted(maps.Keys(c)) {
		m := c[part]
		_, _, err := m.Receive(name, Delivery{Part: part, Lineage: lineage})
		switch {
		case errors.Is(err, ErrDiverged):
			force = true
		case err != nil:
			return fail(err)
		}
		c[part] = Mark{Lineage: lineage, Revision: m.Revision}
	}
	if !force {
		return fail(ErrNotDiverged)
	}
	if err := store.Save(ctx, name, Term{}, Write{Marks: c}); err != nil {
		return fail(err)
	}
	return nil
}
