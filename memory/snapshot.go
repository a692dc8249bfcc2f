package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var (
	_ eventstore.Snapshots      = (*DB)(nil)
	_ eventstore.SnapshotReader = txStore{}
)

type snapshotKey struct {
	stream      event.Stream
	fingerprint eventstore.Fingerprint
}

type savedSnapshot struct {
	eventstore.Snapshot
	at time.Time
}

// LoadSnapshot implements eventstore.Snapshots.
func (d *DB) LoadSnapshot(ctx context.Context, s event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	if err := s.Validate(); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot of %s: %w", s, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, ok := d.snapshots[snapshotKey{s, f}]; ok {
		have.State = slices.Clone(have.State)
		return have.Snapshot, false, nil
	}
	for k := range d.snapshots {
		if k.stream == s {
			return eventstore.Snapshot{}, true, nil
		}
	}
	return eventstore.Snapshot{}, false, nil
}

func (s txStore) LoadSnapshot(ctx context.Context, st event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	return s.tx.db.LoadSnapshot(ctx, st, f)
}

// SaveSnapshot implements eventstore.Snapshots.
func (d *DB) SaveSnapshot(ctx context.Context, s eventstore.Snapshot) (bool, error) {
	if err := s.Validate(); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("save snapshot of %s: %w", s.Stream, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k := snapshotKey{s.Stream, s.Fingerprint}
	if have, ok := d.snapshots[k]; ok && have.Version >= s.Version {
		return false, nil
	}
	s.State = slices.Clone(s.State)
	d.snapshots[k] = savedSnapshot{s, d.now()}
	return true, nil
}

// DropSnapshot implements eventstore.Snapshots.
func (d *DB) DropSnapshot(ctx context.Context, s eventstore.Snapshot) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("drop snapshot of %s: %w", s.Stream, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k := snapshotKey{s.Stream, s.Fingerprint}
	have, ok := d.snapshots[k]
	if !ok || have.Version != s.Version || have.Checksum != s.Checksum {
		return false, nil
	}
	delete(d.snapshots, k)
	return true, nil
}

// DeleteSnapshots implements eventstore.Snapshots, in one batch.
func (d *DB) DeleteSnapshots(ctx context.Context, q eventstore.SnapshotQuery) (int, error) {
	if err := q.Validate(); err != nil {
		return 0, fmt.Errorf("delete snapshots: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("delete snapshots: %w", err)
	}
	if q.Stream != (event.Stream{}) {
		q.Category = q.Stream.Category
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for k, have := range d.snapshots {
		if (q.Category == "" || q.Category == k.stream.Category) &&
			(q.Stream.ID == "" || q.Stream.ID == k.stream.ID) &&
			!slices.Contains(q.Except, k.fingerprint) &&
			(q.Before.IsZero() || have.at.Before(q.Before)) {
			delete(d.snapshots, k)
			n++
		}
	}
	return n, nil
}
