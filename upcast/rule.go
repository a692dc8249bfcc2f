// Package upcast turns stored events of old shapes into today's, on read only:
// stored bytes are never changed.
//
// # Usage
//
// A schema version of an event name has one Go type, its shape. Old shapes are
// kept in the code, frozen, for as long as their bytes are stored. Rules lead
// from each to the next; a codec takes them and applies them when it decodes:
//
//	upcast.Step("order.placed", 1, func(v placedV1) placedV2 { ... }) // 1:1
//	upcast.Split("order.placed", 2, func(v placedV2) []any { ... },   // 1:n
//		upcast.Into[Placed]("order.placed", 3),
//		upcast.Into[Addressed]("order.addressed", 1))
//	upcast.Rename("order.opened", "order.placed")                     // another name
//	upcast.Drop("order.viewed")                                       // no fact any more
//
// The current schema version of a name is the number of its steps and splits
// plus one, so it cannot drift from them.
//
// # Failure
//
// NewChain checks that the rules meet: no gap, no duplicate, every shape leads
// to a current type. An upcaster must be pure, total and deterministic: it
// takes no clock, no randomness and no I/O, and it has an answer for every
// value of its old shape. One that panics makes Lift return an error.
package upcast

import "reflect"

type kind int

const (
	step kind = iota + 1
	split
	drop
	rename
)

// Rule leads from one stored shape towards the current one. Build it with
// Step, Split, Drop or Rename.
type Rule struct {
	kind kind
	name string
	from int
	in   reflect.Type
	into []Target
	to   string // of a rename
	fn   func(any) []any
}

// Target is a shape that a Split gives. Build it with Into.
type Target struct {
	name   string
	schema int
	shape  reflect.Type
}

// Step returns the rule that lifts schema version from of the named event to
// from+1.
func Step[Old, New any](name string, from int, fn func(Old) New) Rule {
	return Rule{
		kind: step, name: name, from: from,
		in:   reflect.TypeFor[Old](),
		into: []Target{{name, from + 1, reflect.TypeFor[New]()}},
		fn:   func(v any) []any { return []any{fn(v.(Old))} },
	}
}

// Split returns the rule that turns schema version from of the named event
// into any number of events, in order. Each value that fn returns must have the
// type of one of the targets; each target is a current shape, or an old one
// that is lifted further. The name itself lives on at version from+1, unless no
// current type has it.
func Split[Old any](name string, from int, fn func(Old) []any, into ...Target) Rule {
	return Rule{
		kind: split, name: name, from: from,
		in:   reflect.TypeFor[Old](),
		into: into,
		fn:   func(v any) []any { return fn(v.(Old)) },
	}
}

// Into names a shape that a Split gives: schema version schema of the named event.
func Into[T any](name string, schema int) Target {
	return Target{name, schema, reflect.TypeFor[T]()}
}

// Drop returns the rule that reads stored events of this name as no event at
// all, whatever their schema version. Their bytes are not looked at.
func Drop(name string) Rule { return Rule{kind: drop, name: name} }

// Rename returns the rule that reads events stored as old as if they had been
// stored as name, with the same schema version. All steps belong to name.
func Rename(old, name string) Rule { return Rule{kind: rename, name: old, to: name} }
