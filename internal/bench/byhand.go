package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// byHand is the table that somebody would write without Annals: the same
// columns, the keys it cannot do without, no trigger.
const byHand = "events_by_hand"

// sameIndexes is byHand with every index of Annals' own table.
const sameIndexes = "events_same_indexes"

func createByHand(ctx context.Context, pool *pgxpool.Pool, table string) error {
	_, err := pool.Exec(ctx, `
CREATE TABLE `+table+` (
    position       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category       text        NOT NULL,
    stream_id      text        NOT NULL,
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    name           text        NOT NULL,
    schema_version smallint    NOT NULL,
    content_type   text        NOT NULL,
    payload        bytea       NOT NULL,
    metadata       bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (category, stream_id, version)
)`)
	if err == nil && table == sameIndexes {
		_, err = pool.Exec(ctx, `ALTER TABLE `+table+` ADD UNIQUE (event_id, category, stream_id)`)
	}
	return err
}

// write appends events to a stream that is at the version.
type write func(ctx context.Context, s event.Stream, at event.Version, events []event.Raw) error

// writeAnnals checks the version, as every append of Annals does.
func writeAnnals(store eventstore.Store) write {
	return func(ctx context.Context, s event.Stream, at event.Version, events []event.Raw) error {
		_, err := store.Append(ctx, s, eventstore.Exactly(at), events...)
		return err
	}
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// writeByHand checks nothing.
func writeByHand(db execer, table string) write {
	const columns = ` (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata) `
	one := `INSERT INTO ` + table + columns + `VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	many := `INSERT INTO ` + table + columns + `
SELECT $1, $2, version, event_id, name, schema_version, content_type, payload, metadata
FROM unnest($3::bigint[], $4::uuid[], $5::text[], $6::smallint[], $7::text[], $8::bytea[], $9::bytea[])
     AS g (version, event_id, name, schema_version, content_type, payload, metadata)`
	none := []byte("{}")
	return func(ctx context.Context, s event.Stream, at event.Version, events []event.Raw) error {
		if len(events) == 1 {
			e := events[0]
			_, err := db.Exec(ctx, one, s.Category, s.ID, int64(at)+1, [16]byte(event.NewID()), e.Name, int16(e.Schema), e.ContentType, e.Payload, none)
			return err
		}
		var (
			n            = len(events)
			versions     = make([]int64, n)
			ids          = make([][16]byte, n)
			names        = make([]string, n)
			schemas      = make([]int16, n)
			contentTypes = make([]string, n)
			payloads     = make([][]byte, n)
			metadatas    = make([][]byte, n)
		)
		for i, e := range events {
			versions[i], ids[i], names[i], schemas[i] = int64(at)+int64(i)+1, event.NewID(), e.Name, int16(e.Schema)
			contentTypes[i], payloads[i], metadatas[i] = e.ContentType, e.Payload, none
		}
		_, err := db.Exec(ctx, many, s.Category, s.ID, versions, ids, names, schemas, contentTypes, payloads, metadatas)
		return err
	}
}

const columnsByHand = `position, category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, recorded_at`

// row is what a reader by hand scans a row into.
type row struct {
	position    int64
	category    string
	stream      string
	version     int64
	id          [16]byte
	name        string
	schema      int16
	contentType string
	payload     []byte
	metadata    []byte
	at          time.Time
}

// scan gives each row to fn and returns how many there were. The variables are
// used again for the next row; the payload, which pgx copies, is fn's to keep.
func scan(rows pgx.Rows, fn func(*row)) (int, error) {
	defer rows.Close()
	var r row
	n := 0
	for rows.Next() {
		err := rows.Scan(&r.position, &r.category, &r.stream, &r.version, &r.id, &r.name, &r.schema, &r.contentType, &r.payload, &r.metadata, &r.at)
		if err != nil {
			return n, fmt.Errorf("scan: %w", err)
		}
		fn(&r)
		n++
	}
	return n, rows.Err()
}
