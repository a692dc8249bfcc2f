package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// Advance implements worker.Store. The transaction is READ COMMITTED; a second
// Advance of the same name and part waits for the row of the mark. What it does
// itself is bounded by WithCallTimeout, and fn by ctx. With a term, the server ends
// the transaction if it idles past the deadline of ctx. If it fails because a Claim has
// ended the transaction, the error matches worker.ErrFenced, also that of fn.
//
// An error of COMMIT that leaves open whether it was done matches
// eventstore.ErrOutcomeUnknown. It need not be found out: whoever is next locks
// the row of the mark first. The backend of this transaction holds that row
// until it has ended, also if it is stalled, or has yet to read its COMMIT. Who
// gets the row after it reads the mark as it has left it: the next one, together
// with all that fn has written, or the one before, with nothing of that.
func (d *DB) Advance(ctx context.Context, name string, term worker.Term, part string, fn func(context.Context, pgx.Tx, worker.Mark) (worker.Write, error)) error {
	fail := func(err error) error { return fmt.Errorf("advance %s: %w", name, err) }
	tx, err := d.begin(ctx)
	if err != nil {
		return fail(err)
	}
	defer rollback(ctx, tx)
	at, err := d.lockMark(ctx, tx, name, term, part)
	if err != nil {
		return fail(d.overtaken(ctx, tx, name, term, missing(err)))
	}
	w, err := fn(ctx, tx, at)
	if err != nil {
		return d.overtaken(ctx, tx, name, term, err)
	}
	if err := checkAdvance(&w, part, at); err != nil {
		return fail(err)
	}
	last, cancel := d.limit(ctx)
	defer cancel()
	if err := d.write(last, tx, name, term, map[string]int64{part: at.Epoch}, w); err != nil {
		return fail(d.overtaken(last, tx, name, term, late(last, err)))
	}
	crash.At("postgres.advance.saved")
	if err := d.commitWrite(last, tx); err != nil {
		return fail(err)
	}
	crash.At("postgres.advance.committed")
	d.Wake() //nolint:contextcheck // the handler may have appended
	return nil
}

// checkAdvance fills in the revision.
func checkAdvance(w *worker.Write, part string, at worker.Mark) error {
	for other, m := range w.Marks {
		switch {
		case other != part:
			return fmt.Errorf("part %q: its mark is written by an advance of part %q: want that of one part", other, part)
		case m.Revision != 0 && m.Revision != at.Revision && !sabotage.NoEpoch:
			return notAt(part, m.Revision)
		}
		m.Revision = at.Revision
		w.Marks = worker.Checkpoint{part: m}
	}
	return checkWrite(*w)
}

// lockMark holds the term and the mark until the transaction ends, in one round
// trip unless there is no mark yet.
func (d *DB) lockMark(ctx context.Context, tx pgx.Tx, name string, term worker.Term, part string) (worker.Mark, error) {
	deadline := ctx // that of fn too
	ctx, cancel := d.limit(ctx)
	defer cancel()
	for range 2 {
		var m markRow
		batch := &pgx.Batch{}
		d.queueFence(deadline, batch, name, term)
		batch.Queue(d.sql(lockMarkSQL), name, part).QueryRow(func(row pgx.Row) (err error) {
			m, err = scanMark(row)
			return err
		})
		err := tx.SendBatch(ctx, batch).Close()
		if err == nil {
			err = m.altered(name)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return m.Mark, fenced(term, late(ctx, err))
		}
		if _, err := tx.Exec(ctx, d.sql(insertMarkSQL), name, part); err != nil {
			return worker.Mark{}, late(ctx, err)
		}
	}
	return worker.Mark{}, fmt.Errorf("part %q: %w", part, pgx.ErrNoRows)
}

// commitWrite says what is known of a COMMIT that fails.
func (d *DB) commitWrite(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	if err == nil {
		return nil
	}
	err = late(ctx, err)
	if !isDenied(err) {
		err = fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("commit: %w", err)
}
