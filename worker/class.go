package worker

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// Class says what an error means for the event that it came from.
type Class int

// The classes.
const (
	// Unclassified: whoever was asked does not know.
	Unclassified Class = iota
	// ClassTransient: the event may succeed later. It is tried again, and parked when
	// its attempts are used up.
	ClassTransient
	// ClassPermanent: the event will never succeed with this program. It is parked at once.
	ClassPermanent
	// ClassSystemic: it is not the event's fault, and others would fail as well. The
	// worker waits, no attempt counts, and nothing is parked.
	ClassSystemic
)

// String returns transient, permanent, systemic or unclassified.
func (c Class) String() string {
	switch c {
	case Unclassified:
		return "unclassified"
	case ClassTransient:
		return "transient"
	case ClassPermanent:
		return "permanent"
	case ClassSystemic:
		return "systemic"
	}
	return fmt.Sprintf("class %d", int(c))
}

// Classifier classifies errors. A store may be one, for those of its driver.
type Classifier interface {
	// Classify returns Unclassified for an error that it knows nothing of. It is safe
	// for concurrent use.
	Classify(err error) Class
}

// classed is an error that knows its class.
type classed interface {
	error
	class() Class
}

// marked is a pointer everywhere, so that errors.Is may compare it whatever it holds.
type marked struct {
	err error
	is  Class
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }
func (m *marked) class() Class  { return m.is }

func mark(err error, c Class) error {
	if err == nil {
		return nil
	}
	return &marked{err, c}
}

// Transient marks err as ClassTransient, and leaves its text as it is. It returns
// nil for nil. Of several marks the outermost counts, and of joined errors the first
// that has one.
func Transient(err error) error { return mark(err, ClassTransient) }

// Permanent marks err as ClassPermanent, as Transient does.
func Permanent(err error) error { return mark(err, ClassPermanent) }

// Systemic marks err as ClassSystemic, as Transient does.
func Systemic(err error) error { return mark(err, ClassSystemic) }

// halt is an error that ends a reader.
type halt struct{ error }

func (h *halt) Unwrap() error { return h.error }

// Halt marks err, of Reader.Begin or Reader.Apply, as one that is no event's fault and
// that no waiting mends: the reader parks nothing and returns it. It returns nil for nil.
func Halt(err error) error {
	if err == nil {
		return nil
	}
	return &halt{Permanent(err)}
}

// halts reports whether an error of Apply ends the reader.
func halts(err error) bool {
	var h *halt
	return errors.As(err, &h) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrAltered)
}

// markOf returns how err was marked, Unclassified if it was not.
func markOf(err error) Class {
	var c classed
	if errors.As(err, &c) {
		return c.class()
	}
	return Unclassified
}

// IsPermanent reports whether err was marked by Permanent, or is a panic, and was
// not marked otherwise since.
func IsPermanent(err error) bool { return markOf(err) == ClassPermanent }

// class asks, in this order: the mark of err, r.Classify, the store (which may be
// nil). What nobody knows is transient, such as the end of a deadline; so an error is
// never given up sooner than somebody has said. The class of nil is Unclassified.
func (r Retry) class(err error, store Classifier) Class {
	if err == nil {
		return Unclassified
	}
	c := markOf(err)
	if c == Unclassified && r.Classify != nil {
		c = r.Classify(err)
	}
	if c == Unclassified && store != nil {
		c = store.Classify(err)
	}
	if c < ClassTransient || c > ClassSystemic {
		return ClassTransient
	}
	return c
}

// EventError says which event of a batch failed. A handler of batches that returns
// it saves the worker the search.
type EventError struct {
	Index int // in the batch, from 0
	Err   error
}

func (e *EventError) Error() string { return fmt.Sprintf("event %d of the batch: %v", e.Index, e.Err) }

// Unwrap returns the error of the event.
func (e *EventError) Unwrap() error { return e.Err }

// errGoexit is the value of a *PanicError for a function that ended its goroutine.
var errGoexit = errors.New("runtime.Goexit was called")

// PanicError is a panic, or a call of runtime.Goexit, as an error. It is permanent
// unless it is marked otherwise. It unwraps to the value, if that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine; not part of the text
}

// Error returns one line, without the stack.
func (e *PanicError) Error() string {
	return "panic: " + strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(fmt.Sprint(e.Value))
}

// Unwrap returns the value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func (e *PanicError) class() Class { return ClassPermanent }

// Safely calls fn and turns a panic of it into a *PanicError. It cannot keep fn from
// ending the goroutine with runtime.Goexit, see Guard.
func Safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn()
}

// Guard is Safely for code that may call runtime.Goexit, as testing.T.FailNow does:
// it calls fn in a goroutine of its own, and that is a *PanicError too.
//
// It returns when fn has, and not before, so that no goroutine is left behind: a fn
// that ignores its context and never returns hangs the caller. What then says so is
// Health.
func Guard(fn func() error) error {
	ended := make(chan error)
	go func() {
		var err error
		returned := false
		defer func() {
			if !returned { // and no panic, which Safely would have recovered
				err = &PanicError{Value: errGoexit, Stack: debug.Stack()}
			}
			ended <- err
		}()
		err = Safely(fn)
		returned = true
	}()
	return <-ended
}
