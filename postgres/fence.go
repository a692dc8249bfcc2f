package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// Index: terms_pkey. Lock: the row of the term, FOR KEY SHARE, and its key, until
// the end of the transaction. Promise: P10; migrations/009_terms.sql says how.
const (
	fenceSQL = `SELECT {{schema}}.fence_v1($1, $2, $3, $4)`

	// A claim ends sessions before it has the next epoch: FOR SHARE waits for it.
	// Index: terms_pkey. Lock: the row, for its own transaction.
	presentSQL = `
SELECT EXISTS (
    SELECT
    FROM {{schema}}.terms
    WHERE name = $1
      AND segment = $2
      AND epoch = $3
    FOR SHARE
)`
)

// idleMargin is for the commit, and for clocks that do not run alike.
const idleMargin = time.Second

// queueFence holds the term until the end of the transaction. The deadline of ctx is
// when whoever has the transaction will have given up.
func (d *DB) queueFence(ctx context.Context, batch *pgx.Batch, name string, term worker.Term) {
	if term == (worker.Term{}) || sabotage.NoEpoch {
		return
	}
	idle := int64(0)
	if by, ok := ctx.Deadline(); ok {
		idle = int64(max(time.Until(by), 0)+idleMargin) / int64(time.Millisecond)
	}
	batch.Queue(d.sql(fenceSQL), name, term.Segment, term.Epoch, int32(min(idle, math.MaxInt32)))
}

// fenced names the term that is over.
func fenced(term worker.Term, err error) error {
	if hasCode(err, codeTermOver) {
		return fmt.Errorf("term %d of segment %q is over: %w", term.Epoch, term.Segment, worker.ErrFenced)
	}
	return err
}

// overtaken says so if the connection of a transaction that has not reached COMMIT is
// gone, and if that is because somebody else was given the term: Claim ends it. It
// gives the connection back before it asks on another one.
func (d *DB) overtaken(ctx context.Context, tx pgx.Tx, name string, term worker.Term, err error) error {
	if !tx.Conn().IsClosed() || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	err = lostError{err}
	if term == (worker.Term{}) {
		return err
	}
	rollback(ctx, tx)
	ctx, cancel := d.limit(ctx)
	defer cancel()
	present := true                      // unless the answer is another
	for range d.pool.Config().MaxConns { // of those that lie idle, the claim may have ended each
		if e := d.pool.QueryRow(ctx, d.sql(presentSQL), name, term.Segment, term.Epoch).Scan(&present); !endsSession(e) {
			break
		}
	}
	if present {
		return err
	}
	return fmt.Errorf("term %d of segment %q is over: %w: %w", term.Epoch, term.Segment, worker.ErrFenced, err)
}
