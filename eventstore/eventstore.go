// Package eventstore is the port of the event store: append with an expected
// version, read a stream, read the log. Package postgres implements it for
// production, package memory for unit tests; eventstoretest is the suite that
// both pass.
//
// # Ordering
//
// The events of a stream have versions 1, 2, 3 and so on, without holes. The
// log orders all events by position, and for one stream in the order of their
// versions. What a reader of the log has been given is final: no event appears
// later at or before Page.Next.
//
// # Failure
//
// An append is atomic: all of its events are stored, next to each other in
// their stream, or none is. Its outcome is one of three: stored (no error),
// rejected (any error that does not match ErrOutcomeUnknown), or unknown. An
// unknown outcome is resolved by appending the same events with the same ids
// again, which stores nothing twice.
package eventstore

import (
	"context"
	"iter"

	"github.com/annals-go/annals/event"
)

// Store appends events to streams and reads streams. Implementations are safe
// for concurrent use, unless they are bound to a transaction.
type Store interface {
	// Append stores the events in the given order at the end of the stream, if
	// the stream meets expect, and makes ids for those that have none. On success
	// the events are durable, and visible to every read that starts later.
	//
	// It is idempotent: events that all are in the stream already, with the
	// same ids and content (name, schema version, content type, payload; not
	// metadata), are not stored again; the first result is returned with
	// Repeated set, whatever expect says.
	//
	// Errors: *ConflictError (ErrConflict), *IDReusedError (ErrIDReused),
	// *LimitError (ErrLimit), *event.NameError, ErrNoEvents, ErrOutcomeUnknown.
	Append(ctx context.Context, s event.Stream, expect Expect, events ...event.Raw) (Result, error)

	// ReadStream yields the events of a stream in the order of their versions,
	// or against it. It reads in pages, so memory is bounded however long the
	// stream is. A stream that does not exist yields nothing. After an error it
	// yields no more.
	ReadStream(ctx context.Context, s event.Stream, q StreamQuery) iter.Seq2[event.Recorded, error]
}

// Log reads all events of a store in the order of their positions.
type Log interface {
	// ReadLog returns the events after q.After, oldest first, as far as they
	// are final. An empty page says that there are none for now.
	ReadLog(ctx context.Context, q LogQuery) (Page, error)

	// Head returns the position of the newest visible event, 0 for an empty
	// store. Events before it may not be final yet.
	Head(ctx context.Context) (event.Position, error)

	// Wait returns nil when there may be events after the position, and after a
	// poll interval at the latest; the error is that of ctx. It is a hint:
	// callers read again, whatever woke them.
	Wait(ctx context.Context, after event.Position) error
}

// Result says where an append ended.
type Result struct {
	// Version is that of the last event appended.
	Version event.Version
	// Position is that of the last event appended: wait for a projection to
	// reach it to read your own write.
	Position event.Position
	// Repeated: these very events had been appended before.
	Repeated bool
}

// StreamQuery says which events of a stream to read. The zero value reads all,
// oldest first.
type StreamQuery struct {
	// From is the first version to yield. Zero: the oldest, or the newest when
	// reading backward.
	From event.Version
	// Limit is the most events to yield. Zero: no limit.
	Limit int
	// Backward yields the newest first.
	Backward bool
}

// LogQuery says which events of the log to read.
type LogQuery struct {
	// After is the cursor: the Next of the page before, 0 for the beginning.
	After event.Position
	// Limit is the most events of a page. Zero: DefaultPage.
	Limit int
}

// DefaultPage is the Limit of a LogQuery that states none.
const DefaultPage = 500

// Page is one read of the log.
type Page struct {
	// After is that of the query.
	After  event.Position
	Events []event.Recorded
	// Next is the After of the query for the next page. It is After itself when
	// the page is empty.
	Next event.Position
}
