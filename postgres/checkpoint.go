package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/worker"
)

// markColumns is what scanMark expects, in this order.
const markColumns = `part, position, source, next_offset, parts, lineage, server, digest, trail, revision`

// Index of all: checkpoints_pkey.
const (
	checkpointSQL = `
SELECT ` + markColumns + `
FROM {{schema}}.checkpoints
WHERE name = $1`

	insertMarkSQL = `
INSERT INTO {{schema}}.checkpoints (name, part)
VALUES ($1, $2)
ON CONFLICT DO NOTHING`

	// Lock: the row of the mark, until the end of the transaction.
	lockMarkSQL = `
SELECT ` + markColumns + `
FROM {{schema}}.checkpoints
WHERE name = $1
  AND part = $2
FOR UPDATE`

	// Promises: P10, a revision that is not the stored one writes nothing; P9, nor
	// does a mark of what another server held.
	updateMarkSQL = `
UPDATE {{schema}}.checkpoints
SET position = $3,
    source = $4,
    next_offset = $5,
    parts = $6,
    lineage = $8,
    server = $9,
    digest = $10,
    trail = $11,
    revision = revision + 1,
    updated_at = clock_timestamp()
WHERE name = $1
  AND part = $2
  AND revision = $7
  AND ($12::timestamptz IS NULL OR {{schema}}.same_server($12))`
)

// Checkpoint implements worker.Checkpoints.
func (d *DB) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	rows, err := d.pool.Query(ctx, d.sql(checkpointSQL), name)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", name, missing(late(ctx, err)))
	}
	defer rows.Close()
	c := worker.Checkpoint{}
	for rows.Next() {
		part, m, err := scanMark(rows)
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		c[part] = m
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", name, missing(late(ctx, err)))
	}
	return c, nil
}

// SaveCheckpoint implements worker.Checkpoints.
func (d *DB) SaveCheckpoint(ctx context.Context, name string, marks worker.Checkpoint) error {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	for _, m := range marks {
		if m.Own() {
			if _, err := d.since(ctx, m.Server); err != nil {
				return fmt.Errorf("save checkpoint %s: %w", name, err)
			}
		}
	}
	err := pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return d.writeMarks(ctx, tx, name, marks)
	})
	if err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, otherServer(missing(late(ctx, err))))
	}
	return nil
}

// Advance implements worker.Store. The transaction is READ COMMITTED; a second
// Advance of the same name and part waits for the row of the mark. What it does
// itself is bounded by WithCallTimeout, and fn by ctx.
//
// An error of COMMIT that leaves open whether it was done matches
// eventstore.ErrOutcomeUnknown. It need not be found out: whoever is next locks
// the row of the mark first. The backend of this transaction holds that row
// until it has ended, also if it is stalled, or has yet to read its COMMIT. Who
// gets the row after it reads the mark as it has left it: the next one, together
// with all that fn has written, or the one before, with nothing of that.
func (d *DB) Advance(ctx context.Context, name, part string, fn func(context.Context, pgx.Tx, worker.Mark) (worker.Mark, error)) error {
	tx, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("advance %s: %w", name, err)
	}
	defer rollback(ctx, tx)
	at, err := d.lockMark(ctx, tx, name, part)
	if err != nil {
		return fmt.Errorf("advance %s: %w", name, missing(err))
	}
	next, err := fn(ctx, tx, at)
	if err != nil {
		return err
	}
	next.Revision = at.Revision
	last, cancel := d.limit(ctx)
	defer cancel()
	if err := d.writeMarks(last, tx, name, worker.Checkpoint{part: next}); err != nil {
		return fmt.Errorf("advance %s: %w", name, otherServer(late(last, err)))
	}
	crash.At("postgres.advance.saved")
	if err := tx.Commit(last); err != nil {
		err = late(last, err)
		if !isDenied(err) {
			err = fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("advance %s: commit: %w", name, err)
	}
	crash.At("postgres.advance.committed")
	d.Wake() //nolint:contextcheck // the handler may have appended
	return nil
}

func (d *DB) lockMark(ctx context.Context, tx pgx.Tx, name, part string) (worker.Mark, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	for range 2 {
		_, m, err := scanMark(tx.QueryRow(ctx, d.sql(lockMarkSQL), name, part))
		if !errors.Is(err, pgx.ErrNoRows) {
			return m, late(ctx, err)
		}
		if _, err := tx.Exec(ctx, d.sql(insertMarkSQL), name, part); err != nil {
			return worker.Mark{}, late(ctx, err)
		}
	}
	return worker.Mark{}, fmt.Errorf("part %q: %w", part, pgx.ErrNoRows)
}

// writeMarks sends all marks in one round trip, sorted, because two writers
// must not lock them in different orders.
func (d *DB) writeMarks(ctx context.Context, tx pgx.Tx, name string, marks worker.Checkpoint) error {
	batch := &pgx.Batch{}
	for _, part := range slices.Sorted(maps.Keys(marks)) {
		m := marks[part]
		if m.Revision == 0 {
			batch.Queue(d.sql(insertMarkSQL), name, part)
		}
		since, err := d.ownSince(m)
		if err != nil {
			return fmt.Errorf("part %q: %w", part, err)
		}
		batch.Queue(d.sql(updateMarkSQL), name, part, int64(m.Position), m.Source, m.Offset, m.Of, m.Revision, m.Lineage, m.Server, m.Digest[:], []byte(m.Trail), since).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != 1 {
				return fmt.Errorf("part %q is not at revision %d: %w", part, m.Revision, worker.ErrFenced)
			}
			return nil
		})
	}
	return tx.SendBatch(ctx, batch).Close()
}

// scanMark reads markColumns, and what comes behind them into more.
func scanMark(row pgx.Row, more ...any) (string, worker.Mark, error) {
	var (
		part          string
		m             worker.Mark
		at            int64
		digest, trail []byte
	)
	err := row.Scan(append([]any{&part, &at, &m.Source, &m.Offset, &m.Of, &m.Lineage, &m.Server, &digest, &trail, &m.Revision}, more...)...)
	m.Position, m.Trail = event.Position(at), worker.Trail(trail)
	copy(m.Digest[:], digest)
	return part, m, err
}
