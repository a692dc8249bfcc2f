package aggregate

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// WithSnapshots returns a copy whose loads begin at the newest snapshot that s
// has of the stream, if there is one and it is sound, and ask s for new ones.
// The result of a load is the same with and without: a snapshot is used only if
// it has this repository's Fingerprint and ends with an event that the stream
// has at that very place, and whatever is wrong with it, or with its store,
// makes the load fold all events instead.
//
// A load costs a round trip more than without. In a transaction of the caller
// (see With) snapshots are read through its store, if that can, and none are
// made: what the transaction has appended may never come to be.
func (r *Repository[S, E]) WithSnapshots(s *Snapshotter[S]) *Repository[S, E] {
	with := *r
	with.snapshots = s
	with.fingerprint = fingerprintOf(r.codec, s.codec, s.edition)
	with.lookAt(r.store)
	return &with
}

// Fingerprint returns the fingerprint of the snapshots that the repository reads
// and makes, zero without WithSnapshots. It changes with the structure of S
// and of the events, with the upcasters' shapes and with WithEdition; it does
// not change with the code of Evolve.
func (r *Repository[S, E]) Fingerprint() eventstore.Fingerprint { return r.fingerprint }

// lookAt decides where snapshots are read. Within a transaction that is its own
// connection, or nowhere: a second one might not be had while it holds the
// first.
func (r *Repository[S, E]) lookAt(store eventstore.Store) {
	if r.snapshots == nil {
		return
	}
	reader, reads := store.(eventstore.SnapshotReader)
	_, whole := store.(eventstore.Snapshots)
	r.inTx = r.inTx || reads && !whole
	r.from = r.snapshots.store
	if r.inTx {
		r.from = reader // nil if it cannot
	}
}

// loadSnapshot is Load from a snapshot.
func (r *Repository[S, E]) loadSnapshot(ctx context.Context, stream event.Stream) (Loaded[S], error) {
	s := r.snapshots
	at := loaded[S]{stream: stream}
	begin := s.now()
	used, err := r.fromSnapshot(ctx, &at)
	if err != nil {
		return Loaded[S]{}, err
	}
	if !used {
		if at.Loaded, at.id, err = r.fold(ctx, stream, Loaded[S]{}); err != nil {
			return Loaded[S]{}, err
		}
		at.folded = at.Version
	}
	at.took = s.now().Sub(begin)
	if !r.inTx {
		s.offer(at, r.fingerprint)
	}
	return at.Loaded, nil
}

// fromSnapshot folds the events behind a snapshot, if there is one that is
// sound. If there is one that is not, at.bad is that.
func (r *Repository[S, E]) fromSnapshot(ctx context.Context, at *loaded[S]) (bool, error) {
	s := r.snapshots
	if r.from == nil {
		return false, nil
	}
	snap, state, ok, err := s.read(ctx, r.from, at.stream, r.fingerprint)
	if !ok || err != nil {
		at.bad = snap
		return false, err
	}
	at.Loaded, at.id, err = r.foldBehind(ctx, snap, state)
	if errors.Is(err, errForeign) {
		s.ignored(at.stream, Foreign, nil)
		at.bad = snap
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at.folded = at.Version - snap.Version
	if s.hooks.Loaded != nil {
		s.hooks.Loaded(at.stream, snap.Version, int(at.folded))
	}
	return true, nil
}

// errForeign says that the stream does not have the event that a snapshot ends
// with.
var errForeign = errors.New("snapshot of another history")

// foldBehind reads from the snapshot's own event on: if that is not the first
// one found, the snapshot says nothing about this stream.
func (r *Repository[S, E]) foldBehind(ctx context.Context, snap eventstore.Snapshot, state S) (Loaded[S], event.ID, error) {
	at, id := Loaded[S]{State: state}, snap.EventID
	for stored, err := range r.store.ReadStream(ctx, snap.Stream, eventstore.StreamQuery{From: snap.Version}) {
		if err != nil {
			return Loaded[S]{}, id, err
		}
		if at.Version == 0 {
			if stored.Version != snap.Version || stored.Position != snap.Position || stored.Metadata.ID != snap.EventID {
				return Loaded[S]{}, id, errForeign
			}
			at.Version, at.Position = stored.Version, stored.Position
			continue
		}
		if err := r.take(&at, stored); err != nil {
			return Loaded[S]{}, id, err
		}
		id = stored.Metadata.ID
	}
	if at.Version == 0 {
		return Loaded[S]{}, id, errForeign
	}
	return at, id, nil
}

// fold folds all events behind at.
func (r *Repository[S, E]) fold(ctx context.Context, stream event.Stream, at Loaded[S]) (Loaded[S], event.ID, error) {
	var id event.ID
	for stored, err := range r.store.ReadStream(ctx, stream, eventstore.StreamQuery{}) {
		if err != nil {
			return Loaded[S]{}, id, err
		}
		if err := r.take(&at, stored); err != nil {
			return Loaded[S]{}, id, err
		}
		id = stored.Metadata.ID
	}
	return at, id, nil
}

// take folds one event into the state.
func (r *Repository[S, E]) take(at *Loaded[S], stored event.Recorded) error {
	if stored.Version != at.Version+1 {
		return &IncompleteError{Stream: stored.Stream, Want: at.Version + 1, Got: stored.Version}
	}
	events, err := r.codec.Decode(stored)
	if err != nil {
		return fmt.Errorf("load %s: %w", stored.Stream, err)
	}
	for _, e := range events {
		at.State = at.State.Evolve(e.Data)
	}
	at.Version, at.Position = stored.Version, stored.Position
	return nil
}

// ErrIncomplete is matched by *IncompleteError.
var ErrIncomplete = errors.New("stream is incomplete")

// IncompleteError says that a stream lacks events that its state depends on:
// they were removed from the store, and no sound snapshot stands for them.
type IncompleteError struct {
	Stream event.Stream
	Want   event.Version // the one that is missing
	Got    event.Version // the one found in its place
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("load %s: stream is incomplete: version %d is missing, the next one is %d", e.Stream, e.Want, e.Got)
}

// Is reports whether target is ErrIncomplete.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }
