package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/worker"
)

const (
	// Index: events_pkey. Lock: none.
	nowSQL = `
SELECT clock_timestamp(), coalesce(max(position), 0)
FROM {{schema}}.events`

	// The lag of parts without a mark is that of position 0.
	// Index: checkpoints_pkey, terms_pkey, parked_pkey; events_pkey in lag_v1, which
	// bounds what is read. Lock: none.
	partsSQL = `
WITH known AS (
    SELECT c.part FROM {{schema}}.checkpoints c WHERE c.name = $1
    UNION
    SELECT t.segment FROM {{schema}}.terms t WHERE t.name = $1
    UNION
    SELECT p.part FROM {{schema}}.parked p WHERE p.name = $1
),
mark AS (
    SELECT ` + markColumns + `, updated_at
    FROM {{schema}}.checkpoints
    WHERE name = $1
)
SELECT k.part,
       coalesce(m.position, 0),
       coalesce(m.source, ''),
       coalesce(m.next_offset, 0),
       coalesce(m.parts, 0),
       coalesce(m.lineage, ''),
       coalesce(m.server, ''),
       coalesce(m.digest, ''),
       coalesce(m.trail, ''),
       coalesce(m.claim_to, 0),
       coalesce(m.claim_events, 0),
       coalesce(m.claim_times, 0),
       coalesce(m.epoch, 0),
       coalesce(m.revision, 0),
       coalesce(m.seal, ''),
       m.updated_at,
       l.events,
       coalesce(greatest(0, extract(epoch FROM clock_timestamp() - l.since)), 0)::double precision
FROM known k
LEFT JOIN mark m ON m.part = k.part
CROSS JOIN LATERAL {{schema}}.lag_v1(coalesce(m.position, 0), $2) l`

	// Index: parked_pkey. Lock: none.
	parkedStateSQL = `
SELECT p.part,
       count(*) FILTER (WHERE p.state = 'retrying'),
       count(*) FILTER (WHERE p.state = 'waiting'),
       greatest(0, extract(epoch FROM clock_timestamp() - min(p.since)))::double precision
FROM {{schema}}.parked p
WHERE p.name = $1
GROUP BY p.part`

	// Index: parked_items_pkey. Lock: none.
	itemsCountSQL = `
SELECT i.part, count(*)
FROM {{schema}}.parked_items i
WHERE i.name = $1
GROUP BY i.part`

	// Index: checkpoints_pkey, terms_pkey. Lock: none.
	readersSQL = `
SELECT c.name FROM {{schema}}.checkpoints c
UNION
SELECT t.name FROM {{schema}}.terms t
ORDER BY 1`
)

// Status says how a reader does. It is one round trip, and reads a bounded number of
// events: worker.MaxLag for each part. For a reader that is not known it has no parts.
func (d *DB) Status(ctx context.Context, name string) (worker.Status, error) {
	s := worker.Status{Name: name}
	parts := map[string]worker.PartStatus{}
	batch := &pgx.Batch{}
	batch.Queue(d.sql(nowSQL)).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&s.Time, (*int64)(&s.Head))
		s.Time = s.Time.UTC()
		return err
	})
	batch.Queue(d.sql(partsSQL), name, int32(worker.MaxLag+1)).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			p, err := scanPart(rows, name)
			parts[p.Part] = p
			return err
		})
	})
	batch.Queue(d.sql(parkedStateSQL), name).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			var (
				part              string
				retrying, waiting int
				oldest            float64
			)
			err := rows.Scan(&part, &retrying, &waiting, &oldest)
			p := parts[part]
			p.Part, p.Retrying, p.Waiting, p.Oldest = part, retrying, waiting, seconds(oldest)
			parts[part] = p
			return err
		})
	})
	batch.Queue(d.sql(itemsCountSQL), name).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			var (
				part string
				n    int64
			)
			err := rows.Scan(&part, &n)
			p := parts[part]
			p.Part, p.Parked = part, n
			parts[part] = p
			return err
		})
	})
	roster, err := d.roster(ctx, batch, name)
	if err != nil {
		return worker.Status{}, fmt.Errorf("read status of %s: %w", name, err)
	}
	s.Members = roster.Members
	for _, seat := range roster.Seats {
		p := parts[seat.Segment]
		p.Part, p.Seat = seat.Segment, &seat
		parts[seat.Segment] = p
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		p := parts[part]
		if p.Lag > worker.MaxLag {
			p.Lag, p.Estimated = max(p.Lag, int64(s.Head-p.Mark.Position)), true
		}
		s.Parts = append(s.Parts, p)
	}
	return s, nil
}

func scanPart(row pgx.Row, name string) (worker.PartStatus, error) {
	var (
		p       worker.PartStatus
		updated *time.Time
		behind  float64
	)
	m, err := scanMark(row, &updated, &p.Lag, &behind)
	p.Part, p.Mark, p.Behind, p.Altered = m.part, m.Mark, seconds(behind), m.altered(name)
	if updated != nil {
		p.Updated = updated.UTC()
	}
	return p, err
}

func eachRow(rows pgx.Rows, fn func() error) error {
	for rows.Next() {
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// seconds is a time that the server has computed.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Readers returns the names of all that have a checkpoint or a seat, sorted.
func (d *DB) Readers(ctx context.Context) ([]string, error) {
	return collect(ctx, d, "list readers", pgx.RowTo[string], readersSQL)
}
