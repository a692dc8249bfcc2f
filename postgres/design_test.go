package postgres_test

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// design is one way to give the log an order: the one of Annals, or one that is
// simpler and wrong. A broken design stays here with the scripts that show what
// is wrong with it, so that nobody has to find it out again.
type design struct {
	name   string
	edits  []edit // of Annals' functions
	change string // SQL that a migrated database runs after them
	read   func(context.Context, *reader) (page, error)
	alone  bool    // any transaction on the server changes what it does
	caught []catch // the scripts that it fails
}

// catch is a script that a broken design fails, and what the script then says.
type catch struct{ script, says string }

// edit replaces a piece of one of Annals' functions. In all its texts
// {{namespace}} is the number of the schema in the keys of locks.
type edit struct{ function, from, to string }

var annals = design{name: "annals", read: readLog}

// selective reads what a selection of names gives, which here is everything. It
// cannot see holes, so it has the bound alone to go by.
var selective = design{name: "annals with a selection", read: func(ctx context.Context, r *reader) (page, error) {
	return readQuery(ctx, r, eventstore.LogQuery{Names: []string{"order.noted", "order.unknown"}})
}}

// reader is a subscriber to the log. It has connections of its own, so that a
// script can run other sessions between the statements of one read.
type reader struct {
	pool      *pgxpool.Pool // calls step before each statement
	db        *postgres.DB  // on that pool
	others    *pgxpool.Pool // does not
	step      func()        // nil: do nothing
	limit     int
	after     cursor
	delivered []delivery
}

type cursor struct{ position, xid int64 }

type delivery struct {
	Position int64
	Stream   string
	Version  int64
}

// String is the stream's name, and the version after the first.
func (d delivery) String() string {
	if d.Version == 1 {
		return d.Stream
	}
	return fmt.Sprintf("%s@%d", d.Stream, d.Version)
}

type page struct {
	events []delivery
	next   cursor
}

func (r *reader) pause() {
	if r.step != nil {
		r.step()
	}
}

// TraceQueryStart makes a reader the tracer of its own connections.
func (r *reader) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	r.pause()
	return ctx
}

func (r *reader) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// readLog is the reader of Annals.
func readLog(ctx context.Context, r *reader) (page, error) {
	return readQuery(ctx, r, eventstore.LogQuery{})
}

func readQuery(ctx context.Context, r *reader, q eventstore.LogQuery) (page, error) {
	q.After, q.Limit = event.Position(r.after.position), r.limit
	p, err := r.db.ReadLog(ctx, q)
	out := page{next: cursor{position: int64(p.Next)}}
	for _, e := range p.Events {
		out.events = append(out.events, delivery{int64(e.Position), e.Stream.ID, int64(e.Version)})
	}
	return out, err
}

// poll reads one page and reports whether the cursor has moved.
func (r *reader) poll(ctx context.Context, d design) (bool, error) {
	p, err := d.read(ctx, r)
	if err != nil {
		return false, fmt.Errorf("read with design %s: %w", d.name, err)
	}
	moved := p.next != r.after
	r.after = p.next
	r.delivered = append(r.delivered, p.events...)
	return moved, nil
}

// pageOf is the page whose cursor stands at its last event.
func (r *reader) pageOf(events []delivery, err error) (page, error) {
	p := page{events: events, next: r.after}
	if n := len(events); n > 0 {
		p.next.position = events[n-1].Position
	}
	return p, err
}

type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func deliveries(ctx context.Context, q queryer, sql string, args ...any) ([]delivery, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[delivery])
}

// events are those after the cursor, up to a bound.
func (r *reader) events(ctx context.Context, q queryer, bound int64) ([]delivery, error) {
	return deliveries(ctx, q, `
SELECT position, stream_id, version
FROM annals.events
WHERE position > $1
  AND position <= $2
ORDER BY position
LIMIT $3`, r.after.position, bound, r.limit)
}

const unbounded = int64(math.MaxInt64)

func (r *reader) bound(ctx context.Context, q queryer) (bound int64, err error) {
	err = q.QueryRow(ctx, `SELECT bound FROM annals.log_bound_v1()`).Scan(&bound)
	return bound, err
}

// apply makes a migrated database one of the design.
func (d design) apply(ctx context.Context, pool *pgxpool.Pool) error {
	if len(d.edits) == 0 && d.change == "" {
		return nil
	}
	var namespace string
	err := pool.QueryRow(ctx, `
SELECT coalesce(substring(prosrc FROM '\((\d+)::bigint << 48'), '')
FROM pg_proc
WHERE oid = 'annals.mark_append'::regproc`).Scan(&namespace)
	if err != nil || namespace == "" {
		return fmt.Errorf("find the namespace in mark_append: %q, %w", namespace, err)
	}
	fill := func(sql string) string { return strings.ReplaceAll(sql, "{{namespace}}", namespace) }
	functions := map[string]string{}
	for _, e := range d.edits {
		if functions[e.function] == "" {
			var text string
			err := pool.QueryRow(ctx, `
SELECT coalesce(string_agg(pg_get_functiondef(oid), ''), '')
FROM pg_proc
WHERE pronamespace = 'annals'::regnamespace
  AND proname = $1`, e.function).Scan(&text)
			if err != nil {
				return err
			}
			functions[e.function] = text
		}
		if n := strings.Count(functions[e.function], fill(e.from)); n != 1 {
			return fmt.Errorf("design %s: %q is %d times in %s, want once: mend the design", d.name, e.from, n, e.function)
		}
		functions[e.function] = strings.Replace(functions[e.function], fill(e.from), fill(e.to), 1)
	}
	for name, text := range functions {
		if _, err := pool.Exec(ctx, text); err != nil {
			return fmt.Errorf("design %s: edit %s: %w", d.name, name, err)
		}
	}
	if _, err := pool.Exec(ctx, fill(d.change)); err != nil {
		return fmt.Errorf("design %s: %w", d.name, err)
	}
	return nil
}
