package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// markColumns is what scanMark expects, in this order.
const markColumns = `part, position, source, next_offset, parts, lineage, server, digest, trail, claim_to, claim_events, claim_times, epoch, revision, seal`

// Index of all: checkpoints_pkey.
const (
	checkpointSQL = `
SELECT ` + markColumns + `
FROM {{schema}}.checkpoints
WHERE name = $1
ORDER BY part`

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

	// Lock: as lockMarkSQL, in the order of parts, so that no two writers lock them
	// in different orders.
	lockMarksSQL = `
SELECT part, revision, epoch
FROM {{schema}}.checkpoints
WHERE name = $1
  AND part = ANY ($2)
ORDER BY part
FOR UPDATE`

	// Promises: P10, a revision that is not the stored one writes nothing; P9, nor
	// does a mark of what another server held.
	updateMarkSQL = `
UPDATE {{schema}}.checkpoints
SET position = $4,
    source = $5,
    next_offset = $6,
    parts = $7,
    lineage = $8,
    server = $9,
    digest = $10,
    trail = $11,
    claim_to = $12,
    claim_events = $13,
    claim_times = $14,
    epoch = $15,
    seal = $16,
    revision = revision + 1,
    updated_at = clock_timestamp()
WHERE name = $1
  AND part = $2
  AND revision = $3
  AND epoch <= $15
  AND ($17::timestamptz IS NULL OR {{schema}}.same_server($17))`
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
		m, err := scanMark(rows)
		if err == nil {
			err = m.altered(name)
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		c[m.part] = m.Mark
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read checkpoint %s: %w", name, missing(late(ctx, err)))
	}
	return c, nil
}

// Save implements worker.Checkpoints. It replaces a mark that was changed by other
// means too: that is how its reader is set back.
//
// An error of COMMIT that leaves open whether it was done matches
// eventstore.ErrOutcomeUnknown: read the checkpoint again.
func (d *DB) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	if err := d.save(ctx, name, term, w); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	return nil
}

func (d *DB) save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	if err := checkWrite(w); err != nil {
		return err
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	for _, m := range w.Marks {
		if m.Own() {
			if _, err := d.since(ctx, m.Server); err != nil {
				return err
			}
		}
	}
	tx, err := d.begin(ctx)
	if err != nil {
		return missing(err)
	}
	defer rollback(ctx, tx)
	epochs, err := d.lockMarks(ctx, tx, name, term, w.Marks)
	if err == nil {
		err = d.write(ctx, tx, name, term, epochs, w)
	}
	if err != nil {
		return d.overtaken(ctx, tx, name, term, missing(late(ctx, err)))
	}
	return d.commitWrite(ctx, tx)
}

// lockMarks holds the term and the marks, and returns the epochs of those that are
// there.
func (d *DB) lockMarks(ctx context.Context, tx pgx.Tx, name string, term worker.Term, marks worker.Checkpoint) (map[string]int64, error) {
	epochs := map[string]int64{}
	if len(marks) == 0 && term == (worker.Term{}) {
		return epochs, nil
	}
	batch := &pgx.Batch{}
	d.queueFence(ctx, batch, name, term)
	batch.Queue(d.sql(lockMarksSQL), name, slices.Sorted(maps.Keys(marks))).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var (
				part            string
				revision, epoch int64
			)
			if err := rows.Scan(&part, &revision, &epoch); err != nil {
				return err
			}
			m := marks[part]
			if sabotage.NoEpoch {
				m.Revision = revision
				marks[part] = m
			}
			if revision != m.Revision {
				return notAt(part, m.Revision)
			}
			epochs[part] = epoch
		}
		return rows.Err()
	})
	return epochs, fenced(term, tx.SendBatch(ctx, batch).Close())
}

func notAt(part string, revision int64) error {
	return fmt.Errorf("part %q is not at revision %d: %w", part, revision, worker.ErrFenced)
}

// markRow is a mark as it is stored.
type markRow struct {
	part string
	worker.Mark
	seal []byte
}

// scanMark reads markColumns, and what comes behind them into more.
func scanMark(row pgx.Row, more ...any) (markRow, error) {
	var (
		m             markRow
		at, to        int64
		digest, trail []byte
	)
	err := row.Scan(append([]any{&m.part, &at, &m.Source, &m.Offset, &m.Of, &m.Lineage, &m.Server, &digest, &trail,
		&to, &m.Claim.Events, &m.Claim.Times, &m.Epoch, &m.Revision, &m.seal}, more...)...)
	m.Position, m.Trail, m.Claim.To = event.Position(at), worker.Trail(trail), event.Position(to)
	copy(m.Digest[:], digest)
	return m, err
}

// altered returns a *worker.AlteredError if the row is not as it was written. One
// that lockMark has just made has no seal yet.
func (m markRow) altered(name string) error {
	if len(m.seal) == 0 && m.Mark == (worker.Mark{}) {
		return nil
	}
	if seal := worker.Seal(name, m.part, m.Mark); string(seal[:]) == string(m.seal) {
		return nil
	}
	return &worker.AlteredError{Name: name, Part: m.part, Mark: m.Mark}
}
