package eventstore

import (
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
)

var (
	// ErrConflict is matched by *ConflictError: nothing was appended.
	ErrConflict = errors.New("version conflict")
	// ErrIDReused is matched by *IDReusedError: nothing was appended.
	ErrIDReused = errors.New("event id reused")
	// ErrLimit is matched by *LimitError: nothing was sent to the store.
	ErrLimit = errors.New("limit exceeded")
	// ErrNoEvents says that an append was given no event.
	ErrNoEvents = errors.New("no events")
	// ErrClosed is matched by *ClosedError: nothing was appended.
	ErrClosed = errors.New("stream is closed")
	// ErrNotLast says that an event which is not the last of its append closes
	// the stream.
	ErrNotLast = errors.New("closes the stream, but is not the last event of the append")
	// ErrStreamTwice says that two writes of one AppendAll are to the same stream.
	ErrStreamTwice = errors.New("more than one write to the stream")
	// ErrOutcomeUnknown says that the answer to an append was lost, and that the
	// store could not find out in time what became of it: its events are stored or
	// not, or will be in a moment. Append them again, with the same ids, to find
	// out: they are never stored twice. Stored, ErrIDReused and ErrClosed are the
	// end of it, and so is a *ConflictError whose stream is beyond what the append
	// expected. One whose stream has not come there yet is not, while the first
	// append may still be under way.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// ConflictError says that a stream was not where an append expected it.
type ConflictError struct {
	Stream   event.Stream
	Expected Expect
	// Actual is the version of the stream's last event. In a transaction that
	// reads from an old snapshot (REPEATABLE READ) it may be higher than this.
	Actual event.Version
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("append %s: expected %s, stream is at %d", e.Stream, e.Expected, e.Actual)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ClosedError says that the stream was closed: its last event is the last for ever.
type ClosedError struct {
	Stream event.Stream
	// Version is that of the event that closed it.
	Version event.Version
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("append %s: stream was closed at version %d", e.Stream, e.Version)
}

// Is reports whether target is ErrClosed.
func (e *ClosedError) Is(target error) bool { return target == ErrClosed }

// IDReusedError says that an append used the id of an event that its stream
// already has, for an event with other content, or together with events that
// the first append did not have.
type IDReusedError struct {
	Stream event.Stream
	ID     event.ID
	// Version is where the stream has the id.
	Version event.Version
}

func (e *IDReusedError) Error() string {
	return fmt.Sprintf("append %s: event id %s is already used at version %d for something else", e.Stream, e.ID, e.Version)
}

// Is reports whether target is ErrIDReused.
func (e *IDReusedError) Is(target error) bool { return target == ErrIDReused }

// LimitError says which limit an append exceeds.
type LimitError struct {
	Stream event.Stream // zero: all writes of an AppendAll together
	What   string       // such as "payload bytes of order.placed"
	Got    int
	Max    int
}

func (e *LimitError) Error() string {
	to := "all"
	if e.Stream != (event.Stream{}) {
		to = e.Stream.String()
	}
	return fmt.Sprintf("append %s: %s: %d, at most %d", to, e.What, e.Got, e.Max)
}

// Is reports whether target is ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }
