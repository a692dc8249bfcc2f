package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/transfer"
)

// ImportOption changes what an import does.
type ImportOption func(*importConfig) error

type importConfig struct {
	continued bool
	skip      bool
	newTimes  bool
	timeout   time.Duration
	progress  func(ImportProgress)
}

// WithContinuedStreams lets streams of the file go on where those of the store
// end: the first version in the file must be the next one. Default: a stream
// that exists is refused. Set it for files that were exported after a position.
func WithContinuedStreams() ImportOption {
	return func(c *importConfig) error {
		c.continued = true
		return nil
	}
}

// WithSkippedStored passes over events that the store has at the same version,
// with the same id and content, and lets their streams go on as
// WithContinuedStreams does. Default: they are refused. Set it to import a newer
// file over an older one. Each event of the file is then looked up twice.
func WithSkippedStored() ImportOption {
	return func(c *importConfig) error {
		c.skip, c.continued = true, true
		return nil
	}
}

// WithNewTimes records the events at the time of their import; when they were
// recorded before is not kept in the store. Default: the recorded times of the
// file are kept, which is refused where they would go back in the order of the
// log: see *ImportTimeError. Set it to import into a store that is in use.
func WithNewTimes() ImportOption {
	return func(c *importConfig) error {
		c.newTimes = true
		return nil
	}
}

// WithChunkTimeout bounds each chunk, and each look at the store before. Default
// 1 min, at least 1 ms. Raise it when the server is so slow that an import stops
// with a deadline.
func WithChunkTimeout(d time.Duration) ImportOption {
	return func(c *importConfig) error {
		if d < time.Millisecond {
			return fmt.Errorf("option WithChunkTimeout: %v: want at least 1ms", d)
		}
		c.timeout = d
		return nil
	}
}

// ImportProgress is how far an import has come.
type ImportProgress struct {
	// Events of the file have been dealt with, by this call and those before.
	Events, Total int64
}

// WithImportProgress calls fn at the beginning and after each chunk. Default:
// nobody is told.
func WithImportProgress(fn func(ImportProgress)) ImportOption {
	return func(c *importConfig) error {
		c.progress = fn
		return nil
	}
}

// ImportResult is what an import has done.
type ImportResult struct {
	// Stored and Skipped are how many events this call has stored, and passed over.
	Stored, Skipped int64
	// Before is how many events of the file earlier calls had dealt with. If it is
	// Total there was nothing left to do.
	Before, Total int64
}

// Import stores the events of a checked file behind the log: at new positions, in
// the order of the file, with everything else as it is there. It uses COPY, in
// chunks of up to 10,000 events or 8 MiB. Each chunk is a transaction of its own
// together with a note how far the file has come, so an import that ended in any
// way goes on behind its last chunk when it is called again with the same
// content, and does nothing when all of it is in. Readers see whole chunks.
//
// Before the first chunk it compares all streams of the file with the store. Do
// not append to these streams until it is done: the unique keys hold, so what
// is overtaken is refused in the middle of the file, and stays so.
//
// It takes one connection at a time, and holds three chunks in memory at most.
//
// Errors: *StreamExistsError (ErrStreamExists) and *ImportTimeError
// (ErrImportTime), both before anything is stored unless the store changed
// meanwhile; ErrImportBusy; transfer.ErrChanged; ErrNotMigrated, ErrReplica; that
// of ctx. What was stored by then stays. eventstore.ErrOutcomeUnknown is matched
// when the answer to a chunk was lost: call it again.
func (d *DB) Import(ctx context.Context, file *transfer.Checked, opts ...ImportOption) (ImportResult, error) {
	c := importConfig{timeout: time.Minute}
	for _, o := range opts {
		if err := o(&c); err != nil {
			return ImportResult{}, err
		}
	}
	i := &importer{db: d, file: file, config: c, result: ImportResult{Total: file.Events}}
	if err := i.run(ctx); err != nil {
		return i.result, fmt.Errorf("import: %w", missing(err))
	}
	return i.result, nil
}

// importer is one call of Import. Rights that it needs: SELECT on the table
// events, and INSERT on its columns but position; SELECT, INSERT and UPDATE on
// imports. It calls no function.
type importer struct {
	db     *DB
	file   *transfer.Checked
	config importConfig
	result ImportResult
	events int64 // of the file that have been dealt with
	// fresh is the recorded time of the first event that is to be stored; nil: of
	// none yet.
	fresh *time.Time
}

const (
	// Index: imports_pkey. Lock: none.
	importedSQL = `
SELECT i.events, i.finished_at IS NOT NULL
FROM {{schema}}.imports i
WHERE i.sha256 = $1`

	// Moves the note on, if it stands where this import has left it: another one of
	// the same file that was quicker waits for nobody, and this one writes nothing.
	// Index: imports_pkey. Lock: the row, until commit; taken before the mark of the
	// chunk, so that no reader waits while one import waits for another. Promise: a
	// chunk and its note commit together.
	noteImportSQL = `
INSERT INTO {{schema}}.imports AS i (sha256, store, events, skipped, total, finished_at)
VALUES ($1, $2, $4::bigint, $5, $6::bigint, CASE WHEN $4::bigint = $6::bigint THEN clock_timestamp() END)
ON CONFLICT (sha256) DO UPDATE
SET events = excluded.events,
    skipped = i.skipped + excluded.skipped,
    finished_at = excluded.finished_at,
    updated_at = clock_timestamp()
WHERE i.events = $3
  AND i.finished_at IS NULL`

	// Index: events_pkey. Lock: none.
	latestTimeSQL = `
SELECT e.recorded_at, clock_timestamp()
FROM (VALUES (true)) AS one
LEFT JOIN LATERAL (
    SELECT e.recorded_at
    FROM {{schema}}.events e
    ORDER BY e.position DESC
    LIMIT 1
) e ON true`
)

func (i *importer) run(ctx context.Context) error {
	finished, err := i.resume(ctx)
	if err != nil || finished {
		return err
	}
	if err := i.survey(ctx); err != nil {
		return err
	}
	if !i.config.newTimes {
		if err := i.checkTimes(ctx); err != nil {
			return err
		}
	}
	i.tell()
	if i.file.Events == 0 {
		return i.commit(ctx, &chunk{})
	}
	return i.store(ctx)
}

func (i *importer) tell() {
	if i.config.progress != nil {
		i.config.progress(ImportProgress{i.events, i.file.Events})
	}
}

// resume finds out how much is in.
func (i *importer) resume(ctx context.Context) (finished bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, i.config.timeout)
	defer cancel()
	err = i.db.pool.QueryRow(ctx, i.db.sql(importedSQL), i.file.SHA256[:]).Scan(&i.events, &finished)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, err
	}
	i.result.Before = i.events
	return finished, nil
}

// checkTimes holds the times of the file against its own order and the server's
// clock.
func (i *importer) checkTimes(ctx context.Context) error {
	if i.file.BackLine > 0 {
		return &ImportTimeError{Line: i.file.BackLine, reason: "its recorded time goes back from one before"}
	}
	ctx, cancel := context.WithTimeout(ctx, i.config.timeout)
	defer cancel()
	latest, now, err := i.latestTime(ctx, i.db.pool)
	if err != nil {
		return err
	}
	if i.file.LatestTime.After(now.Add(transfer.TimeSlack)) {
		return &ImportTimeError{Time: i.file.LatestTime, Store: now.UTC(), reason: "is ahead of the server's clock"}
	}
	if i.fresh != nil {
		return behind(*i.fresh, latest)
	}
	return nil
}

func (i *importer) latestTime(ctx context.Context, q querier) (latest *time.Time, now time.Time, err error) {
	err = q.QueryRow(ctx, i.db.sql(latestTimeSQL)).Scan(&latest, &now)
	return latest, now, err
}

// behind wants events behind those that there are, by the clock.
func behind(first time.Time, latest *time.Time) error {
	if latest != nil && first.Before(latest.Add(-transfer.TimeSlack)) {
		return &ImportTimeError{Time: first, Store: latest.UTC(), reason: "is before that of the newest event of the store"}
	}
	return nil
}
