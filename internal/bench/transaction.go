package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// transaction measures many appends of one event within transactions of their
// callers. What it asks is whether they come to an end: locks and savepoints
// pile up in a transaction.
func transaction(name string, transactions int, appends func(*lab) int) workload {
	return workload{
		name: name, unit: "s", lower: true, measure: seconds, once: true, bar: bar{finishes: true},
		open: func(ctx context.Context, l *lab) (*trial, error) {
			return openTransaction(ctx, l, transactions, appends(l))
		},
	}
}

func openTransaction(ctx context.Context, l *lab, transactions, appends int) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	store, pool, err := db.annals(ctx, transactions)
	if err != nil {
		return nil, err
	}
	raw, err := db.byHand(ctx, transactions, byHand)
	if err != nil {
		return nil, err
	}
	ours := &bulk{pool: pool, within: func(tx pgx.Tx) write { return writeAnnals(store.Tx(tx)) }, transactions: transactions, appends: appends}
	hand := &bulk{pool: raw, within: func(tx pgx.Tx) write { return writeByHand(tx, byHand) }, transactions: transactions, appends: appends}
	return &trial{
		sides: []side{{run: ours.run}, {run: hand.run}},
		close: func() { db.drop(ctx) },
		finish: func(ctx context.Context) ([]string, error) {
			if err := holds(ctx, pool, store.Schema()+".events", ours.answered.Load()); err != nil {
				return nil, err
			}
			return nil, holds(ctx, raw, byHand, hand.answered.Load())
		},
	}, settle(ctx, pool)
}

// bulk is a number of transactions at once, each with many appends.
type bulk struct {
	pool         *pgxpool.Pool
	within       func(pgx.Tx) write
	transactions int
	appends      int
	answered     atomic.Int64
}

func (b *bulk) run(ctx context.Context, _ time.Duration) (sample, error) {
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range newAuthors(b.transactions, 1) {
		g.Go(func() error { return b.one(ctx, a) })
	}
	err := g.Wait()
	return sample{n: b.transactions * b.appends, took: time.Since(start)}, err
}

func (b *bulk) one(ctx context.Context, a *author) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		w := b.within(tx)
		for i := range b.appends {
			if err := w(ctx, a.current(), a.at, a.events); err != nil {
				return fmt.Errorf("append %d of %d: %w", i+1, b.appends, err)
			}
			a.wrote()
		}
		b.answered.Add(int64(b.appends))
		return nil
	})
}
