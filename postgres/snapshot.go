package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var (
	_ eventstore.Snapshots      = (*DB)(nil)
	_ eventstore.SnapshotReader = txStore{}
)

// Index of all: snapshots_pkey.
const (
	// Lock: none.
	loadSnapshotSQL = `
SELECT format, version, at_position, event_id, content_type, state, checksum, others
FROM {{schema}}.load_snapshot_v1($1, $2, $3)`

	// Lock: the row, until the end of the statement. Promise: of two writers the
	// one with the higher version stays, in whatever order they come.
	saveSnapshotSQL = `
INSERT INTO {{schema}}.snapshots AS s (category, stream_id, fingerprint, format, version, position, event_id, content_type, state, checksum)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT ON CONSTRAINT snapshots_pkey DO UPDATE
SET format = excluded.format,
    version = excluded.version,
    position = excluded.position,
    event_id = excluded.event_id,
    content_type = excluded.content_type,
    state = excluded.state,
    checksum = excluded.checksum,
    saved_at = clock_timestamp()
WHERE s.version < excluded.version`

	// Lock: the row, until the end of the statement.
	dropSnapshotSQL = `
SELECT {{schema}}.drop_snapshot_v1($1, $2, $3, $4, $5)`

	// Lock: the rows deleted, until the end of the statement.
	deleteSnapshotsSQL = `
SELECT last_category IS NOT NULL, coalesce(last_category, ''), coalesce(last_stream_id, ''), coalesce(last_fingerprint, ''), gone
FROM {{schema}}.delete_snapshots_v1($1, $2, $3, $4, $5, $6, $7, $8)`
)

// deletePage is how many snapshots one statement of DeleteSnapshots looks at.
const deletePage = 1000

// LoadSnapshot implements eventstore.Snapshots.
func (d *DB) LoadSnapshot(ctx context.Context, s event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	if err := s.Validate(); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot: %w", err)
	}
	return scanSnapshot(d.pool.QueryRow(ctx, d.sql(loadSnapshotSQL), s.Category, s.ID, f[:]), s, f)
}

// LoadSnapshot reads in a savepoint, so that a missing table does not abort the
// caller's transaction, and on its connection, because a second one might not
// be had while it holds the first. The savepoint is a round trip of its own: in
// a batch the statement may be prepared, and refused, before it is set.
func (s txStore) LoadSnapshot(ctx context.Context, st event.Stream, f eventstore.Fingerprint) (snap eventstore.Snapshot, others bool, err error) {
	if err := st.Validate(); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot: %w", err)
	}
	if _, err := s.tx.Exec(ctx, "SAVEPOINT "+savepoint); err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot of %s: %w", st, err)
	}
	var batch pgx.Batch
	batch.Queue(s.db.sql(loadSnapshotSQL), st.Category, st.ID, f[:])
	batch.Queue("RELEASE SAVEPOINT " + savepoint)
	results := s.tx.SendBatch(ctx, &batch)
	snap, others, err = scanSnapshot(results.QueryRow(), st, f)
	closeErr := results.Close() // runs to the end
	if err == nil && closeErr == nil {
		return snap, others, nil
	}
	if _, undoErr := s.tx.Exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint+"; RELEASE SAVEPOINT "+savepoint); undoErr != nil {
		err = errors.Join(err, undoErr)
	}
	if err == nil {
		err = fmt.Errorf("load snapshot of %s: %w", st, closeErr)
	}
	return eventstore.Snapshot{}, false, err
}

func scanSnapshot(row pgx.Row, s event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	var (
		snap     = eventstore.Snapshot{Stream: s, Fingerprint: f}
		format   int16
		checksum []byte
		others   bool
	)
	err := row.Scan(&format, (*int64)(&snap.Version), (*int64)(&snap.Position), (*[16]byte)(&snap.EventID), &snap.ContentType, &snap.State, &checksum, &others)
	if err != nil {
		return eventstore.Snapshot{}, false, fmt.Errorf("load snapshot of %s: %w", s, missing(err))
	}
	if snap.Version == 0 {
		return eventstore.Snapshot{}, others, nil
	}
	snap.Format = int(format)
	copy(snap.Checksum[:], checksum) // of another length: it will not match
	return snap, false, nil
}

// SaveSnapshot implements eventstore.Snapshots. It takes one connection for one
// statement.
func (d *DB) SaveSnapshot(ctx context.Context, s eventstore.Snapshot) (bool, error) {
	if err := s.Validate(); err != nil {
		return false, err
	}
	if s.State == nil {
		s.State = []byte{} // nil is NULL
	}
	tag, err := d.pool.Exec(ctx, d.sql(saveSnapshotSQL), s.Stream.Category, s.Stream.ID, s.Fingerprint[:], int16(s.Format),
		int64(s.Version), int64(s.Position), pgtype.UUID{Bytes: s.EventID, Valid: true}, s.ContentType, s.State, s.Checksum[:])
	if err != nil {
		return false, fmt.Errorf("save snapshot of %s: %w", s.Stream, missing(err))
	}
	return tag.RowsAffected() == 1, nil
}

// DropSnapshot implements eventstore.Snapshots.
func (d *DB) DropSnapshot(ctx context.Context, s eventstore.Snapshot) (dropped bool, err error) {
	err = d.pool.QueryRow(ctx, d.sql(dropSnapshotSQL), s.Stream.Category, s.Stream.ID, s.Fingerprint[:], int64(s.Version), s.Checksum[:]).Scan(&dropped)
	if err != nil {
		return false, fmt.Errorf("drop snapshot of %s: %w", s.Stream, missing(err))
	}
	return dropped, nil
}

// DeleteSnapshots implements eventstore.Snapshots. It walks along the key, 1000
// snapshots in a statement, and each statement is a transaction.
func (d *DB) DeleteSnapshots(ctx context.Context, q eventstore.SnapshotQuery) (int, error) {
	if err := q.Validate(); err != nil {
		return 0, fmt.Errorf("delete snapshots: %w", err)
	}
	if q.Stream != (event.Stream{}) {
		q.Category = q.Stream.Category
	}
	except := make([][]byte, len(q.Except))
	for i := range q.Except {
		except[i] = q.Except[i][:]
	}
	var before *time.Time
	if !q.Before.IsZero() {
		before = &q.Before
	}
	total := 0
	at, fingerprint := event.Stream{Category: q.Category, ID: q.Stream.ID}, []byte{}
	for {
		var (
			more bool
			gone int
		)
		err := d.pool.QueryRow(ctx, d.sql(deleteSnapshotsSQL), at.Category, at.ID, fingerprint, deletePage, q.Category, q.Stream.ID, except, before).
			Scan(&more, &at.Category, &at.ID, &fingerprint, &gone)
		if err != nil {
			return total, fmt.Errorf("delete snapshots: %w", missing(err))
		}
		total += gone
		past := q.Category != "" && at.Category != q.Category || q.Stream.ID != "" && at.ID != q.Stream.ID
		if !more || past {
			return total, nil
		}
	}
}
