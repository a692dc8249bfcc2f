package avro

import (
	"fmt"
	"io/fs"
	"time"
)

// Option changes what New returns.
type Option func(*settings)

type settings struct {
	register bool
	files    fs.FS
	subject  func(name, record string) string
	limits   Limits
	timeout  time.Duration
}

// WithRegistration has the format register a schema that the registry does not have yet,
// when it is first needed or by Prepare. Default: off; who deploys calls annals schema
// register, so that a program that was started by mistake changes nothing.
func WithRegistration() Option { return func(s *settings) { s.register = true } }

// WithSchemas takes the schemas of files named NAME.vVERSION.avsc, such as
// order.placed.v1.avsc, instead of deriving them from the Go types. Types without a file
// are derived. A file may use types that others ending in .avsc define, such as
// order.Address.avsc: see Inline. Default: none.
func WithSchemas(files fs.FS) Option {
	if files == nil {
		panic("avro: WithSchemas: want files, got nil")
	}
	return func(s *settings) { s.files = files }
}

// WithSubject says under which subject the registry has the schema of an event, from the
// name of the event and the full name of its record. Default: the full name of the
// record (RecordNameStrategy of Confluent), because the same bytes are in the log and in
// every topic. For TopicRecordNameStrategy return the topic, a hyphen and the record.
func WithSubject(fn func(name, record string) string) Option {
	if fn == nil {
		panic("avro: WithSubject: want a function, got nil")
	}
	return func(s *settings) { s.subject = fn }
}

// WithLimits replaces DefaultLimits. A field that is zero keeps its default.
func WithLimits(l Limits) Option {
	return func(s *settings) {
		for _, f := range []struct {
			name  string
			value int
			to    *int
		}{
			{"Bytes", l.Bytes, &s.limits.Bytes},
			{"Items", l.Items, &s.limits.Items},
			{"Depth", l.Depth, &s.limits.Depth},
			{"SchemaBytes", l.SchemaBytes, &s.limits.SchemaBytes},
			{"SchemaDepth", l.SchemaDepth, &s.limits.SchemaDepth},
			{"Schemas", l.Schemas, &s.limits.Schemas},
		} {
			if f.value < 0 {
				panic(fmt.Sprintf("avro: WithLimits: %s: want at least 1, or 0 for the default, got %d", f.name, f.value))
			}
			if f.value > 0 {
				*f.to = f.value
			}
		}
	}
}

// WithTimeout bounds each call of the registry that Marshal and Unmarshal make, which
// have no context. Default 10 s.
func WithTimeout(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("avro: WithTimeout: want more than 0, got %v", d))
	}
	return func(s *settings) { s.timeout = d }
}

// Limits bound what is decoded. What exceeds them is an error that names the limit.
type Limits struct {
	Bytes       int // of a payload: 16 MiB
	Items       int // of all arrays and maps of a payload together: 1,000,000
	Depth       int // of records, arrays, maps and unions in each other: 64
	SchemaBytes int // of the text of a schema and of each that it refers to: 256 KiB
	SchemaDepth int // of types in each other: 64
	Schemas     int // that are kept at once: 10,000; more are asked for again
}

// DefaultLimits returns those of a Format without WithLimits.
func DefaultLimits() Limits {
	return Limits{Bytes: 16 << 20, Items: 1_000_000, Depth: 64, SchemaBytes: 256 << 10, SchemaDepth: 64, Schemas: 10_000}
}
