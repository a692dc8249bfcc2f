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
	// Index: members_pkey, terms_pkey. Lock: the rows of the holder.
	renewSQL = `SELECT {{schema}}.renew_v1($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	// Index: members_pkey, terms_pkey. Lock: none. Promise: one snapshot.
	rosterSQL = `
SELECT r.member, r.holder, r.segment, r.epoch, r.lease_until > clock_timestamp(), r.lease_until, r.paused, r.error, r.error_at
FROM (
    SELECT true, m.holder, '', 0, m.lease_until, '', '', NULL
    FROM {{schema}}.members m
    WHERE m.name = $1
      AND m.lease_until > clock_timestamp()
    UNION ALL
    SELECT false, t.holder, t.segment, t.epoch, t.lease_until, t.paused, t.error, t.error_at
    FROM {{schema}}.terms t
    WHERE t.name = $1
) r (member, holder, segment, epoch, lease_until, paused, error, error_at)
ORDER BY r.member DESC, r.segment COLLATE "C", r.holder COLLATE "C"`

	// Index: members_pkey. Lock: the row.
	leaveSQL = `
DELETE FROM {{schema}}.members
WHERE name = $1
  AND holder = $2`

	// Index: terms_pkey. Lock: FOR NO KEY UPDATE on the rows, in the order of
	// renew_v1.
	resignSQL = `
UPDATE {{schema}}.terms t
SET lease_until = clock_timestamp(),
    holder = ''
FROM (
    SELECT s.segment
    FROM {{schema}}.terms s
    JOIN unnest($3::text[], $4::bigint[]) AS g (segment, epoch) ON g.segment = s.segment AND g.epoch = s.epoch
    WHERE s.name = $1
      AND s.holder = $2
    ORDER BY s.segment
    FOR NO KEY UPDATE OF s
) mine
WHERE t.name = $1
  AND t.segment = mine.segment`
)

// Renew implements worker.Terms. It is one round trip, and waits for no batch.
func (d *DB) Renew(ctx context.Context, r worker.Renewal) (worker.Roster, error) {
	segments, epochs := termColumns(r.Terms)
	var (
		reported       = slices.Sorted(maps.Keys(r.Reports))
		paused, errors []string
		times          []*time.Time
	)
	for _, segment := range reported {
		report := r.Reports[segment]
		paused, errors, times = append(paused, worker.Cut(report.Paused)), append(errors, worker.Cut(report.Error)), append(times, timeOrNil(report.Time))
	}
	batch := &pgx.Batch{}
	batch.Queue(d.sql(renewSQL), r.Name, r.Holder, r.Lease, segments, epochs, reported, paused, errors, times)
	roster, err := d.roster(ctx, batch, r.Name)
	if err != nil {
		return roster, fmt.Errorf("renew %s for %s: %w", r.Name, r.Holder, err)
	}
	return roster, nil
}

// Roster implements worker.Terms.
func (d *DB) Roster(ctx context.Context, name string) (worker.Roster, error) {
	roster, err := d.roster(ctx, &pgx.Batch{}, name)
	if err != nil {
		return roster, fmt.Errorf("read roster of %s: %w", name, err)
	}
	return roster, nil
}

// roster reads it behind what is in the batch.
func (d *DB) roster(ctx context.Context, batch *pgx.Batch, name string) (worker.Roster, error) {
	var roster worker.Roster
	batch.Queue(d.sql(rosterSQL), name).Query(func(rows pgx.Rows) (err error) {
		roster, err = scanRoster(rows)
		return err
	})
	ctx, cancel := d.limit(ctx)
	defer cancel()
	if err := d.pool.SendBatch(ctx, batch).Close(); err != nil {
		return worker.Roster{}, missing(late(ctx, err))
	}
	return roster, nil
}

func scanRoster(rows pgx.Rows) (worker.Roster, error) {
	var roster worker.Roster
	for rows.Next() {
		var (
			member bool
			s      worker.Seat
			at     *time.Time
		)
		if err := rows.Scan(&member, &s.Holder, &s.Segment, &s.Epoch, &s.Live, &s.Until, &s.Report.Paused, &s.Report.Error, &at); err != nil {
			return roster, err
		}
		if member {
			roster.Members = append(roster.Members, s.Holder)
			continue
		}
		s.Until = s.Until.UTC()
		if at != nil {
			s.Report.Time = at.UTC()
		}
		roster.Seats = append(roster.Seats, s)
	}
	return roster, rows.Err()
}

// Resign implements worker.Terms.
func (d *DB) Resign(ctx context.Context, name, holder string, leave bool, terms ...worker.Term) error {
	segments, epochs := termColumns(terms)
	batch := &pgx.Batch{}
	if leave {
		batch.Queue(d.sql(leaveSQL), name, holder)
	}
	batch.Queue(d.sql(resignSQL), name, holder, segments, epochs)
	ctx, cancel := d.limit(ctx)
	defer cancel()
	if err := d.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("resign %s for %s: %w", name, holder, missing(late(ctx, err)))
	}
	return nil
}

func termColumns(terms []worker.Term) ([]string, []int64) {
	segments, epochs := []string{}, []int64{}
	for _, t := range terms {
		segments, epochs = append(segments, t.Segment), append(epochs, t.Epoch)
	}
	return segments, epochs
}
