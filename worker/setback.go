package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
)

// ErrRunning is matched by *RunningError.
var ErrRunning = errors.New("reader is running")

// RunningError says that a reader was to be set back while a worker has a term of it.
// Nothing was changed.
type RunningError struct {
	Name string
	Seat Seat
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("%s runs: %s holds segment %q until %s: stop it, or force it if you know that it has ended", e.Name, e.Seat.Holder, e.Seat.Segment, e.Seat.Until.UTC().Format(time.RFC3339))
}

// Is reports whether target is ErrRunning.
func (e *RunningError) Is(target error) bool { return target == ErrRunning }

// Stopped returns a *RunningError if a term of a reader is running. Forced it returns
// nil: then only the revisions of marks keep a worker that runs from going on where it
// was.
func Stopped(ctx context.Context, store Terms, name string, force bool) error {
	if force {
		return nil
	}
	roster, err := store.Roster(ctx, name)
	if err != nil {
		return err
	}
	for _, seat := range roster.Seats {
		if seat.Live {
			return &RunningError{Name: name, Seat: seat}
		}
	}
	return nil
}

// Mended returns the checkpoint of a reader, after it has replaced marks that were
// changed by other means with those that anew returns, and has freed what was parked
// behind them. Anew is told what is stored, of which nothing can be trusted. If it is
// nil such a mark is an *AlteredError, as ever.
func Mended(ctx context.Context, store Keeper, name string, anew func(part string, stored Mark) Mark) (c Checkpoint, altered bool, err error) {
	for {
		c, err := store.Checkpoint(ctx, name)
		var a *AlteredError
		if anew == nil || !errors.As(err, &a) {
			return c, altered, err
		}
		m := anew(a.Part, a.Mark)
		m.Revision = a.Mark.Revision
		if err := SetBack(ctx, store, name, Checkpoint{a.Part: m}); err != nil {
			return nil, altered, err
		}
		altered = true
	}
}

// SetBack writes marks that lie before those that are stored, with their revisions. In
// the same write, what is parked of their parts and lies behind them goes: it will be
// read again, or its positions are other events' by now. A key of which nothing is left
// is not parked any more.
func SetBack(ctx context.Context, store Keeper, name string, marks Checkpoint) error {
	w := Write{Marks: marks}
	for _, part := range slices.Sorted(maps.Keys(marks)) {
		for p, err := range eachParked(ctx, store, ParkedQuery{Name: name, Part: &part}) {
			if err == nil {
				err = w.forget(ctx, store, name, p, marks[part].Position)
			}
			if err != nil {
				return err
			}
		}
	}
	return store.Save(ctx, name, Term{}, w)
}

const setBackPage = 500

// forget adds the items of a key behind a position to those that are done; behind 0
// that is all, as a Seq may be anything.
func (w *Write) forget(ctx context.Context, store Parking, name string, p Parked, to event.Position) error {
	after := p.First - 1
	if to > 0 {
		after = max(after, int64(to))
	}
	if after < p.First || p.Events == 0 {
		w.Free = append(w.Free, p.Key)
	}
	for {
		items, err := store.Items(ctx, name, p.Key, after, setBackPage)
		if err != nil {
			return err
		}
		for _, i := range items {
			w.Done = append(w.Done, Item{Key: p.Key, Seq: i.Seq})
			after = i.Seq
		}
		if len(items) < setBackPage {
			return nil
		}
	}
}
