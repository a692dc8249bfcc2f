package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
)

// appendSQL is the one statement of an append; migrations/003_append.sql says
// what it locks and which promises it keeps.
const appendSQL = `
SELECT outcome, at_version, at_position, taken_id
FROM {{schema}}.append_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Append implements eventstore.Store in a transaction of its own, which it
// shares with other appends of this process when there are many; see
// WithoutGroups. An append that expects any version, or at least one event, and
// loses a race is tried again behind the winner. One whose answer is missing is
// sent again with the same ids, on another connection, until there is an answer
// or the time of the call is over (WithCallTimeout, or sooner the deadline of
// ctx); only then the error matches eventstore.ErrOutcomeUnknown. Errors beside
// those of eventstore.Store: ErrNotMigrated, ErrReplica.
func (d *DB) Append(ctx context.Context, s event.Stream, expect eventstore.Expect, events ...event.Raw) (eventstore.Result, error) {
	prepared, err := eventstore.Prepare(s, events)
	if err != nil {
		return eventstore.Result{}, err
	}
	w := eventstore.PreparedWrite{Stream: s, Expect: expect, Events: prepared}
	var res eventstore.Result
	end := d.end(ctx)
	if err := d.admit(ctx, end, w); err != nil {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", s, err)
	}
	if d.group != nil && groupable(w) {
		res, err = d.group.append(ctx, w, end)
	} else {
		res, err = d.appendAlone(ctx, w, end, nil)
	}
	if err == nil {
		d.Wake() //nolint:contextcheck // a notification is for all appends
	}
	return res, err
}

// appendAlone makes the append in a statement of its own, until it has an answer
// for good or its time is over. It goes on where a group has lost the answer, if
// it is given an error.
func (d *DB) appendAlone(ctx context.Context, w eventstore.PreparedWrite, end time.Time, lost error) (eventstore.Result, error) {
	x := delivery{end: end, timeout: d.callTimeout, lost: lost}
	if lost != nil {
		if err := x.next(ctx, w.Stream.String(), lost); err != nil {
			return eventstore.Result{}, err
		}
	}
	taken := false
	for {
		res, err := d.attempt(ctx, w, taken || x.lost != nil, end)
		if err == nil {
			return res, nil
		}
		taken = taken || isIDTaken(err)
		if err := x.next(ctx, w.Stream.String(), err); err != nil {
			return eventstore.Result{}, err
		}
		w.Events = x.again(w.Events)
	}
}

// attempt holds a connection for one attempt only.
func (d *DB) attempt(ctx context.Context, w eventstore.PreparedWrite, lookUp bool, end time.Time) (eventstore.Result, error) {
	ctx, cancel := limitAttempt(ctx, end)
	defer cancel()
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return eventstore.Result{}, voidError{err, ctx.Err() != nil}
	}
	defer conn.Release()
	return d.append(ctx, conn, w, lookUp)
}

// append makes one attempt; with lookUp it looks for the ids first. The error
// of a lost race is left to the caller.
func (d *DB) append(ctx context.Context, q querier, w eventstore.PreparedWrite, lookUp bool) (eventstore.Result, error) {
	crash.At("postgres.append.sending")
	res, err := scanResult(q.QueryRow(ctx, d.sql(appendSQL), appendArgs(w, lookUp)...), w)
	crash.At("postgres.append.answered")
	return res, err
}

func appendArgs(w eventstore.PreparedWrite, lookUp bool) []any {
	c := newColumns(len(w.Events))
	c.add(w.Events)
	kind, expected := w.Expect.Kind()
	return []any{
		w.Stream.Category, w.Stream.ID, expectNames[kind], int64(expected),
		c.ids, c.names, c.schemas, c.contentTypes, c.payloads, c.metadatas, closes(w.Events), lookUp,
	}
}

// columns are events as the arrays that the functions take.
type columns struct {
	ids                 pgtype.FlatArray[pgtype.UUID] // a type that pgx knows in every mode, also without the server's help
	names, contentTypes []string
	schemas             []int16
	payloads, metadatas [][]byte
}

func newColumns(n int) *columns {
	return &columns{
		make([]pgtype.UUID, 0, n), make([]string, 0, n), make([]string, 0, n), make([]int16, 0, n), make([][]byte, 0, n), make([][]byte, 0, n),
	}
}

func (c *columns) add(events []eventstore.Prepared) {
	for _, e := range events {
		c.ids = append(c.ids, pgtype.UUID{Bytes: e.Metadata.ID, Valid: true})
		c.names = append(c.names, e.Name)
		c.schemas = append(c.schemas, int16(e.Schema))
		c.contentTypes = append(c.contentTypes, e.ContentType)
		payload := e.Payload
		if payload == nil {
			payload = []byte{} // not NULL
		}
		c.payloads = append(c.payloads, payload)
		c.metadatas = append(c.metadatas, e.StoredMetadata)
	}
}

func closes(events []eventstore.Prepared) bool { return events[len(events)-1].Closes }

var expectNames = map[eventstore.ExpectKind]string{
	eventstore.KindAny:    "any",
	eventstore.KindNone:   "none",
	eventstore.KindExists: "exists",
	eventstore.KindExact:  "exact",
}

// told is what a function says about one append.
type told struct {
	outcome           string
	version, position *int64
	taken             *[16]byte
}

func (t *told) scan(row pgx.Row) error {
	return row.Scan(&t.outcome, &t.version, &t.position, &t.taken)
}

// scanResult is the result or refusal that append_v1 returns.
func scanResult(row pgx.Row, w eventstore.PreparedWrite) (eventstore.Result, error) {
	var t told
	if err := t.scan(row); err != nil {
		return eventstore.Result{}, err
	}
	return t.result(w)
}

func (t *told) result(w eventstore.PreparedWrite) (eventstore.Result, error) {
	version := event.Version(*t.version)
	switch t.outcome {
	case "conflict":
		return eventstore.Result{}, &eventstore.ConflictError{Stream: w.Stream, Expected: w.Expect, Actual: version}
	case "closed":
		return eventstore.Result{}, &eventstore.ClosedError{Stream: w.Stream, Version: version}
	case "reused":
		return eventstore.Result{}, &eventstore.IDReusedError{Stream: w.Stream, ID: *t.taken, Version: version}
	case "absent":
		return eventstore.Result{}, errAbsent
	}
	return eventstore.Result{Version: version, Position: event.Position(*t.position), Repeated: t.outcome == "repeated"}, nil
}
