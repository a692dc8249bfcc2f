package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// pages measures one reader who reads the log from its beginning, again and
// again.
func pages(limit int, b bar) workload {
	return workload{
		name: fmt.Sprintf("log/pages-of-%d", limit),
		unit: "events/s", measure: perSecond, of: "page", bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) {
			const length = 100
			streams := max(2, l.events/length)
			return openFilled(ctx, l, streams, length, func(store *postgres.DB, pool *pgxpool.Pool) (side, side) {
				events := streams * length
				return side{run: pagesAnnals(store, limit, events)}, side{run: pagesByHand(pool, limit, events)}
			})
		},
	}
}

// pass reads page after page with read, which returns where the next one begins
// and how many events it got. At the end it checks the number of all, and
// begins again.
func pass(events int, read func(ctx context.Context, after int64) (int64, int, error)) func(context.Context, time.Duration) (sample, error) {
	at, got := int64(0), 0
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return closedLoop(ctx, 1, d, func(ctx context.Context, _ int) (int, error) {
			next, n, err := read(ctx, at)
			if err != nil {
				return 0, err
			}
			at, got = next, got+n
			if n == 0 {
				if got != events {
					return 0, fmt.Errorf("read the log: got %d events, want %d", got, events)
				}
				at, got = 0, 0
			}
			return n, nil
		})
	}
}

func pagesAnnals(log eventstore.Log, limit, events int) func(context.Context, time.Duration) (sample, error) {
	return pass(events, func(ctx context.Context, after int64) (int64, int, error) {
		page, err := log.ReadLog(ctx, eventstore.LogQuery{After: event.Position(after), Limit: limit})
		if err != nil {
			return 0, 0, err
		}
		bytes := 0
		for _, e := range page.Events {
			bytes += len(e.Payload)
		}
		return int64(page.Next), len(page.Events), wantBytes(bytes, len(page.Events))
	})
}

// keptPagesByHand keeps the rows of a page until the next one is read, as a loop must that
// does something with all of them at once.
func keptPagesByHand(pool *pgxpool.Pool, limit, events int) func(context.Context, time.Duration) (sample, error) {
	return pass(events, func(ctx context.Context, after int64) (int64, int, error) {
		rows, err := pool.Query(ctx, pageByHand, after, limit)
		if err != nil {
			return 0, 0, err
		}
		page, bytes := make([]row, 0, limit), 0
		n, err := scan(rows, func(r *row) {
			page, bytes = append(page, *r), bytes+len(r.payload)
		})
		if err != nil || n == 0 {
			return after, n, err
		}
		return page[n-1].position, n, wantBytes(bytes, n)
	})
}

const pageByHand = `SELECT ` + columnsByHand + ` FROM ` + byHand + ` WHERE position > $1 ORDER BY position LIMIT $2`

func pagesByHand(pool *pgxpool.Pool, limit, events int) func(context.Context, time.Duration) (sample, error) {
	return pass(events, func(ctx context.Context, after int64) (int64, int, error) {
		rows, err := pool.Query(ctx, pageByHand, after, limit)
		if err != nil {
			return 0, 0, err
		}
		var payloads [][]byte
		n, err := scan(rows, func(r *row) { after, payloads = r.position, append(payloads, r.payload) })
		if err != nil {
			return 0, 0, err
		}
		return after, n, wantBytes(size(payloads), n)
	})
}
