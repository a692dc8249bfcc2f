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
// the transaction cannot see the rival that it lost to.
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
		lookUp = lookUp || isIDTaken(err)
		if isRival(err) && attempt < 3 {
			continue // now the rival can be seen, unless the snapshot is older
		}
		if isRival(err) {
			_, at := expect.Kind()
			return res, &eventstore.ConflictError{Stream: st, Expected: expect, Actual: at}
		}
		if err == nil || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrIDReused) {
			return res, err
		}
		return res, fmt.Errorf("append %s: %w", st, missing(err))
	}
}

// attempt runs in a savepoint, so that a lost race does not abort the caller's
// transaction.
func (s txStore) attempt(ctx context.Context, st event.Stream, expect eventstore.Expect, prepared []eventstore.Prepared, lookUp bool) (eventstore.Result, error) {
	savepoint, err := s.tx.Begin(ctx)
	if err != nil {
		return eventstore.Result{}, err
	}
	res, err := s.db.append(ctx, savepoint, st, expect, prepared, lookUp)
	if err != nil {
		return res, errors.Join(err, savepoint.Rollback(ctx))
	}
	return res, savepoint.Commit(ctx)
}
