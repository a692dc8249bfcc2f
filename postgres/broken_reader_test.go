package postgres_test

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

func belowXmin(ctx context.Context, r *reader) (page, error) {
	return r.pageOf(deliveries(ctx, r.pool, `
SELECT position, stream_id, version
FROM annals.events
WHERE position > $1
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY position
LIMIT $2`, r.after.position, r.limit))
}

func byXID(ctx context.Context, r *reader) (page, error) {
	p, err := r.pageOf(deliveries(ctx, r.pool, `
SELECT position, stream_id, version
FROM annals.events
WHERE (xid, position) > ($1::bigint::text::xid8, $2)
  AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, position
LIMIT $3`, r.after.xid, r.after.position, r.limit))
	if err != nil || len(p.events) == 0 {
		return p, err
	}
	err = r.pool.QueryRow(ctx, `SELECT xid::text::bigint FROM annals.events WHERE position = $1`, p.next.position).Scan(&p.next.xid)
	return p, err
}

// holesGivenUp takes a hole for dead when the event behind it is old.
func holesGivenUp(ctx context.Context, r *reader) (page, error) {
	events, err := r.events(ctx, r.pool, unbounded)
	if err != nil {
		return page{}, err
	}
	before := r.after.position
	for i, e := range events {
		var old bool
		if err := r.pool.QueryRow(ctx, `SELECT recorded_at < now() - interval '10 minutes' FROM annals.events WHERE position = $1`, e.Position).Scan(&old); err != nil {
			return page{}, err
		}
		if e.Position > before+1 && !old {
			events = events[:i]
			break
		}
		before = e.Position
	}
	return r.pageOf(events, nil)
}

func eventsBeforeBound(ctx context.Context, r *reader) (page, error) {
	events, err := r.events(ctx, r.pool, unbounded)
	if err != nil {
		return page{}, err
	}
	bound, err := r.bound(ctx, r.pool)
	for i, e := range events {
		if e.Position > bound {
			events = events[:i]
			break
		}
	}
	return r.pageOf(events, err)
}

func cursorAtBound(ctx context.Context, r *reader) (page, error) {
	bound, err := r.bound(ctx, r.pool)
	if err != nil {
		return page{}, err
	}
	p, err := r.pageOf(r.events(ctx, r.pool, bound))
	if len(p.events) < r.limit {
		p.next.position = max(bound, r.after.position)
	}
	return p, err
}

// atLevel is ReadLog, which looks, and at a hole asks for the bound and looks
// again, with the last two or all three statements in a transaction of a level.
func atLevel(ctx context.Context, r *reader, level pgx.TxIsoLevel, all bool) (page, error) {
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly})
	if err != nil {
		return page{}, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	first := queryer(r.pool)
	if all {
		first = tx
	}
	events, err := r.events(ctx, first, unbounded)
	if n := len(events); err != nil || n == 0 || events[n-1].Position == r.after.position+int64(n) {
		return r.pageOf(events, err)
	}
	bound, err := r.bound(ctx, tx)
	if err != nil {
		return page{}, err
	}
	return r.pageOf(r.events(ctx, tx, bound))
}

// oneStatement has a step in the middle of the statement: after its snapshot
// was taken, and before it reads pg_locks, which is live.
func oneStatement(ctx context.Context, r *reader) (page, error) {
	r.pause()
	keeper, err := r.others.Begin(ctx)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = keeper.Rollback(ctx) }()
	if _, err := keeper.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, gateKey); err != nil {
		return page{}, err
	}
	var p page
	ended := make(chan error, 1)
	go func() {
		var err error
		p, err = r.pageOf(deliveries(ctx, r.others, `
WITH gate AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared($1)
), bound AS MATERIALIZED (
    SELECT (annals.log_bound_v1()).bound AS position
    FROM gate
)
SELECT e.position, e.stream_id, e.version
FROM bound b
JOIN annals.events e ON e.position <= b.position
WHERE e.position > $2
ORDER BY e.position
LIMIT $3`, gateKey, r.after.position, r.limit))
		ended <- err
	}()
	if err := waiting(ctx, r.others, ended); err != nil {
		return page{}, err
	}
	r.pause()
	if err := keeper.Rollback(ctx); err != nil {
		return page{}, err
	}
	err = <-ended
	return p, err
}

// waiting returns when a session of this database waits for a lock, or when
// what was to wait has ended.
func waiting(ctx context.Context, q queryer, ended chan error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var waits bool
		err := q.QueryRow(ctx, `
SELECT EXISTS (
    SELECT
    FROM pg_stat_activity
    WHERE wait_event_type = 'Lock'
      AND datname = current_database()
)`).Scan(&waits)
		if err != nil || waits {
			return err
		}
		select {
		case err := <-ended:
			ended <- err
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
