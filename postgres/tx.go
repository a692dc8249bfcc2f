package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Tx returns the store within a transaction of the caller, for
// aggregate.Repository.With: its appends commit or roll back with everything
// else that the transaction does, and its reads see what it has appended.
//
// A version conflict leaves the transaction usable: each append runs in a
// savepoint. It is reported and not retried, because only the caller knows what
// else was decided on what it has read. Use READ COMMITTED: at a higher level
// the transaction cannot see the rival that it lost to, and an append that
// expects any version, or at least one event, fails with the server's error. A
// deadlock or a serialization failure is returned as it is; roll back then. So is
// a connection that breaks, or an answer that does not come in time: nothing is
// stored then, because nothing is before the caller's COMMIT.
//
// Readers of the log wait for the end of a transaction that has appended, so
// keep it short. They find what it appended when they poll; call Wake after
// the commit to spare them the wait. The store is not safe for concurrent use,
// like the transaction.
func (d *DB) Tx(tx pgx.Tx) eventstore.Store { return txStore{d, tx} }

type txStore struct {
	db *DB
	tx pgx.Tx
}

func (s txStore) ReadStream(ctx context.Context, st event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return s.db.readStream(ctx, s.tx, st, q)
}

func (s txStore) Append(ctx context.Context, st event.Stream, expect eventstore.Expect, events ...event.Raw) (eventstore.Result, error) {
	prepared, err := eventstore.Prepare(st, events)
	if err != nil {
		return eventstore.Result{}, err
	}
	w := eventstore.PreparedWrite{Stream: st, Expect: expect, Events: prepared}
	end := s.db.end(ctx)
	if err := s.db.admit(ctx, end, w); err != nil {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", st, err)
	}
	ctx, cancel := s.db.limitTo(ctx, end)
	defer cancel()
	lookUp := false
	for attempt := 1; ; attempt++ {
		var res eventstore.Result
		err := s.inSavepoint(ctx, s.db.sql(appendSQL), appendArgs(w, lookUp), func(row pgx.Row) (err error) {
			res, err = scanResult(row, w)
			return err
		})
		if err == nil || isRefused(err) {
			return res, err
		}
		// The rival can be seen now, unless the snapshot is older.
		if taken := isTaken(err); !taken || attempt == s.attempts(expect) {
			return res, s.lost(w, taken, late(ctx, err))
		}
		lookUp = lookUp || isIDTaken(err)
	}
}

func (s txStore) AppendAll(ctx context.Context, writes ...eventstore.Write) ([]eventstore.Result, error) {
	prepared, err := eventstore.PrepareAll(writes)
	if err != nil {
		return nil, err
	}
	end := s.db.end(ctx)
	if err := s.db.admit(ctx, end, prepared...); err != nil {
		return nil, fmt.Errorf("append %s: %w", all(prepared), err)
	}
	ctx, cancel := s.db.limitTo(ctx, end)
	defer cancel()
	for attempt := 1; ; attempt++ {
		var res []eventstore.Result
		sql, args := s.db.batch(prepared, true)
		err := s.inSavepoint(ctx, sql, args, func(row pgx.Row) (err error) {
			res, err = scanAll(row, prepared)
			return err
		})
		if errors.Is(err, errRefused) || isIDTaken(err) {
			res, err = s.db.lookUpAll(ctx, s.tx, prepared)
		}
		if err == nil {
			return inPlace(prepared, res), nil
		}
		again := isTaken(err) || errors.Is(err, errAbsent)
		if isRefused(err) || !again || attempt == 20 {
			return nil, s.lost(prepared[0], false, late(ctx, err))
		}
	}
}

// lost is the error of an append that lost its races, or failed otherwise.
func (s txStore) lost(w eventstore.PreparedWrite, taken bool, err error) error {
	if isRefused(err) {
		return err
	}
	if at, exact := exactly(w.Expect); taken && exact {
		return &eventstore.ConflictError{Stream: w.Stream, Expected: w.Expect, Actual: at}
	}
	return fmt.Errorf("append %s: %w", w.Stream, missing(err))
}

// attempts bounds how often an append looks again after it lost a race. To lose
// often takes rivals that win each time, if they can be seen.
func (s txStore) attempts(expect eventstore.Expect) int {
	if _, exact := exactly(expect); exact {
		return 3
	}
	return 20
}

func exactly(expect eventstore.Expect) (event.Version, bool) {
	kind, at := expect.Kind()
	return at, kind == eventstore.KindExact || kind == eventstore.KindNone
}

const savepoint = "annals_append"

// inSavepoint runs a statement in a savepoint, so that a lost race does not
// abort the caller's transaction, and leaves none behind. It is one round trip.
func (s txStore) inSavepoint(ctx context.Context, sql string, args []any, scan func(pgx.Row) error) error {
	var batch pgx.Batch
	batch.Queue("SAVEPOINT " + savepoint)
	batch.Queue(sql, args...)
	batch.Queue("RELEASE SAVEPOINT " + savepoint)
	results := s.tx.SendBatch(ctx, &batch)
	_, err := results.Exec()
	if err == nil {
		err = scan(results.QueryRow())
	}
	closeErr := results.Close() // runs to the end
	if _, rejected := pgError(err); !rejected {
		if closeErr == nil {
			return err
		}
		return errors.Join(err, closeErr)
	}
	// Without arguments, so nothing has to be prepared, which an aborted
	// transaction refuses.
	if _, undoErr := s.tx.Exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint+"; RELEASE SAVEPOINT "+savepoint); undoErr != nil {
		return errors.Join(err, undoErr)
	}
	return err
}
