package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/transfer"
)

const (
	// The last events of streams. Each is a probe of its own: LATERAL with a LIMIT
	// cannot be turned into a scan.
	// Index: events_version_key. Lock: none.
	lastVersionsSQL = `
SELECT g.place, l.version, l.closes
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS g (category, stream_id, place)
CROSS JOIN LATERAL (
    SELECT e.version, e.closes
    FROM {{schema}}.events e
    WHERE e.category = g.category
      AND e.stream_id = g.stream_id
    ORDER BY e.version DESC
    LIMIT 1
) l`

	// What there is at versions of streams. Index: events_version_key. Lock: none.
	storedAtSQL = `
SELECT g.place, l.event_id, l.name, l.schema_version, l.content_type, l.closes, l.sum
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS g (category, stream_id, version, place)
CROSS JOIN LATERAL (
    SELECT e.event_id, e.name, e.schema_version, e.content_type, e.closes, sha256(e.payload) AS sum
    FROM {{schema}}.events e
    WHERE e.category = g.category
      AND e.stream_id = g.stream_id
      AND e.version = g.version
    LIMIT 1
) l`

	// Whether streams have ids, at any version. With = for category and stream the
	// planner may read a whole stream by events_version_key; compared as rows they
	// are good for the rest of events_id_key alone. Index: events_id_key. Lock: none.
	takenIDsSQL = `
SELECT g.place, l.version
FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS g (category, stream_id, event_id, place)
CROSS JOIN LATERAL (
    SELECT e.version
    FROM {{schema}}.events e
    WHERE e.event_id = g.event_id
      AND (e.category, e.stream_id) >= (g.category, g.stream_id)
      AND (e.category, e.stream_id) <= (g.category, g.stream_id)
    LIMIT 1
) l`
)

// surveyed is how many events are looked up in one statement.
const surveyed = 1000

// place is where the file wants an event, and what it is.
type place struct {
	stream  event.Stream
	version event.Version
	first   bool // of its stream in the file
	at      time.Time

	id          event.ID
	name        string
	schema      int
	contentType string
	closes      bool
	sum         [sha256.Size]byte // of the payload; only to skip what is stored
}

func placeOf(r *transfer.Row, sum bool) place {
	p := place{
		stream: r.Stream, version: r.Version, first: r.First, at: r.RecordedTime,
		id: r.ID, name: r.Name, schema: r.Schema, contentType: r.ContentType, closes: r.Closes,
	}
	if sum {
		p.sum = sha256.Sum256(r.Payload)
	}
	return p
}

// survey compares what is left of the file with the store, before anything is
// stored: the first event of each stream, the ids of streams that go on, and
// every event if some may be there.
func (i *importer) survey(ctx context.Context) error {
	rows := i.file.FirstRows
	if i.config.skip {
		rows = i.file.Rows
	}
	var found *StreamExistsError
	batch := make([]place, 0, surveyed)
	look := func() error {
		e, err := i.compare(ctx, batch)
		switch {
		case err != nil:
			return err
		case e != nil && found != nil:
			found.Found += e.Found
		case e != nil:
			found = e
		}
		batch = batch[:0]
		return nil
	}
	for p, err := range places(rows(ctx, i.events), i.config.skip) {
		if err != nil {
			return err
		}
		if batch = append(batch, p); len(batch) == surveyed {
			if err := look(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		if err := look(); err != nil {
			return err
		}
	}
	if found != nil {
		return found
	}
	return nil
}

func places(rows iter.Seq2[*transfer.Row, error], sum bool) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		for r, err := range rows {
			if err != nil {
				yield(place{}, err)
				return
			}
			if !yield(placeOf(r, sum), nil) {
				return
			}
		}
	}
}

// compare returns what is in the way of some events, nil if nothing is.
func (i *importer) compare(ctx context.Context, batch []place) (first *StreamExistsError, err error) {
	ctx, cancel := context.WithTimeout(ctx, i.config.timeout)
	defer cancel()
	refuse := func(e StreamExistsError) {
		if first == nil {
			first = &e
		}
		first.Found++
	}
	if i.config.skip {
		same, different, err := i.storedAt(ctx, i.db.pool, batch)
		if err != nil {
			return nil, err
		}
		left := make([]place, 0, len(batch))
		for n, p := range batch {
			switch {
			case different[n]:
				refuse(StreamExistsError{Stream: p.stream, FileVersion: p.version, Different: true})
			case !same[n]:
				left = append(left, p)
			}
		}
		batch = left
	}
	if i.fresh == nil && len(batch) > 0 {
		at := batch[0].at
		i.fresh = &at
	}
	if i.config.continued { // else no stream has any
		taken, err := i.takenIDs(ctx, batch)
		if err != nil {
			return nil, err
		}
		for n, p := range batch {
			if taken[n] > 0 && taken[n] != p.version {
				refuse(StreamExistsError{Stream: p.stream, Version: taken[n], FileVersion: p.version, ID: p.id})
			}
		}
	}
	firsts := slices.DeleteFunc(batch, func(p place) bool { return !p.first })
	versions, closed, err := i.lastVersions(ctx, firsts)
	if err != nil {
		return nil, err
	}
	for n, p := range firsts {
		v := versions[n]
		if p.version != v+1 || closed[n] || v > 0 && !i.config.continued {
			refuse(StreamExistsError{Stream: p.stream, Version: v, FileVersion: p.version, Closed: closed[n] && p.version == v+1})
		}
	}
	return first, nil
}

// takenIDs returns the versions at which the streams have the ids, 0 for none.
func (i *importer) takenIDs(ctx context.Context, batch []place) ([]event.Version, error) {
	categories, streams, _ := keys(batch)
	ids := make([]pgtype.UUID, len(batch))
	for n, p := range batch {
		ids[n] = pgtype.UUID{Bytes: p.id, Valid: true}
	}
	rows, err := i.db.pool.Query(ctx, i.db.sql(takenIDsSQL), pgx.QueryExecModeExec, categories, streams, pgtype.FlatArray[pgtype.UUID](ids))
	if err != nil {
		return nil, err
	}
	taken := make([]event.Version, len(batch))
	var n, version int64
	_, err = pgx.ForEachRow(rows, []any{&n, &version}, func() error {
		taken[n-1] = event.Version(version)
		return nil
	})
	return taken, err
}

func (i *importer) lastVersions(ctx context.Context, batch []place) (versions []event.Version, closed []bool, err error) {
	categories, ids, _ := keys(batch)
	// QueryExecModeExec plans anew for each call, as Streams does.
	rows, err := i.db.pool.Query(ctx, i.db.sql(lastVersionsSQL), pgx.QueryExecModeExec, categories, ids)
	if err != nil {
		return nil, nil, err
	}
	versions, closed = make([]event.Version, len(batch)), make([]bool, len(batch))
	var (
		n, version int64
		closes     bool
	)
	_, err = pgx.ForEachRow(rows, []any{&n, &version, &closes}, func() error {
		versions[n-1], closed[n-1] = event.Version(version), closes
		return nil
	})
	return versions, closed, err
}

// storedAt says for each event whether the store has the same one at its
// version, or another one.
func (i *importer) storedAt(ctx context.Context, q rowQuerier, batch []place) (same, different []bool, err error) {
	categories, ids, versions := keys(batch)
	rows, err := q.Query(ctx, i.db.sql(storedAtSQL), pgx.QueryExecModeExec, categories, ids, versions)
	if err != nil {
		return nil, nil, err
	}
	same, different = make([]bool, len(batch)), make([]bool, len(batch))
	var (
		n                 int64
		id                [16]byte
		name, contentType string
		schema            int16
		closes            bool
		sum               []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&n, &id, &name, &schema, &contentType, &closes, &sum}, func() error {
		p := &batch[n-1]
		equal := p.id == event.ID(id) && p.name == name && p.schema == int(schema) && p.contentType == contentType && p.closes == closes &&
			bytes.Equal(p.sum[:], sum)
		same[n-1], different[n-1] = equal, !equal
		return nil
	})
	return same, different, err
}

func keys(batch []place) (categories, ids []string, versions []int64) {
	for _, p := range batch {
		categories, ids, versions = append(categories, p.stream.Category), append(ids, p.stream.ID), append(versions, int64(p.version))
	}
	return categories, ids, versions
}
