package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Snapshotter keeps snapshots of states: Repository.WithSnapshots says which
// repositories use it, Run writes. It is safe for concurrent use, and several
// repositories may share one.
type Snapshotter[S any] struct {
	snapshotConfig
	store eventstore.Snapshots
	codec StateCodec[S]
	queue queue
}

// NewSnapshotter returns a Snapshotter that keeps snapshots in a store, which
// may be that of the events:
//
//	snapshots := aggregate.NewSnapshotter(db, aggregate.JSONState[Order]())
//	orders := aggregate.New[Order](db, "order", Codec).WithSnapshots(snapshots)
//	go snapshots.Run(ctx)
//
// It panics if an option or the codec's content type is outside its bounds:
// they are source code.
func NewSnapshotter[S any](store eventstore.Snapshots, c StateCodec[S], opts ...SnapshotOption) *Snapshotter[S] {
	s := &Snapshotter[S]{snapshotConfig: defaultSnapshots, store: store, codec: c}
	s.log = slog.Default()
	for _, o := range opts {
		if err := o(&s.snapshotConfig); err != nil {
			panic("aggregate: " + err.Error())
		}
	}
	if err := (eventstore.Snapshot{Format: 1, Stream: event.Stream{Category: "x", ID: "x"}, Version: 1, ContentType: c.ContentType()}).Validate(); err != nil {
		panic("aggregate: NewSnapshotter: " + err.Error())
	}
	s.queue.init(s.states, s.bytes)
	return s
}

// Run writes the snapshots that loads have asked for, one after another, until
// ctx ends; then it writes what is left, for as long as WithSaveDeadline says,
// and returns nil. A snapshot that cannot be written is told to the hooks and
// to the logger, and never ends it. While no Run is running, nothing is kept.
// Several may run at once.
func (s *Snapshotter[S]) Run(ctx context.Context) error {
	s.queue.open()
	for ctx.Err() == nil {
		j, ok := s.queue.take()
		if !ok {
			select {
			case <-s.queue.more:
			case <-ctx.Done():
			}
			continue
		}
		s.write(context.WithoutCancel(ctx), j)
	}
	last := s.queue.close()
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.deadline)
	defer cancel()
	for last {
		j, ok := s.queue.take()
		if !ok {
			break
		}
		if rest.Err() != nil {
			s.queue.arrived(j)
			s.dropped(j.key.stream)
			continue
		}
		s.write(rest, j)
	}
	return nil
}

func (s *Snapshotter[S]) write(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	defer s.queue.arrived(j)
	if j.ignored.Version > 0 {
		if _, err := s.store.DropSnapshot(ctx, j.ignored); err != nil {
			s.failed(j.key.stream, err)
			return
		}
	}
	if j.snapshot.Version == 0 {
		return
	}
	j.snapshot.Checksum = j.snapshot.Sum()
	saved, err := s.store.SaveSnapshot(ctx, j.snapshot)
	if err != nil {
		s.failed(j.key.stream, err)
		return
	}
	if saved && s.hooks.Saved != nil {
		s.hooks.Saved(j.key.stream, j.snapshot.Version, len(j.snapshot.State))
	}
}

func (s *Snapshotter[S]) failed(stream event.Stream, err error) {
	s.log.Warn("snapshot_not_saved", "stream", stream.String(), "err", err)
	if s.hooks.Failed != nil {
		s.hooks.Failed(stream, err)
	}
}

func (s *Snapshotter[S]) dropped(stream event.Stream) {
	if s.hooks.Dropped != nil {
		s.hooks.Dropped(stream)
	}
}

func (s *Snapshotter[S]) ignored(stream event.Stream, why Ignored, err error) {
	if why == Damaged {
		s.log.Warn("snapshot_ignored", "stream", stream.String(), "reason", string(why), "err", err)
	}
	if s.hooks.Ignored != nil {
		s.hooks.Ignored(stream, why, err)
	}
}

// loaded is what a load tells of itself.
type loaded[S any] struct {
	Loaded[S]
	stream event.Stream
	id     event.ID            // of the last event
	folded event.Version       // number of events
	took   time.Duration       // 0: not measured
	bad    eventstore.Snapshot // to be dropped; version 0: none
}

// offer queues a snapshot of what was loaded, if one is due. It encodes the
// state at once, because from then on it belongs to the caller, who may change
// what it points to; everything else happens in Run.
func (s *Snapshotter[S]) offer(at loaded[S], f eventstore.Fingerprint) {
	key := snapshotKey{at.stream, f}
	lately := s.queue.lately(key, at.Version)
	due := s.due(min(at.folded, at.Version-lately), at.took)
	if at.bad.Version > 0 && lately == 0 { // put another in its place
		due = at.folded >= min(s.every, fewest)
	}
	if !due && at.bad.Version == 0 {
		return
	}
	if !s.queue.room(key) {
		s.dropped(at.stream)
		return
	}
	j := job{key: key, ignored: at.bad}
	if due {
		var err error
		if j.snapshot, err = s.snapshot(at, f); err != nil {
			s.queue.tried(key, at.Version)
			s.failed(at.stream, err)
		}
	}
	if j.ignored.Version == 0 && j.snapshot.Version == 0 {
		return
	}
	if !s.queue.put(j) {
		s.dropped(at.stream)
	}
}

// due is the policy, by the events since the last snapshot.
func (s *Snapshotter[S]) due(since event.Version, took time.Duration) bool {
	return since >= s.every || s.slow > 0 && took >= s.slow && since >= fewest
}

func (s *Snapshotter[S]) snapshot(at loaded[S], f eventstore.Fingerprint) (eventstore.Snapshot, error) {
	data, err := encode(s.codec, at.State)
	if err != nil {
		return eventstore.Snapshot{}, fmt.Errorf("save snapshot of %s: %w", at.stream, err)
	}
	snap := eventstore.Snapshot{
		Format: eventstore.SnapshotFormat, Stream: at.stream, Version: at.Version, Position: at.Position, EventID: at.id,
		Fingerprint: f, ContentType: s.codec.ContentType(), State: data,
	}
	if err := snap.Validate(); err != nil {
		return eventstore.Snapshot{}, err
	}
	return snap, nil
}

// read returns the snapshot of a stream if the program understands it, and why
// not otherwise. An error is that of ctx.
func (s *Snapshotter[S]) read(ctx context.Context, from eventstore.SnapshotReader, stream event.Stream, f eventstore.Fingerprint) (snap eventstore.Snapshot, state S, ok bool, err error) {
	snap, others, err := from.LoadSnapshot(ctx, stream, f)
	switch {
	case err != nil && ctx.Err() != nil:
		return snap, state, false, err
	case err != nil:
		s.ignored(stream, Unavailable, err)
		return eventstore.Snapshot{}, state, false, nil
	case snap.Version == 0:
		if others {
			s.ignored(stream, Stale, nil)
		}
		return snap, state, false, nil
	case snap.Format > eventstore.SnapshotFormat:
		s.ignored(stream, Newer, nil)
		return snap, state, false, nil
	case snap.Stream != stream || snap.Fingerprint != f || snap.ContentType != s.codec.ContentType() || snap.Sum() != snap.Checksum:
		s.ignored(stream, Damaged, errChecksum)
		return snap, state, false, nil
	}
	if state, err = decode(s.codec, snap.State); err != nil {
		s.ignored(stream, Damaged, err)
		var zero S
		return snap, zero, false, nil
	}
	return snap, state, true, nil
}

var errChecksum = errors.New("checksum does not match")
