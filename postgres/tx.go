package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
// deadlock or a serialization failure is returned as it is; roll back then.
//
// Readers of the log wait for the end of a transaction that has appended, so
// keep it short. The store is not safe for concurrent use, like the transaction.
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
	lookUp := false
	for attempt := 1; ; attempt++ {
		res, err := s.attempt(ctx, st, expect, prepared, lookUp)
		if err == nil || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrIDReused) {
			return res, err
		}
		// The rival can be seen now, unless the snapshot is older.
		if taken := isTaken(err); !taken || attempt == s.attempts(expect) {
			if at, exact := exactly(expect); taken && exact {
				err = &eventstore.ConflictError{Stream: st, Expected: expect, Actual: at}
				return res, err
			}
			return res, fmt.Errorf("append %s: %w", st, missing(err))
		}
		lookUp = lookUp || isIDTaken(err)
	}
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

// attempt runs in a savepoint, so that a lost race does not abort the caller's
// transaction, and leaves none behind.
func (s txStore) attempt(ctx context.Context, st event.Stream, expect eventstore.Expect, prepared []eventstore.Prepared, lookUp bool) (eventstore.Result, error) {
	if _, err := s.tx.Exec(ctx, "SAVEPOINT "+savepoint); err != nil {
		return eventstore.Result{}, err
	}
	res, err := s.db.append(ctx, s.tx, st, expect, prepared, lookUp)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if _, undoErr := s.tx.Exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); undoErr != nil {
			return res, errors.Join(err, undoErr)
		}
	}
	_, releaseErr := s.tx.Exec(ctx, "RELEASE SAVEPOINT "+savepoint)
	if err == nil || pg == nil {
		err = errors.Join(err, releaseErr)
	}
	return res, err
}
