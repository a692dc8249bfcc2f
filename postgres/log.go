package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Index: events_pkey. Lock: none. Promise: P5, together with finalUpTo.
const readLogSQL = `
SELECT ` + eventColumns + `
FROM {{schema}}.read_log_v1($1, $2)`

const boundSQL = `SELECT {{schema}}.log_bound_v1()`

const headSQL = `
SELECT coalesce(max(position), 0)
FROM {{schema}}.events`

// ReadLog implements eventstore.Log. It is one statement while the log has no
// hole after the cursor. At a hole, which an open or rolled-back append leaves,
// it looks once more: first the bound, then the events, each in a statement of
// its own; DESIGN.md says why this order.
func (d *DB) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	if q.Limit <= 0 {
		q.Limit = eventstore.DefaultPage
	}
	page, err := d.readLog(ctx, q)
	if err != nil {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: %w", q.After, missing(err))
	}
	return page, nil
}

func (d *DB) readLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	events, err := d.query(ctx, d.pool, d.sql(readLogSQL), int64(q.After), q.Limit)
	if err != nil {
		return eventstore.Page{}, err
	}
	if finalUpTo(q.After, events, q.After) < len(events) {
		var bound event.Position
		if bound, events, err = d.boundThenEvents(ctx, q); err != nil {
			return eventstore.Page{}, err
		}
		events = events[:finalUpTo(q.After, events, bound)]
	}
	page := eventstore.Page{After: q.After, Events: events, Next: q.After}
	if n := len(events); n > 0 {
		page.Next = events[n-1].Position
	}
	return page, nil
}

// finalUpTo returns how many of the events are final: those up to the bound,
// and those that follow the cursor, or another final event, without a hole.
func finalUpTo(after event.Position, events []event.Recorded, bound event.Position) int {
	for i, e := range events {
		if e.Position > bound && e.Position != after+1 {
			return i
		}
		after = e.Position
	}
	return len(events)
}

// boundThenEvents runs in READ COMMITTED whatever the default of the role or
// database is: at a higher level both statements would share one snapshot, taken
// before the bound was known, and an event committed in between would be skipped.
func (d *DB) boundThenEvents(ctx context.Context, q eventstore.LogQuery) (event.Position, []event.Recorded, error) {
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, nil, err
	}
	defer rollback(ctx, tx)
	var bound int64
	if err := tx.QueryRow(ctx, d.sql(boundSQL)).Scan(&bound); err != nil {
		return 0, nil, err
	}
	events, err := d.query(ctx, tx, d.sql(readLogSQL), int64(q.After), q.Limit)
	return event.Position(bound), events, err
}

// Head implements eventstore.Log.
func (d *DB) Head(ctx context.Context) (event.Position, error) {
	var head int64
	if err := d.pool.QueryRow(ctx, d.sql(headSQL)).Scan(&head); err != nil {
		return 0, fmt.Errorf("read head of log: %w", missing(err))
	}
	return event.Position(head), nil
}

// Wait implements eventstore.Log: it ends when this process has appended, and
// after the poll interval.
func (d *DB) Wait(ctx context.Context, _ event.Position) error {
	d.mu.Lock()
	grown := d.grown
	d.mu.Unlock()
	timer := time.NewTimer(d.poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-grown:
	case <-timer.C:
	}
	return ctx.Err()
}

func (d *DB) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.grown)
	d.grown = make(chan struct{})
}
