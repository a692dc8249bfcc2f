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
// that of the log are still the same: 0, or the position of a waypoint, of each of its
// segments if it has several. Before that the caller has set the read model back to the
// same place, or emptied it. Run goes on from there, and reads again what is behind it;
// what was parked of that is not parked any more.
//
// Unless forced it is refused while a worker runs, or nothing has diverged. Forced to
// 0 it also replaces marks that were changed by other means. Errors: ErrRunning,
// ErrNotDiverged, ErrNotCommon, ErrAltered, ErrFenced if the reader runs all the same.
func Rewind(ctx context.Context, store LogStore, name string, to event.Position, force bool) error {
	if err := rewind(ctx, store, name, to, force); err != nil {
		return fmt.Errorf("rewind %s to position %d: %w", name, to, err)
	}
	return nil
}

func rewind(ctx context.Context, store LogStore, name string, to event.Position, force bool) error {
	if err := Stopped(ctx, store, name, force); err != nil {
		return err
	}
	l, err := store.Lineage(ctx)
	if err != nil {
		return err
	}
	var anew func(string, Mark) Mark
	if force && to == 0 {
		anew = func(string, Mark) Mark { return Mark{} }
	}
	c, _, err := Mended(ctx, store, name, anew) // forced, if at all
	if err != nil {
		return err
	}
	next := Checkpoint{}
	for _, part := range logParts(c) {
		m := c[part]
		common := m.Position
		_, err := Resume(ctx, store, name, m)
		var diverged *DivergedError
		switch {
		case errors.As(err, &diverged):
			force, common = true, diverged.From-1
		case err != nil:
			return err
		}
		back, ok := m.Back(to)
		if !ok || to > common {
			var places []string
			for _, w := range m.Trail.before(common + 1) {
				places = append(places, fmt.Sprint(w.Position))
			}
			return fmt.Errorf("%w: want one of %s", ErrNotCommon, strings.Join(append([]string{"0"}, places...), ", "))
		}
		if to > 0 {
			back.Lineage, back.Server = l.String(), l.Now().Server
		}
		next[part] = back
	}
	if !force {
		return ErrNotDiverged
	}
	return SetBack(ctx, store, name, next)
}

// LogStore is a log, and what workers remember of its readers.
type LogStore interface {
	eventstore.Log
	Keeper
}

// logParts returns those parts of a checkpoint that are of the log itself: "", or
// segments. A checkpoint without any is that of a reader which has not begun.
func logParts(c Checkpoint) []string {
	var own []string
	for _, part := range slices.Sorted(maps.Keys(c)) {
		if OfLog(part) {
			own = append(own, part)
		}
	}
	if own == nil {
		own = []string{""}
	}
	return own
}

// OfLog reports whether a part is one of a reader of the log: "", or the name of a
// segment. Others are of a partitioned source.
func OfLog(part string) bool {
	var i, n int
	_, err := fmt.Sscanf(part, "%dof%d", &i, &n)
	return part == "" || err == nil && 0 <= i && i < n && part == segmentName(i, n)
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
// has emptied the read model. Nothing is parked any more then: all is read again.
// Parts that are not in the checkpoint yet can be named,
// so that they begin in that history too; the first reader of a topic in which a
// lost history has left events needs that, with force.
//
// Unless forced it is refused while a worker runs, or no part has diverged. Forced it
// also replaces marks that were changed by other means. Errors: ErrRunning,
// ErrNotDiverged, ErrAltered, ErrFenced if the reader runs all the same.
func RewindParts(ctx context.Context, store Keeper, name, lineage string, force bool, parts ...string) error {
	if err := rewindParts(ctx, store, name, lineage, force, parts); err != nil {
		return fmt.Errorf("rewind %s to the beginning: %w", name, err)
	}
	return nil
}

func rewindParts(ctx context.Context, store Keeper, name, lineage string, force bool, parts []string) error {
	if _, err := eventstore.ParseLineage(lineage); err != nil {
		return err
	}
	if err := Stopped(ctx, store, name, force); err != nil {
		return err
	}
	var anew func(string, Mark) Mark
	if force {
		anew = func(string, Mark) Mark { return Mark{Lineage: lineage} }
	}
	c, _, err := Mended(ctx, store, name, anew)
	if err != nil {
		return err
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
			return err
		}
		c[part] = Mark{Lineage: lineage, Revision: m.Revision}
	}
	if !force {
		return ErrNotDiverged
	}
	return SetBack(ctx, store, name, c)
}
