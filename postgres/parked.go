package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/worker"
)

// parkedLimit is how many rows a query without a limit returns.
const parkedLimit = 1000

const (
	// Index: parked_pkey, parked_items_pkey. Lock: none. The rows of a part lie next to
	// each other, so those of one are asked for by its bounds.
	parkedSQL = `
SELECT p.part, p.key, p.state, p.since, p.next_at, p.attempts, p.error, p.stack, p.version, p.history::text, p.owner, p.note, i.events, i.first
FROM {{schema}}.parked p
CROSS JOIN LATERAL (
    SELECT count(*) AS events, coalesce(min(i.seq), 0) AS first
    FROM {{schema}}.parked_items i
    WHERE i.name = p.name
      AND i.part = p.part
      AND i.key = p.key
) i
WHERE p.name = $1
  AND {{part}}
  AND (p.part, p.key) {{behind}} ($3, $4)
  AND {{key}}
  AND ($6 = '' OR p.state = $6)
ORDER BY p.part, p.key
LIMIT $7`

	// Index: parked_items_pkey. Lock: none.
	parkedItemsSQL = `
SELECT i.seq, i.data
FROM {{schema}}.parked_items i
WHERE i.name = $1
  AND i.part = $2
  AND i.key = $3
  AND i.seq > $4
ORDER BY i.seq
LIMIT $5`

	// Index: parked_audits_newest_idx. Lock: none.
	auditsSQL = `
SELECT a.part, a.key, a.at, a.actor, a.action, a.seq, a.detail
FROM {{schema}}.parked_audits a
WHERE a.name = $1
  AND a.at < coalesce($2, 'infinity'::timestamptz)
ORDER BY a.at DESC, a.id DESC
LIMIT $3`
)

// Parked implements worker.Parking.
func (d *DB) Parked(ctx context.Context, q worker.ParkedQuery) ([]worker.Parked, error) {
	// The zero key is before all keys, and an empty one in the empty part is one.
	part, whose, behind, which := "", "$2 = ''", ">", "$5 = ''"
	if q.After == (worker.Key{}) {
		behind = ">="
	}
	if q.Part != nil {
		part, whose = *q.Part, "p.part = $2"
	}
	if q.Key != "" {
		which = "p.key = $5"
	}
	sql := strings.NewReplacer("{{part}}", whose, "{{behind}}", behind, "{{key}}", which).Replace(parkedSQL)
	return collect(ctx, d, "list parked keys of "+q.Name, scanParked, sql, q.Name, part, q.After.Part, q.After.Key, q.Key, string(q.State), orElse(q.Limit, parkedLimit))
}

func scanParked(row pgx.CollectableRow) (worker.Parked, error) {
	var (
		p       worker.Parked
		state   string
		next    *time.Time
		history string
	)
	err := row.Scan(&p.Part, &p.Key.Key, &state, &p.Since, &next, &p.Attempts, &p.Error, &p.Stack, &p.Version, &history, &p.Owner, &p.Note, &p.Events, &p.First)
	if err != nil {
		return p, err
	}
	p.State, p.Since = worker.State(state), p.Since.UTC()
	if next != nil {
		p.Next = next.UTC()
	}
	if err := json.Unmarshal([]byte(history), &p.History); err != nil {
		return p, fmt.Errorf("part %q: key %q: history: %w", p.Part, p.Key.Key, err)
	}
	if len(p.History) == 0 {
		p.History = nil
	}
	return p, nil
}

// Items implements worker.Parking.
func (d *DB) Items(ctx context.Context, name string, key worker.Key, after int64, limit int) ([]worker.Item, error) {
	scan := func(row pgx.CollectableRow) (worker.Item, error) {
		i := worker.Item{Key: key}
		err := row.Scan(&i.Seq, &i.Data)
		return i, err
	}
	return collect(ctx, d, fmt.Sprintf("read items of %s: part %q: key %q", name, key.Part, key.Key), scan, parkedItemsSQL, name, key.Part, key.Key, after, orElse(limit, parkedLimit))
}

// Audits implements worker.Parking.
func (d *DB) Audits(ctx context.Context, name string, before time.Time, limit int) ([]worker.Audit, error) {
	scan := func(row pgx.CollectableRow) (a worker.Audit, err error) {
		err = row.Scan(&a.Part, &a.Key.Key, &a.Time, &a.Actor, &a.Action, &a.Seq, &a.Detail)
		a.Time = a.Time.UTC()
		return a, err
	}
	return collect(ctx, d, "list audits of "+name, scan, auditsSQL, name, timeOrNil(before), orElse(limit, parkedLimit))
}

// collect reads rows with one connection, in the time of one call.
func collect[T any](ctx context.Context, d *DB, what string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	rows, err := d.pool.Query(ctx, d.sql(sql), args...)
	if err == nil {
		var out []T
		if out, err = pgx.CollectRows(rows, scan); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", what, missing(late(ctx, err)))
}

func orElse(limit, most int) int {
	if limit <= 0 {
		return most
	}
	return limit
}
