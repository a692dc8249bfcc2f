// Package avro stores events as Avro, in the wire format of Confluent: a zero byte, the
// id of the schema that the event was written with (four bytes, big endian), and the
// binary encoding. Every program that has the registry can read them, from the log or
// from Kafka.
//
// # Usage
//
//	registry, err := avro.NewClient(sr.URLs("https://registry.example.com"), sr.BasicAuth(user, password))
//	format := avro.New(registry)
//	var Codec = codec.New[Event](format, codec.Types[Event]{
//		"order.placed": Placed{},
//	}, upcast.Step("order.placed", 1, func(v placedV1) Placed { ... }))
//	err = format.Prepare(ctx) // when the service starts
//
// A schema is derived from the Go type of an event, or is that of a file (WithSchemas).
// Fields are named by the avro tag, or as in Go; the options of the tag are default=
// (last), alias=, type-alias=, inline, uuid, decimal(precision,scale), date,
// time-millis, time-micros and timestamp-millis, -micros and -nanos; "-" leaves a field
// out. A pointer is a union with null, with null for its default. time.Time is
// timestamp-micros: what is finer, and the time zone, is not kept. time.Duration is a long
// of nanoseconds. Nil slices and maps are read as empty ones. Types that are text, such as
// uuid.UUID, are strings. A type without a schema is a mistake in source code. A union of
// several types, in a file, is an any: what would come back as another value is an error of
// Marshal.
//
// # Evolution
//
// A stored payload is read in two steps. First its schema, that of the writer, is resolved
// to the one of the shape that the codec has for its name and schema version: fields are
// matched by name or alias, missing ones take their default, others are skipped, and
// numbers are promoted. Then upcasters lead from that shape to today's. The first step
// serves what Avro can say, and needs no new schema version; the second all else.
//
// The record is named after the event, not after the Go type: order.line-added is
// order.LineAdded, and order.LineAddedV2 in schema version 2. Records inside have the name
// of their Go type; one that lies in the same place is read whatever its name was, so Go
// types may be renamed, but a registry compares names: give the renamed type the tag
// type-alias, or keep its name.
//
// # Failure
//
// A schema that the registry does not have, or refuses, and a value that the schema does
// not hold (text that is not UTF-8, a decimal of too many digits, a symbol that an enum
// lacks, a nil where there is no null), are errors of Marshal, so such an event is not
// appended. Bytes that are not exactly a value of their schema are errors of Unmarshal.
// Both are the event's.
//
// If the registry does not answer, the error matches codec.ErrUnavailable and says nothing
// of the event: readers wait, and park nothing. Ids of schemas that are written are asked
// for once, and kept for ever; so are schemas that are read, within Limits.Schemas: while
// the registry is away, all that has been seen goes on. Callers that need the same at the
// same time share one call. A failure is kept for a second, and no longer, so that the
// registry is not asked by every event; Prepare asks at once.
//
// # Limits
//
// What a payload claims is checked before anything is made of it: see Limits. The memory
// that decoding takes is at most what the payload says, times the size of the largest Go
// type in arrays and maps. What is written has the same limits, so that it can be read.
//
// # Testing
//
// Package codectest pins payloads. Tests give New a Registry of their own, in memory.
package avro
