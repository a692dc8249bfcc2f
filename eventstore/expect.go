package eventstore

import (
	"fmt"

	"github.com/annals-go/annals/event"
)

// Expect is what an append demands of its stream. The zero value is Any.
type Expect struct {
	kind    ExpectKind
	version event.Version
}

// ExpectKind is the kind of an Expect, for implementations of Store.
type ExpectKind int

// The kinds of Expect.
const (
	KindAny ExpectKind = iota
	KindNone
	KindExists
	KindExact
)

// Any demands nothing: the events are appended at the end, wherever it is.
func Any() Expect { return Expect{} }

// None demands that the stream has no event yet.
func None() Expect { return Expect{kind: KindNone} }

// Exists demands that the stream has at least one event.
func Exists() Expect { return Expect{kind: KindExists} }

// Exactly demands that the last event of the stream has version v; 0 demands
// that there is none.
func Exactly(v event.Version) Expect {
	if v == 0 {
		return None()
	}
	return Expect{kind: KindExact, version: v}
}

// Kind returns the kind, and the version of a KindExact.
func (e Expect) Kind() (ExpectKind, event.Version) { return e.kind, e.version }

// Allows reports whether a stream at version v meets the expectation.
func (e Expect) Allows(v event.Version) bool {
	switch e.kind {
	case KindNone:
		return v == 0
	case KindExists:
		return v > 0
	case KindExact:
		return v == e.version
	case KindAny:
	}
	return true
}

// String reads on from "expected": "version 3", "no event", "at least one event".
func (e Expect) String() string {
	switch e.kind {
	case KindNone:
		return "no event"
	case KindExists:
		return "at least one event"
	case KindExact:
		return fmt.Sprintf("version %d", e.version)
	case KindAny:
	}
	return "any version"
}
