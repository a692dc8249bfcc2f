package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// appends measures durable appends by several callers at once, each to streams
// of its own. Annals checks the expected version; the statements by hand check
// nothing.
func appends(events, callers int, b bar) workload {
	noun := "events"
	if events == 1 {
		noun = "event"
	}
	return workload{
		name: fmt.Sprintf("append/%d-%s/%d-callers", events, noun, callers),
		unit: "events/s", measure: perSecond, of: "append", bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) { return openAppends(ctx, l, events, callers) },
	}
}

func openAppends(ctx context.Context, l *lab, events, callers int) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	t := &trial{close: func() { db.drop(ctx) }}
	var checks []func(context.Context) error
	add := func(label, table string, pool *pgxpool.Pool, w write) {
		s := &appendSide{authors: newAuthors(callers, events), write: w}
		t.sides = append(t.sides, side{label: label, run: s.run})
		checks = append(checks, func(ctx context.Context) error { return holds(ctx, pool, table, s.answered.Load()) })
	}
	store, pool, err := db.annals(ctx, callers)
	if err != nil {
		return nil, err
	}
	add("", store.Schema()+".events", pool, writeAnnals(store))
	for _, table := range []string{byHand, sameIndexes} {
		pool, err := db.byHand(ctx, callers, table)
		if err != nil {
			return nil, err
		}
		add("by hand with the same indexes", table, pool, writeByHand(pool, table))
	}
	t.finish = func(ctx context.Context) ([]string, error) {
		for _, check := range checks {
			if err := check(ctx); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return t, settle(ctx, pool)
}

type appendSide struct {
	authors  []*author
	write    write
	answered atomic.Int64
}

func (s *appendSide) run(ctx context.Context, d time.Duration) (sample, error) {
	return closedLoop(ctx, len(s.authors), d, func(ctx context.Context, caller int) (int, error) {
		a := s.authors[caller]
		if err := s.write(ctx, a.current(), a.at, a.events); err != nil {
			return 0, err
		}
		a.wrote()
		s.answered.Add(int64(len(a.events)))
		return len(a.events), nil
	})
}
