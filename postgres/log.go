package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Promise of both: P5, together with finalUpTo and tracker.
const (
	// Index: events_pkey. Lock: none.
	readLogSQL = `
SELECT ` + eventColumns + `
FROM {{schema}}.read_log_v1($1, $2, $3)`

	// Index: events_kind_idx, events_pkey. Lock: none.
	readLogWhereSQL = `
SELECT ` + eventColumns + `
FROM {{schema}}.read_log_where_v1($1, $2, $3, $4, $5, $6)`

	headSQL = `
SELECT coalesce(max(position), 0)
FROM {{schema}}.events`

	positionBeforeSQL = `SELECT {{schema}}.position_before_v1($1)`
)

// otherServers bounds how often a read may come to another server than the bound
// did: once after a failover, more often behind a balancer of replicas.
const otherServers = 10

// ReadLog implements eventstore.Log. It is one statement while the log has no
// hole after the cursor. At a hole, which an open or rolled-back append leaves,
// and for a selection, which cannot see holes, it needs the bound: first that,
// then the events, each in a transaction of its own; DESIGN.md says why this
// order.
func (d *DB) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	if q.Limit <= 0 {
		q.Limit = eventstore.DefaultPage
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	page, err := eventstore.Page{}, q.Validate()
	if err == nil {
		page, err = d.readLog(ctx, q)
	}
	for attempt := 1; hasCode(err, codeOtherServer) && attempt < otherServers; attempt++ {
		d.bound.forget()
		d.life.forget()
		page, err = d.readLog(ctx, q)
	}
	if err != nil {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: %w", q.After, missing(late(ctx, err)))
	}
	return page, nil
}

func (d *DB) readLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	since, err := d.since(ctx, q.Server)
	if err != nil {
		return eventstore.Page{}, err
	}
	if q.Filtered() {
		return d.readSelected(ctx, q, since)
	}
	return d.readAll(ctx, q, since)
}

func (d *DB) readAll(ctx context.Context, q eventstore.LogQuery, since time.Time) (eventstore.Page, error) {
	page := eventstore.Page{After: q.After, Next: q.After}
	b := d.bound.on(since)
	blocked, first := d.signal.isBlocked(q.After), q
	if blocked {
		first.Limit = 1 // only to see whether the hole is still there
	}
	events, _, err := d.readPage(ctx, first, b)
	final := finalUpTo(q.After, events, b.upTo)
	if err == nil && blocked && final > 0 {
		d.signal.unblock(q.After)
		events, _, err = d.readPage(ctx, q, b)
		final = finalUpTo(q.After, events, b.upTo)
	}
	if err != nil {
		return page, err
	}
	if final == 0 && len(events) > 0 { // the log goes on, but behind a hole
		if b, err = d.refreshBound(ctx, since); err != nil {
			return page, err
		}
		if b.upTo <= q.After {
			d.signal.block(q.After)
			return page, nil
		}
		if events, _, err = d.readPage(ctx, q, b); err != nil {
			return page, err
		}
		final = finalUpTo(q.After, events, b.upTo)
	}
	page.Events = events[:final]
	if final > 0 {
		page.Next = events[final-1].Position
	}
	return page, nil
}

func (d *DB) readPage(ctx context.Context, q eventstore.LogQuery, b bound) ([]event.Recorded, bool, error) {
	return d.query(ctx, d.pool, d.sql(readLogSQL), int64(q.After), int32(d.pages.most(q.Limit)), b.asked())
}

// asked is the server that a statement has to run on, nil for any.
func (b bound) asked() *time.Time {
	if b.server.IsZero() {
		return nil
	}
	return &b.server
}

// finalUpTo returns how many of the events are final: those up to the bound,
// and those that follow the cursor, or another final event, without a hole.
func finalUpTo(after event.Position, events []event.Recorded, upTo event.Position) int {
	for i, e := range events {
		if e.Position > upTo && e.Position != after+1 {
			return i
		}
		after = e.Position
	}
	return len(events)
}

// readSelected reads up to the bound and never beyond: between two events that
// a query selects, others may lie, or holes.
func (d *DB) readSelected(ctx context.Context, q eventstore.LogQuery, since time.Time) (eventstore.Page, error) {
	page := eventstore.Page{After: q.After, Next: q.After}
	b := d.bound.on(since)
	if b.upTo <= q.After {
		var err error
		if b, err = d.refreshBound(ctx, since); err != nil || b.upTo <= q.After {
			return page, err
		}
	}
	most := d.pages.most(q.Limit)
	events, whole, err := d.query(ctx, d.pool, d.sql(readLogWhereSQL), int64(q.After), int64(b.upTo), int32(most), list(q.Categories), list(q.Names), b.asked())
	if err != nil {
		return page, err
	}
	page.Events, page.Next = events, b.upTo
	if n := len(events); n == most || !whole {
		page.Next = events[n-1].Position
	}
	return page, nil
}

// list is NULL for no selection.
func list(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return names
}

// Head implements eventstore.Log.
func (d *DB) Head(ctx context.Context) (event.Position, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var head int64
	if err := d.pool.QueryRow(ctx, d.sql(headSQL)).Scan(&head); err != nil {
		return 0, fmt.Errorf("read head of log: %w", missing(late(ctx, err)))
	}
	return event.Position(head), nil
}

// PositionBefore implements eventstore.Log with about 50 look-ups in one call.
func (d *DB) PositionBefore(ctx context.Context, t time.Time) (event.Position, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var p int64
	if err := d.pool.QueryRow(ctx, d.sql(positionBeforeSQL), t).Scan(&p); err != nil {
		return 0, fmt.Errorf("find position at %s: %w", t.UTC().Format(time.RFC3339Nano), missing(late(ctx, err)))
	}
	return event.Position(p), nil
}
