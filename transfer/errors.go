package transfer

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
)

var (
	// ErrRefused is matched by *Error: the file is refused as a whole.
	ErrRefused = errors.New("file refused")
	// ErrChanged says that a file is no longer the one that was checked.
	ErrChanged = errors.New("file changed since it was checked")
	// ErrHeld says that a log did not become final up to its newest event: a
	// transaction that has appended is open, or prepared.
	ErrHeld = errors.New("an open append holds the readers of the log up")
)

// Error says why a file is refused, and where. It matches ErrRefused.
type Error struct {
	// Line is that of the file, from 1. Zero: it is about the file as a whole.
	Line int64
	// Stream is the event's, zero if the reason is not about an event.
	Stream event.Stream
	// Reason says what is wrong and what is wanted, Remedy what can be done.
	// Remedy may be empty. What they repeat of the file is quoted and cut.
	Reason string
	Remedy string
	// Cause may be nil.
	Cause error
}

func (e *Error) Error() string {
	text := "file refused: "
	if e.Line > 0 {
		text += "line " + strconv.FormatInt(e.Line, 10) + ": "
	}
	if e.Stream != (event.Stream{}) {
		text += e.Stream.String() + ": "
	}
	text += e.Reason
	if e.Remedy != "" {
		text += ": " + e.Remedy
	}
	return text
}

// Is reports whether target is ErrRefused.
func (e *Error) Is(target error) bool { return target == ErrRefused }

func (e *Error) Unwrap() error { return e.Cause }

func refuse(format string, args ...any) *Error {
	return &Error{Reason: fmt.Sprintf(format, args...)}
}

func (e *Error) remedy(text string) *Error {
	e.Remedy = text
	return e
}

const (
	cutRemedy    = "it was cut or changed on the way, export or copy it again"
	editedRemedy = "it was changed by hand or by a program, export it again"
)

// shown quotes what a message repeats of a file, and cuts it.
func shown[T ~string | ~[]byte](s T) string {
	const most = 40
	text := string(s[:min(len(s), most+utf8.UTFMax)])
	if len(text) > most {
		end := most
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		return strconv.Quote(text[:end] + "...")
	}
	return strconv.Quote(text)
}
