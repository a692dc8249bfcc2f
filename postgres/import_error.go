package postgres

import (
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var (
	// ErrStreamExists is matched by *StreamExistsError.
	ErrStreamExists = errors.New("stream exists")
	// ErrImportTime is matched by *ImportTimeError.
	ErrImportTime = errors.New("recorded times would go back")
	// ErrImportBusy says that another import of the same file was quicker. It
	// goes on, or has ended: call Import again to find out.
	ErrImportBusy = errors.New("another import of the same file is under way")
)

// StreamExistsError says which stream of the store is in the way of an import. It
// matches ErrStreamExists, and eventstore.ErrConflict.
type StreamExistsError struct {
	// Stream is the first one that is in the way, Found how many there are; each
	// event that is Different, or has an ID that is taken, is one. 0: the import
	// found it only when it stored; Imported events were in by then, and stay.
	Stream   event.Stream
	Found    int64
	Imported int64
	// Version is that of the stream's last event, FileVersion that of the event of
	// the file, both are versions.
	Version, FileVersion event.Version
	// Closed: no event can follow the last one of the store.
	Closed bool
	// Different: the store has another event at FileVersion.
	Different bool
	// ID of the event of the file, if the store has it at Version.
	ID event.ID
}

func (e *StreamExistsError) Error() string {
	what := fmt.Sprintf("stream %s is at version %d, the file goes on at %d", e.Stream, e.Version, e.FileVersion)
	var remedy string
	switch {
	case e.ID != event.ID{}:
		what = fmt.Sprintf("stream %s has event id %s of version %d at version %d", e.Stream, e.ID, e.FileVersion, e.Version)
		remedy = "the histories differ, import into another store"
	case e.Different:
		what = fmt.Sprintf("stream %s has another event at version %d", e.Stream, e.FileVersion)
		remedy = "the histories differ, import into another store"
	case e.Closed:
		what = fmt.Sprintf("stream %s was closed at version %d, the file goes on at %d", e.Stream, e.Version, e.FileVersion)
		remedy = "the histories differ, import into another store"
	case e.FileVersion > e.Version+1:
		remedy = "import the file with the versions between first"
	case e.FileVersion == e.Version+1:
		remedy = "allow continued streams (--continue)"
	default:
		what = fmt.Sprintf("stream %s exists up to version %d, the file has it from %d", e.Stream, e.Version, e.FileVersion)
		remedy = "skip stored events if they are the same (--skip-stored), or import into another store"
	}
	if e.Found == 0 {
		return fmt.Sprintf("%s: somebody appended to it meanwhile, %d events of the file are in and stay", what, e.Imported)
	}
	return fmt.Sprintf("%s (%d in all): nothing was stored: %s", what, e.Found, remedy)
}

// Is reports whether target is ErrStreamExists or eventstore.ErrConflict.
func (e *StreamExistsError) Is(target error) bool {
	return target == ErrStreamExists || target == eventstore.ErrConflict
}

// ImportTimeError says why the recorded times of a file cannot be kept: in the
// log they would go back by more than transfer.TimeSlack, and be found no more
// by PositionBefore. It matches ErrImportTime.
type ImportTimeError struct {
	// Line is that of the file, 0 if it is not about the order in the file.
	Line int64
	// Time is that of the file, Store that of the newest event of the store, or of
	// its clock. Both are zero with Line.
	Time, Store time.Time
	// Imported events of the file were in by then, and stay.
	Imported int64

	reason string
}

func (e *ImportTimeError) Error() string {
	what := fmt.Sprintf("line %d: %s", e.Line, e.reason)
	if e.Line == 0 {
		what = fmt.Sprintf("recorded time %s %s, %s", e.Time.Format(time.RFC3339Nano), e.reason, e.Store.Format(time.RFC3339Nano))
	}
	if e.Imported > 0 {
		what += fmt.Sprintf(", %d events of the file are in", e.Imported)
	}
	return what + ": give the events new times (--times new), or import into an empty store"
}

// Is reports whether target is ErrImportTime.
func (e *ImportTimeError) Is(target error) bool { return target == ErrImportTime }
