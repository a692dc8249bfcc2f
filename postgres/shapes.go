package postgres

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
)

// shapesSQL counts what a run of the log holds, by shape and by slice of $3
// positions. There is no index by schema version, and none is kept for this
// alone: it reads every row of the run, and nothing of what is stored beside
// the table. A run has a number of events and not of positions, so holes of any
// size cost nothing.
//
// Index: events_pkey, for the run. Lock: none. Promise: each visible event is
// counted, so a shape is found if it has a single one.
const shapesSQL = `
SELECT e.name, e.schema_version, e.content_type, count(*), min(e.position), max(e.position)
FROM (
    SELECT position, name, schema_version, content_type
    FROM {{schema}}.events
    WHERE position > $1
      AND position <= $2
    ORDER BY position
    LIMIT $4
) e
GROUP BY e.name, e.schema_version, e.content_type, e.position / $3`

// Index: events_pkey, one probe for each end. Lock: none.
const rangeSQL = `
SELECT coalesce(min(e.position), 0), coalesce(max(e.position), 0)
FROM {{schema}}.events e`

// Index: events_pkey, one probe for each position. Lock: none.
const eventsAtSQL = `
SELECT ` + eventColumns + `
FROM {{schema}}.events
WHERE position = ANY ($1)
ORDER BY position
LIMIT $2`

const (
	// shapesRun is how many events one statement of Shapes counts.
	shapesRun = 100_000
	// shapesSlices is into how many parts of equal length the log is cut, for samples.
	shapesSlices = 4096
)

// StoredShape says what is stored under a name and a schema version.
type StoredShape struct {
	Name        string
	Schema      int
	ContentType string
	// Events is how many there are.
	Events int64
	// First and Last are positions of the oldest and the newest of them.
	First, Last event.Position
	// Samples are positions of First, Last and others spread between them, ascending.
	Samples []event.Position
}

// Shapes lists what the log holds: every name, schema version and content type that
// a visible event has, if it is a single one, sorted by name, schema version and
// content type. Each has up to samples positions to look at, and at least First and
// Last; a shape with few events that lie close to each other in a long log may have
// fewer.
//
// It reads every event but its payload, in statements of
// 100,000 events, each of which ends within the call timeout. Appends go on
// meanwhile; what is appended after it began is not listed. It needs the rights of
// RoleRead.
//
// Errors: ErrNotMigrated.
func (d *DB) Shapes(ctx context.Context, samples int) ([]StoredShape, error) {
	var first, last event.Position
	err := d.scan(ctx, rangeSQL, nil, []any{(*int64)(&first), (*int64)(&last)}, func() {})
	if err != nil {
		return nil, fmt.Errorf("list shapes: %w", err)
	}
	c := shapeCount{}
	width := max(1, int64(last-first)/shapesSlices)
	for after := event.Position(0); after < last; {
		before, events := after, int64(0)
		var s StoredShape
		err := d.scan(ctx, shapesSQL, []any{int64(after), int64(last), width, shapesRun},
			[]any{&s.Name, &s.Schema, &s.ContentType, &s.Events, (*int64)(&s.First), (*int64)(&s.Last)}, func() {
				c.add(s)
				after = max(after, s.Last)
				events += s.Events
			})
		if err != nil {
			return nil, fmt.Errorf("list shapes behind position %d: %w", before, err)
		}
		if events < shapesRun {
			break
		}
	}
	return c.shapes(samples), nil
}

// scan calls fn for each row, within the call timeout. The statement is planned anew:
// a plan that was kept from the time when the table was empty would scan and sort it.
func (d *DB) scan(ctx context.Context, sql string, args, into []any, fn func()) error {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	rows, err := d.pool.Query(ctx, d.sql(sql), append([]any{pgx.QueryExecModeExec}, args...)...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, func() error { fn(); return nil })
	}
	return missing(late(ctx, err))
}

type shapeKey struct {
	name        string
	schema      int
	contentType string
}

// shapeCount adds up the slices of each shape.
type shapeCount map[shapeKey]*StoredShape

func (c shapeCount) add(part StoredShape) {
	k := shapeKey{part.Name, part.Schema, part.ContentType}
	s := c[k]
	if s == nil {
		s = &StoredShape{Name: part.Name, Schema: part.Schema, ContentType: part.ContentType, First: part.First}
		c[k] = s
	}
	s.Events += part.Events
	s.First, s.Last = min(s.First, part.First), max(s.Last, part.Last)
	s.Samples = append(s.Samples, part.First, part.Last)
}

func (c shapeCount) shapes(samples int) []StoredShape {
	all := []StoredShape{}
	for _, s := range slices.SortedFunc(maps.Values(c), func(a, b *StoredShape) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.ContentType, b.ContentType))
	}) {
		slices.Sort(s.Samples)
		s.Samples = spread(slices.Compact(s.Samples), max(2, samples))
		all = append(all, *s)
	}
	return all
}

// spread returns most of the positions, the first and the last among them, at equal
// distances.
func spread(all []event.Position, most int) []event.Position {
	if len(all) <= most {
		return all
	}
	out := make([]event.Position, most)
	for i := range out {
		out[i] = all[i*(len(all)-1)/(most-1)]
	}
	return out
}

// EventsAt yields the events at the positions, ascending. A position that has none is
// passed over. It yields what is visible, final or not, so it is no way to follow the
// log. It holds a page in memory and no connection while it yields. Errors:
// ErrNotMigrated.
func (d *DB) EventsAt(ctx context.Context, positions ...event.Position) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) {
		left := make([]int64, len(positions))
		for i, p := range positions {
			left[i] = int64(p)
		}
		slices.Sort(left)
		for len(left) > 0 {
			most := d.pages.most(streamPage)
			page, cancel := d.limit(ctx)
			events, whole, err := d.query(page, d.pool, d.sql(eventsAtSQL), left, most)
			err = late(page, err)
			cancel()
			if err != nil {
				yield(event.Recorded{}, fmt.Errorf("read events at positions: %w", missing(err)))
				return
			}
			for i := range events {
				if !yield(events[i], nil) {
					return
				}
			}
			if whole && len(events) < most {
				return
			}
			last := int64(events[len(events)-1].Position)
			left = slices.DeleteFunc(left, func(p int64) bool { return p <= last })
		}
	}
}
