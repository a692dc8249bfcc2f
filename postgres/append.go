package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// SQLSTATE codes that mean something to the store.
const (
	codeUniqueViolation = "23505"
	codeDeadlock        = "40P01"
	codeSerialization   = "40001"
	codeUndefinedTable  = "42P01"
	codeInvalidSchema   = "3F000"
	codeUndefinedFunc   = "42883"
)

// appendSQL is the one statement of an append; migrations/002_append.sql says
// what it locks and which promises it keeps.
const appendSQL = `
SELECT outcome, at_version, at_position, taken_id
FROM {{schema}}.append_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// rivalAttempts bounds how often an append that lost a race looks again. Each
// lost race means that somebody else's append was stored.
const rivalAttempts = 200

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Append implements eventstore.Store in a transaction of its own. An append
// that expects any version, or at least one event, and loses a race is tried
// again behind the winner.
func (d *DB) Append(ctx context.Context, s event.Stream, expect eventstore.Expect, events ...event.Raw) (eventstore.Result, error) {
	prepared, err := eventstore.Prepare(s, events)
	if err != nil {
		return eventstore.Result{}, err
	}
	lookUp := false
	for attempt := 1; ; attempt++ {
		res, err := d.attempt(ctx, s, expect, prepared, lookUp)
		if err == nil && !res.Repeated {
			d.wake()
		}
		if !isRival(err) {
			return res, err
		}
		lookUp = lookUp || isIDTaken(err)
		if attempt == rivalAttempts {
			return res, fmt.Errorf("append %s: lost %d races: %w: %w", s, attempt, eventstore.ErrConflict, err)
		}
		if pauseErr := pause(ctx, attempt); pauseErr != nil {
			return res, fmt.Errorf("append %s: %w, after: %w", s, pauseErr, err)
		}
	}
}

// attempt holds a connection for one attempt only.
func (d *DB) attempt(ctx context.Context, s event.Stream, expect eventstore.Expect, prepared []eventstore.Prepared, lookUp bool) (eventstore.Result, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", s, err) // nothing was sent
	}
	defer conn.Release()
	res, err := d.append(ctx, conn, s, expect, prepared, lookUp)
	return res, outcome(s, err)
}

// append makes one attempt; with lookUp it looks for the ids first. The error
// of a lost race is left to the caller.
func (d *DB) append(ctx context.Context, q querier, s event.Stream, expect eventstore.Expect, prepared []eventstore.Prepared, lookUp bool) (eventstore.Result, error) {
	kind, expected := expect.Kind()
	var (
		n            = len(prepared)
		ids          = make([][16]byte, n)
		names        = make([]string, n)
		schemas      = make([]int16, n)
		contentTypes = make([]string, n)
		payloads     = make([][]byte, n)
		metadatas    = make([][]byte, n)
	)
	for i, p := range prepared {
		ids[i], names[i], schemas[i], contentTypes[i] = p.Metadata.ID, p.Name, int16(p.Schema), p.ContentType
		payloads[i], metadatas[i] = p.Payload, p.StoredMetadata
		if payloads[i] == nil {
			payloads[i] = []byte{}
		}
	}
	var (
		what     string
		version  *int64
		position *int64
		id       *[16]byte
	)
	err := q.QueryRow(ctx, d.sql(appendSQL), s.Category, s.ID, expectNames[kind], int64(expected),
		ids, names, schemas, contentTypes, payloads, metadatas, lookUp).Scan(&what, &version, &position, &id)
	if err != nil {
		return eventstore.Result{}, err
	}
	switch what {
	case "conflict":
		return eventstore.Result{}, &eventstore.ConflictError{Stream: s, Expected: expect, Actual: event.Version(*version)}
	case "reused":
		return eventstore.Result{}, &eventstore.IDReusedError{Stream: s, ID: *id, Version: event.Version(*version)}
	}
	return eventstore.Result{Version: event.Version(*version), Position: event.Position(*position), Repeated: what == "repeated"}, nil
}

var expectNames = map[eventstore.ExpectKind]string{
	eventstore.KindAny:    "any",
	eventstore.KindNone:   "none",
	eventstore.KindExists: "exists",
	eventstore.KindExact:  "exact",
}

// isRival reports an error that only says that another transaction was quicker:
// the next attempt sees what it stored.
func isRival(err error) bool {
	var pg *pgconn.PgError
	return isTaken(err) || errors.As(err, &pg) && (pg.Code == codeDeadlock || pg.Code == codeSerialization)
}

// isTaken reports that another append has taken the version or one of the ids.
func isTaken(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == codeUniqueViolation && (pg.ConstraintName == "events_version_key" || pg.ConstraintName == "events_id_key")
}

// isIDTaken reports a rival, or an earlier append, with one of the ids.
func isIDTaken(err error) bool {
	var pg *pgconn.PgError
	return isTaken(err) && errors.As(err, &pg) && pg.ConstraintName == "events_id_key"
}

// pause waits a little, at random, so that rivals spread out. The error is that
// of ctx.
func pause(ctx context.Context, attempt int) error {
	if attempt == 1 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(time.Duration(min(attempt, 20)) * time.Millisecond)):
		return nil
	}
}

// outcome wraps the error of an append that ran in its own transaction. The
// server answers a statement that it has rejected, and keeps the connection.
// Without such an answer, or with one that ends the connection, the events may
// be stored: also when a pooler in between gives it.
func outcome(s event.Stream, err error) error {
	if err == nil || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrIDReused) {
		return err
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || leavesOpen(pg) {
		return fmt.Errorf("append %s: %w: %w", s, eventstore.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("append %s: %w", s, missing(err))
}

func leavesOpen(pg *pgconn.PgError) bool {
	if pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC" || pg.Code == "40003" {
		return true
	}
	for _, class := range []string{"08", "57P", "58", "XX"} {
		if strings.HasPrefix(pg.Code, class) {
			return true
		}
	}
	return false
}

// missing adds the remedy to an error that says that the schema is not there.
func missing(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == codeUndefinedTable || pg.Code == codeInvalidSchema || pg.Code == codeUndefinedFunc) {
		return fmt.Errorf("%w, run annals migrate: %w", ErrNotMigrated, err)
	}
	return err
}
