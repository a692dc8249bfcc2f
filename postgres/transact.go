package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
)

// ErrNotCommitted says that a transaction was rolled back: nothing of it is
// stored, or ever will be.
var ErrNotCommitted = errors.New("transaction was not committed")

// A history is what makes the number of a transaction mean one transaction: the
// cluster, its timeline, and the moment since which it keeps statistics. A
// failover begins a new timeline. A crash takes back the numbers that had not
// reached the disk, so that they are given out again, on the same timeline and
// also by the same postmaster, when only a backend has crashed; it throws the
// statistics away as well. A server that is stopped and started keeps all three.
// NULL on a replica.
//
// Lock: none. Any role may call these functions.
const (
	historySQL = `
(SELECT CASE
            WHEN NOT pg_is_in_recovery()
            THEN c.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || extract(epoch FROM w.stats_reset)
        END
 FROM pg_control_system() c, pg_stat_wal w)`

	// NULL for a transaction that has written nothing.
	identifySQL = `SELECT coalesce(pg_current_xact_id_if_assigned()::text, ''), coalesce(` + historySQL + `, '')`

	// OFFSET 0 keeps the numbers of another history from being looked up.
	statusSQL = `
SELECT coalesce(here.history, ''),
       coalesce(CASE WHEN here.history = $2 THEN pg_xact_status($1::text::xid8) END, '')
FROM (SELECT ` + historySQL + ` AS history OFFSET 0) here`
)

// Transact runs fn in a READ COMMITTED transaction and commits it; use db.Tx(tx)
// to append in it. An error of fn rolls back and is returned as it is. fn runs
// once at most, and must not end the transaction. Call nothing in fn that takes
// another connection of the pool.
//
// When COMMIT gets no answer, because the connection broke or time ran out, it
// finds out what became of it: the server keeps for each transaction that has
// written whether it is in progress, committed or aborted, and Transact has
// asked for its number before COMMIT. It asks on new connections until the
// transaction has ended. That is proof, because the answer is about this one
// transaction, and is "in progress" for as long as its backend may still commit
// it. A look at rows that it may have written is not: a backend that is stalled
// commits after the look.
//
// Errors beside those of fn: ErrNotCommitted if it was rolled back, also by the
// server, or because fn has swallowed an error of the server
// (pgx.ErrTxCommitRollback); eventstore.ErrOutcomeUnknown if there was no answer
// when ctx ended or the time of the call was over (WithCallTimeout), or if the
// server has another history by then, after a failover or a crash. With any
// other error nothing was committed. A transaction that has written nothing
// needs no answer to its COMMIT.
//
// What it does itself is bounded by WithCallTimeout, before fn and after fn; fn
// is bounded by ctx. It costs one round trip more than a transaction by hand.
func (d *DB) Transact(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	tx, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("transact: begin: %w", err)
	}
	defer rollback(ctx, tx)
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := d.commit(ctx, tx); err != nil {
		return fmt.Errorf("transact: %w", err)
	}
	d.Wake() //nolint:contextcheck // fn may have appended
	return nil
}

// begin acquires a connection and starts a transaction.
func (d *DB) begin(ctx context.Context) (pgx.Tx, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	return tx, late(ctx, err)
}

// rollback ends a transaction that was not committed. It does not wait for a
// server that does not answer: when ctx ends it closes the connection, which ends
// the transaction too.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// commit commits and, without an answer, finds out whether it has.
func (d *DB) commit(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var id, history string
	err := tx.QueryRow(ctx, identifySQL).Scan(&id, &history)
	if errors.Is(err, pgx.ErrTxClosed) {
		return fmt.Errorf("fn has ended it: %w", err)
	}
	if hasCode(err, codeInFailedTx) {
		return fmt.Errorf("%w: fn has swallowed an error of the server: %w", ErrNotCommitted, pgx.ErrTxCommitRollback)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCommitted, late(ctx, err))
	}
	err = commitInHalf(ctx, tx)
	switch {
	case err == nil:
		return nil
	case isDenied(err):
		return fmt.Errorf("%w: %w", ErrNotCommitted, err)
	case id == "":
		return nil
	default:
		return d.resolve(ctx, id, history, err)
	}
}

// commitInHalf leaves time to find out what has become of it.
func commitInHalf(ctx context.Context, tx pgx.Tx) error {
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(max(left/2, shortestAttempt), left))
		defer cancel()
	}
	return tx.Commit(ctx)
}

// isDenied reports an error of COMMIT which says that it was not done.
func isDenied(err error) bool {
	return errors.Is(err, pgx.ErrTxCommitRollback) || isRejected(err)
}

// resolve asks what has become of a transaction until it has ended.
func (d *DB) resolve(ctx context.Context, id, history string, lost error) error {
	for bound := firstResend; ; bound = min(2*bound, longestResend) {
		here, status, err := d.status(ctx, id, history)
		switch {
		case err == nil && status == "committed":
			return nil
		case err == nil && status == "aborted":
			return fmt.Errorf("%w: %w", ErrNotCommitted, lost)
		case err == nil && here != "" && here != history:
			return fmt.Errorf("%w: the server has another history since: %w", eventstore.ErrOutcomeUnknown, lost)
		}
		timer := time.NewTimer(rand.N(bound))
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
		}
		timer.Stop()
		if over := ended(ctx); !errors.Is(lost, over) {
			lost = fmt.Errorf("%w, after: %w", over, lost)
		}
		return fmt.Errorf("%w: %w", eventstore.ErrOutcomeUnknown, lost)
	}
}

func (d *DB) status(ctx context.Context, id, history string) (here, status string, err error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = limitAttempt(ctx, end)
		defer cancel()
	}
	err = d.pool.QueryRow(ctx, statusSQL, id, history).Scan(&here, &status)
	return here, status, err
}
