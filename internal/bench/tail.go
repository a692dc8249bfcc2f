package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
)

const (
	tailCallers = 16
	tailRate    = 1000 // appends per second
	tailConns   = tailCallers + 4
)

// tail measures how long it takes from the call of an append until a reader who
// tails the log has the event. Annals' reader is in the process of the
// appenders, which wake it; the one by hand polls.
func tail(name string, blocked bool, b bar) workload {
	return workload{
		name: name, unit: "ms p99", lower: true, measure: p99, of: "append to reader", bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) { return openTail(ctx, l, blocked) },
	}
}

func p99(s sample) float64 {
	return float64(percentile(s.latencies, 0.99)) / float64(time.Millisecond)
}

func openTail(ctx context.Context, l *lab, blocked bool) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	store, pool, err := db.annals(ctx, tailConns)
	if err != nil {
		return nil, err
	}
	raw, err := db.byHand(ctx, tailConns, byHand)
	if err != nil {
		return nil, err
	}
	polled := postgres.WithSchema("polled")
	far, farPool, err := db.annals(ctx, tailConns, polled)
	if err != nil {
		return nil, err
	}
	readerPool, err := db.pool(ctx, 2)
	if err != nil {
		return nil, err
	}
	other := postgres.New(readerPool, polled, postgres.WithPollInterval(time.Millisecond))

	c := clock{time.Now()}
	ours := pacedSide(readAnnals(c, store), writeAnnals(store))
	hand := pacedSide(readByHand(c, raw), writeByHand(raw, byHand))
	distant := pacedSide(readAnnals(c, other), writeAnnals(far))
	t := &trial{
		sides: []side{{run: ours.run}, {run: hand.run}, {label: "reader in another process, polls at 1 ms", ours: true, run: distant.run}},
		close: func() { db.drop(ctx) },
		finish: func(ctx context.Context) ([]string, error) {
			if err := holdAll(ctx, table{pool, store.Schema() + ".events", ours}, table{raw, byHand, hand}, table{farPool, far.Schema() + ".events", distant}); err != nil {
				return nil, err
			}
			pace := fmt.Sprintf("appends per second in the slowest round: Annals %.0f, by hand %.0f, other process %.0f", ours.slowest, hand.slowest, distant.slowest)
			return []string{pace, hand.lost()}, nil
		},
	}
	if err := settle(ctx, pool); err != nil {
		return nil, err
	}
	if blocked {
		return t, blockElsewhere(ctx, l, t)
	}
	return t, nil
}

func pacedSide(r *reader, w write) *followed {
	f := &followed{reader: r, authors: newAuthors(tailCallers, 1)}
	f.appends = func(ctx context.Context, d time.Duration) (sample, error) {
		return paced(ctx, tailCallers, tailRate, d, func(ctx context.Context, caller int) error {
			if err := f.append(ctx, caller, w); err != nil {
				return err
			}
			f.committed(caller)
			return nil
		})
	}
	return f
}

// blockElsewhere opens a transaction in another database, which has written,
// and leaves it open until all rounds are over. Readers that wait for the oldest
// transaction of the server stop as long.
func blockElsewhere(ctx context.Context, l *lab, t *trial) (err error) {
	db, err := l.create(ctx)
	if err != nil {
		return err
	}
	defer db.dropUnless(ctx, &err)
	pool, err := db.pool(ctx, 1)
	if err != nil {
		return err
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE written AS SELECT 1 AS one"); err != nil {
		return err
	}
	opened := time.Now()
	first, check := t.close, t.finish
	t.finish = func(ctx context.Context) ([]string, error) {
		notes, err := check(ctx)
		return append(notes, fmt.Sprintf("the transaction in the other database was open for %v", time.Since(opened).Round(100*time.Millisecond))), err
	}
	t.close = func() {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // it ends with its database at the latest
		db.drop(ctx)
		first()
	}
	return nil
}

// table is where a side's events are.
type table struct {
	pool *pgxpool.Pool
	name string
	side *followed
}

func holdAll(ctx context.Context, tables ...table) error {
	for _, t := range tables {
		if err := holds(ctx, t.pool, t.name, t.side.answered.Load()); err != nil {
			return err
		}
	}
	return nil
}
