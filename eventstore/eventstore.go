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
// later at or before Page.Next, also none that a filter would have selected.
//
// # Failure
//
// An append is atomic: all of its events are stored, next to each other in
// their stream, or none is. Its outcome is one of three: stored (no error),
// rejected (any error that does not match ErrOutcomeUnknown), or unknown. A store
// finds out by itself what became of an append whose answer was lost, for as long
// as the call may take. What is unknown then is resolved by appending the same
// events with the same ids again, which stores nothing twice.
package eventstore

import (
	"context"
	"iter"
	"time"

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
	// same ids and content (name, schema version, content type, payload, and
	// whether it closes the stream; not metadata), are not stored again; the
	// first result is returned with Repeated set, whatever expect says.
	//
	// An event with Closes set is the last of its stream: every later append
	// that is not a repeat gets a *ClosedError.
	//
	// Errors: *ConflictError (ErrConflict), *ClosedError (ErrClosed),
	// *IDReusedError (ErrIDReused), *LimitError (ErrLimit), *event.NameError,
	// ErrMetadataText, ErrMetadataTime, ErrNoEvents, ErrNotLast, ErrOutcomeUnknown.
	// When ctx ends while the append is on its way, the error matches
	// ErrOutcomeUnknown too, and never ErrConflict.
	Append(ctx context.Context, s event.Stream, expect Expect, events ...event.Raw) (Result, error)

	// AppendAll makes one append to each of several streams: all of them are
	// stored or none is, and they become visible in one moment. Positions are in
	// the order of the streams' names, and the results in the order given. A
	// repeat is one of all the writes together. Errors are those of Append, for
	// one of the streams, and ErrStreamTwice.
	AppendAll(ctx context.Context, writes ...Write) ([]Result, error)

	// ReadStream yields the events of a stream in the order of their versions,
	// or against it. It reads in pages, so memory is bounded however long the
	// stream is. A stream that does not exist yields nothing. After an error it
	// yields no more.
	ReadStream(ctx context.Context, s event.Stream, q StreamQuery) iter.Seq2[event.Recorded, error]
}

// Log reads all events of a store in the order of their positions.
type Log interface {
	// ReadLog returns the events after q.After, oldest first, as far as they
	// are final. There is no more for now when Page.Next is q.After. The errors
	// of a bad query are *event.NameError.
	ReadLog(ctx context.Context, q LogQuery) (Page, error)

	// Head returns the position of the newest visible event, 0 for an empty
	// store. Events before it may not be final yet.
	Head(ctx context.Context) (event.Position, error)

	// PositionBefore returns the cursor for the events recorded at or after t:
	// the LogQuery.After to read them with. It goes by the clock of the store,
	// which orders nothing: events appended within the same milliseconds as t
	// may lie on either side, and more do if the clock was set back.
	PositionBefore(ctx context.Context, t time.Time) (event.Position, error)

	// Lineage returns the generations of the log: what a reader compares with the
	// one that its checkpoint was made in. A store that can be set back, by a
	// restore or a failover, begins a generation when it was.
	Lineage(ctx context.Context) (Lineage, error)

	// Wait returns nil when there may be events after the position, and after a
	// poll interval at the latest; the error is that of ctx. It is a hint:
	// callers read again, whatever woke them.
	Wait(ctx context.Context, after event.Position) error
}

// Listener is what a Log can be as well, if events of other processes can wake
// its readers before their poll interval is over.
type Listener interface {
	// Listen wakes whoever waits in Log.Wait until ctx ends, and returns nil
	// then. It is a hint that may be lost at any time: what Listen does never
	// decides what a reader sees. Several may run at once.
	Listen(ctx context.Context) error
}

// Write is an append to one stream, as a part of AppendAll.
type Write struct {
	Stream event.Stream
	Expect Expect
	Events []event.Raw
}

// Result says where an append ended.
type Result struct {
	// Version is that of the last event appended.
	Version event.Version
	// Position is that of the last event appended: wait for a projection to
	// reach it to read your own write.
	Position event.Position
	// Repeated: these very events had been appended before, by an earlier call, or
	// by an earlier attempt of this one, whose answer was lost. The two cannot be
	// told apart.
	Repeated bool
}

// StreamQuery says which events of a stream to read. The zero value reads all,
// oldest first.
type StreamQuery struct {
	// From is the first version to yield. Zero or less: the oldest, or the newest
	// when reading backward.
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
	// Limit is the most events of a page. Zero: DefaultPage. A page of large
	// events may be shorter: PageBytes bounds its memory.
	Limit int
	// Categories and Names, if not empty, select events: of any of the
	// categories, and with any of the names. What is not selected costs nothing,
	// however much there is of it.
	Categories []string
	Names      []string
	// Server, if not empty, is the Generation.Server that the reader goes on in. If
	// the log is held by another one by now, nothing is returned and the error
	// matches ErrOtherServer: the history may be another one.
	Server string
}

// PageBytes is about how many bytes of payload and metadata a page holds at
// most. One event is always returned.
const PageBytes = 8 << 20

// Filtered reports whether the query selects events.
func (q LogQuery) Filtered() bool { return len(q.Categories) > 0 || len(q.Names) > 0 }

// DefaultPage is the Limit of a LogQuery that states none.
const DefaultPage = 500

// Validate returns a *event.NameError if a category or a name cannot be one.
func (q LogQuery) Validate() error {
	for _, c := range q.Categories {
		if err := event.ValidateCategory(c); err != nil {
			return err
		}
	}
	for _, n := range q.Names {
		if err := event.ValidateName(n); err != nil {
			return err
		}
	}
	return nil
}

// Page is one read of the log.
type Page struct {
	// After is that of the query.
	After  event.Position
	Events []event.Recorded
	// Next is the After of the query for the next page. Everything up to it has
	// been read, also what was not selected. It is After itself if there is
	// nothing more for now.
	Next event.Position
}

// All yields what ReadLog returns from q.After on, page by page, until there is
// nothing more for now. After an error it yields no more.
func All(ctx context.Context, log Log, q LogQuery) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) {
		for {
			page, err := log.ReadLog(ctx, q)
			if err != nil {
				yield(event.Recorded{}, err)
				return
			}
			for _, e := range page.Events {
				if !yield(e, nil) {
					return
				}
			}
			if page.Next == q.After {
				return
			}
			q.After = page.Next
		}
	}
}
