// Package event holds the words that every other package shares: what an
// event is before it has a place in the log, and after.
//
// # Usage
//
// Domain code declares its own event types and never builds a Raw by hand: a
// codec turns a typed event into a Raw, the store turns a Raw into a Recorded,
// and a codec turns a Recorded into an Of with the typed event in it.
//
// # Ordering
//
// Version orders the events of one stream, from 1, without holes. Position
// orders all events of a store and has holes. If two events of one stream have
// versions v < w, their positions are in the same order. Nothing can be
// concluded from the order of two clocks, so from RecordedTime or EventTime.
//
// All types of this package are plain values: copy them, and do not change the
// bytes and maps they point to once they have been handed on.
package event

import (
	"fmt"
	"time"
)

// Version is the place of an event in its stream. The first event has version
// 1; 0 stands for a stream without events.
type Version int64

// Position is the place of an event in the log. Positions grow, and may have
// holes, because an append that was rolled back has drawn some. 0 stands for
// the place before the first event.
type Position int64

// Raw is an event as bytes, before the log has accepted it.
type Raw struct {
	// Name is the stored name, family.fact, such as "order.placed".
	Name string
	// Schema is the version of the payload's shape, from 1.
	Schema int
	// ContentType says how Payload is encoded, such as "application/json".
	ContentType string
	// Payload is kept byte for byte.
	Payload []byte
	// Metadata says who, why and when. A zero Metadata.ID is filled by the store.
	Metadata Metadata
	// Closes makes this event the last of its stream for ever.
	Closes bool
}

// Recorded is a Raw event that the log has accepted.
type Recorded struct {
	Raw
	Stream   Stream
	Version  Version
	Position Position
	// RecordedTime is the clock of the store when the event was appended, in
	// UTC, with microseconds. It is a note for people and orders nothing.
	RecordedTime time.Time
}

// String names the event for errors and logs: "order-o-1@3 (order.shipped, position 17)".
func (r Recorded) String() string {
	return fmt.Sprintf("%s@%d (%s, position %d)", r.Stream, r.Version, r.Name, r.Position)
}

// Of is a Recorded event with its payload decoded to the family E of today.
type Of[E any] struct {
	Recorded
	// Index tells apart the events that one stored event was split into by an
	// upcaster: (Position, Index) is unique. It is 0 when there was no split.
	Index int
	Data  E
}
