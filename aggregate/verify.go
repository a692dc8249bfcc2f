package aggregate

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// ErrSnapshotDiffers is matched by *SnapshotError.
var ErrSnapshotDiffers = errors.New("snapshot is not the fold of its events")

// SnapshotError says that a snapshot holds another state than its events make.
// Either Evolve has changed its meaning and WithEdition was not told, or it is not
// pure. Delete the snapshot, and give the repository a new edition.
type SnapshotError struct {
	Stream  event.Stream
	Version event.Version // of the snapshot
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("verify snapshot of %s at version %d: it is not the fold of its events: Evolve has changed without a new WithEdition, or is not pure", e.Stream, e.Version)
}

// Is reports whether target is ErrSnapshotDiffers.
func (e *SnapshotError) Is(target error) bool { return target == ErrSnapshotDiffers }

// VerifySnapshot folds the events of an aggregate up to its snapshot and compares
// the states, as bytes of the codec. It reports whether there was a snapshot that
// this program would use; others are none of its. Give it to annals verify, which
// calls it for every snapshot: cli.WithSnapshots. It panics without WithSnapshots.
//
// Errors: *SnapshotError, and those of Load.
func (r *Repository[S, E]) VerifySnapshot(ctx context.Context, id string) (bool, error) {
	stream := r.stream(id)
	snap, state, ok, err := r.snapshots.read(ctx, r.from, stream, r.fingerprint)
	if err != nil || !ok {
		return false, err
	}
	var at Loaded[S]
	for stored, err := range r.store.ReadStream(ctx, stream, eventstore.StreamQuery{Limit: int(snap.Version)}) {
		if err == nil {
			err = r.take(&at, stored)
		}
		if err != nil {
			return false, err
		}
	}
	folded, err := encode(r.snapshots.codec, at.State)
	if err != nil {
		return false, fmt.Errorf("verify snapshot of %s: %w", stream, err)
	}
	kept, err := encode(r.snapshots.codec, state)
	if err != nil {
		return false, fmt.Errorf("verify snapshot of %s: %w", stream, err)
	}
	if at.Version != snap.Version || !bytes.Equal(folded, kept) {
		return false, &SnapshotError{stream, snap.Version}
	}
	return true, nil
}
