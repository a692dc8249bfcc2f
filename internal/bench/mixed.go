package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	mixedCallers = 16
	mixedConns   = mixedCallers + 4
	mixedOwn     = 20 // percent of the appends that are in a caller's transaction
	mixedHold    = 8 * time.Millisecond
)

// mixed measures appends while a fifth of them are in transactions of their
// callers, which hold them open for up to 8 ms and roll half of them back, and
// a reader tails the log. By hand it is the same with plain inserts and a
// reader that loses events.
func mixed(b bar) workload {
	return workload{
		name: fmt.Sprintf("mixed/%d%%-callers-transactions", mixedOwn),
		unit: "appends/s", measure: perSecond, of: "append to reader", bar: b,
		open: openMixed,
	}
}

func openMixed(ctx context.Context, l *lab) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	store, pool, err := db.annals(ctx, mixedConns)
	if err != nil {
		return nil, err
	}
	raw, err := db.byHand(ctx, mixedConns, byHand)
	if err != nil {
		return nil, err
	}
	c := clock{time.Now()}
	ours := mixedSide(readAnnals(c, store), pool, writeAnnals(store), func(tx pgx.Tx) write { return writeAnnals(store.Tx(tx)) })
	hand := mixedSide(readByHand(c, raw), raw, writeByHand(raw, byHand), func(tx pgx.Tx) write { return writeByHand(tx, byHand) })
	return &trial{
		sides: []side{{run: ours.run}, {run: hand.run}},
		close: func() { db.drop(ctx) },
		finish: func(ctx context.Context) ([]string, error) {
			if err := holdAll(ctx, table{pool, store.Schema() + ".events", ours}, table{raw, byHand, hand}); err != nil {
				return nil, err
			}
			return []string{fmt.Sprintf("Annals' reader got each of %d committed events once, in order", ours.reader.seen), hand.lost()}, nil
		},
	}, settle(ctx, pool)
}

// mixedSide gives both sides the same lots.
func mixedSide(r *reader, pool *pgxpool.Pool, w write, within func(pgx.Tx) write) *followed {
	f := &followed{reader: r, authors: newAuthors(mixedCallers, 1)}
	random := make([]*rand.Rand, mixedCallers)
	for i := range random {
		random[i] = rand.New(rand.NewPCG(1, uint64(i)))
	}
	once := func(ctx context.Context, caller int) (int, error) {
		if random[caller].IntN(100) >= mixedOwn {
			if err := f.append(ctx, caller, w); err != nil {
				return 0, err
			}
			f.committed(caller)
			return 1, nil
		}
		hold, commits := time.Duration(random[caller].Int64N(int64(mixedHold))), random[caller].IntN(2) == 0
		err := f.appendWithin(ctx, caller, pool, within, hold, commits)
		if err != nil || !commits {
			return 0, err
		}
		f.committed(caller)
		return 1, nil
	}
	f.appends = func(ctx context.Context, d time.Duration) (sample, error) {
		return closedLoop(ctx, mixedCallers, d, once)
	}
	return f
}

// appendWithin appends in a transaction of the caller.
func (f *followed) appendWithin(ctx context.Context, caller int, pool *pgxpool.Pool, within func(pgx.Tx) write, hold time.Duration, commits bool) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it answers that nothing is open, or nothing is left to do
	if err := f.append(ctx, caller, within(tx)); err != nil {
		return err
	}
	if err := sleep(ctx, hold); err != nil {
		return err
	}
	if commits {
		return tx.Commit(ctx)
	}
	return tx.Rollback(ctx)
}
