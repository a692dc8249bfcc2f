package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// load measures one caller who reads one stream after the other, at random.
func load(length int, b bar) workload {
	return workload{
		name: fmt.Sprintf("load/%d", length),
		unit: "events/s", measure: perSecond, of: "stream", bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) { return openLoad(ctx, l, length) },
	}
}

func openLoad(ctx context.Context, l *lab, length int) (*trial, error) {
	streams := max(2, l.events/length)
	return openFilled(ctx, l, streams, length, func(store *postgres.DB, pool *pgxpool.Pool) (side, side) {
		return side{run: loadAnnals(store, streams, length)}, side{run: loadByHand(pool, streams, length)}
	})
}

// openFilled makes both sides on tables that hold the same events.
func openFilled(ctx context.Context, l *lab, streams, length int, sides func(*postgres.DB, *pgxpool.Pool) (side, side)) (_ *trial, err error) {
	const conns = 8 // for the fill; the sides use one
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	store, ours, err := db.annals(ctx, conns)
	if err != nil {
		return nil, err
	}
	raw, err := db.byHand(ctx, conns, byHand)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, writeAnnals(store), streams, length); err != nil {
		return nil, err
	}
	if err := fill(ctx, writeByHand(raw, byHand), streams, length); err != nil {
		return nil, err
	}
	a, b := sides(store, raw)
	want := int64(streams) * int64(length)
	return &trial{
		sides: []side{a, b},
		finish: func(ctx context.Context) ([]string, error) {
			if err := holds(ctx, ours, store.Schema()+".events", want); err != nil {
				return nil, err
			}
			return nil, holds(ctx, raw, byHand, want)
		},
		close: func() { db.drop(ctx) },
	}, settle(ctx, raw)
}

// loads reads random streams with read, which returns how many events it got.
// Each side draws the same streams.
func loads(streams, length int, read func(ctx context.Context, stream int) (int, error)) func(context.Context, time.Duration) (sample, error) {
	random := rand.New(rand.NewPCG(1, 2))
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return closedLoop(ctx, 1, d, func(ctx context.Context, _ int) (int, error) {
			i := random.IntN(streams)
			n, err := read(ctx, i)
			if err == nil && n != length {
				err = fmt.Errorf("load %s: got %d events, want %d", filled(i), n, length)
			}
			return n, err
		})
	}
}

func loadAnnals(store eventstore.Store, streams, length int) func(context.Context, time.Duration) (sample, error) {
	return loads(streams, length, func(ctx context.Context, stream int) (int, error) {
		n, bytes := 0, 0
		for e, err := range store.ReadStream(ctx, filled(stream), eventstore.StreamQuery{}) {
			if err != nil {
				return 0, err
			}
			n, bytes = n+1, bytes+len(e.Payload)
		}
		return n, wantBytes(bytes, n)
	})
}

func loadByHand(pool *pgxpool.Pool, streams, length int) func(context.Context, time.Duration) (sample, error) {
	const sql = `SELECT ` + columnsByHand + ` FROM ` + byHand + ` WHERE category = $1 AND stream_id = $2 ORDER BY version`
	return loads(streams, length, func(ctx context.Context, stream int) (int, error) {
		s := filled(stream)
		rows, err := pool.Query(ctx, sql, s.Category, s.ID)
		if err != nil {
			return 0, err
		}
		var payloads [][]byte
		n, err := scan(rows, func(r *row) { payloads = append(payloads, r.payload) })
		if err != nil {
			return 0, err
		}
		return n, wantBytes(size(payloads), n)
	})
}

func size(payloads [][]byte) int {
	n := 0
	for _, p := range payloads {
		n += len(p)
	}
	return n
}

// wantBytes shows that the payloads have been read.
func wantBytes(got, events int) error {
	if got != events*payloadBytes {
		return fmt.Errorf("read %d events: got %d bytes, want %d", events, got, events*payloadBytes)
	}
	return nil
}
