// Package codec maps stored event names to Go types. It is the one way from
// bytes to typed events: aggregates, projections, relays and tools decode
// through it, so none of them ever sees an old shape.
//
// # Usage
//
//	var Codec = codec.JSON(codec.Types[Event]{
//		"order.placed":  Placed{},
//		"order.shipped": Shipped{},
//	}, upcast.Step("order.placed", 1, func(v placedV1) Placed { ... }))
//
// Names are stored, so they never change; Go types may be renamed at will.
//
// # Failure
//
// A table that contradicts itself is a mistake in source code: JSON and New
// panic at start-up and name it. Bytes that do not decode, names and schema
// versions that this program does not know (a newer one wrote them) are errors,
// never skipped: see ErrUndecodable, upcast.ErrUnknownName and
// upcast.ErrUnknownSchema.
//
// # Testing
//
// Package codectest pins stored bytes. A Codec is safe for concurrent use.
package codec

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/upcast"
)

// ErrUndecodable is matched by errors of Decode: the event cannot be read by this
// program, now or on a retry.
var ErrUndecodable = errors.New("event cannot be decoded")

// ErrUnencodable is matched by errors of Encode: the event has no stored form, so it
// was not appended.
var ErrUnencodable = errors.New("event cannot be encoded")

// ErrUnavailable is matched by errors of Encode and Decode that say nothing of the event:
// what the format looks up, such as a schema in a registry, is out of reach at the moment.
// Such an error matches neither ErrUndecodable nor ErrUnencodable. Readers wait for it to
// pass and park nothing.
var ErrUnavailable = errors.New("what the format looks up is out of reach")

// Types names every event of the family E. The values are only used for their
// types, so zero values do.
type Types[E any] map[string]E

// Format turns a Go value into bytes and back. Implementations are safe for
// concurrent use. Both ends get the name and schema version, for formats that look
// up a schema by it: Unmarshal that of today if the name was changed by upcast.Rename.
type Format interface {
	// ContentType is stored beside each payload.
	ContentType() string
	// Marshal returns an error that matches ErrUnavailable if it says nothing of v.
	Marshal(name string, schema int, v any) ([]byte, error)
	// Unmarshal decodes all of data into the value that into points to, or
	// returns an error. It must accept any bytes without harm. The error matches
	// ErrUnavailable if it says nothing of data.
	Unmarshal(name string, schema int, data []byte, into any) error
}

// Declarer is a Format that looks at the shapes beforehand, to derive a schema from each
// of them. New declares every shape of the codec once, before it returns.
type Declarer interface {
	// Declare says which type is stored under a name and schema version, and whether
	// events are still written so. An error is a mistake in source code. It is called
	// again, with the same type, if several codecs share the format.
	Declare(name string, schema int, shape reflect.Type, written bool) error
}

// Codec encodes and decodes the events of one sealed interface E.
type Codec[E any] struct {
	format   Format   // events are written so
	older    []Format // events may have been written so, too
	chain    *upcast.Chain
	names    map[reflect.Type]string
	families map[string]bool
}

// New returns a codec over a format. It panics if the table or the rules
// contradict themselves: a malformed or doubled name, a pointer or interface
// type, a rule chain with a gap (see upcast.NewChain).
func New[E any](format Format, types Types[E], rules ...upcast.Rule) *Codec[E] {
	c := &Codec[E]{format: format, names: map[reflect.Type]string{}, families: map[string]bool{}}
	current := map[string]reflect.Type{}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := reflect.TypeOf(types[name])
		if err := event.ValidateName(name); err != nil {
			panic(fmt.Sprintf("codec: %v", err))
		}
		if t == nil || t.Kind() == reflect.Pointer {
			panic(fmt.Sprintf("codec: %s: want a value of a concrete, non-pointer type, got %v", name, t))
		}
		if other, twice := c.names[t]; twice {
			panic(fmt.Sprintf("codec: %v is named both %s and %s", t, other, name))
		}
		c.names[t] = name
		current[name] = t
	}
	chain, err := upcast.NewChain(current, rules...)
	if err != nil {
		panic(fmt.Sprintf("codec: %v", err))
	}
	c.chain = chain
	c.declare(format, true)
	for name := range chain.Names {
		c.families[event.Family(name)] = true
	}
	return c
}

// AlsoReading returns a codec that writes as c does, and also reads payloads of other
// formats, by their content type: of events that were stored before a service changed its
// format, such as JSON before Avro. The shapes are the same for all formats. It panics if
// two of them have one content type, or if a format does not take a shape.
//
// Programs that do not have the format of today yet cannot read what is written in it:
// deploy a codec that reads both first, which writes as before, and then the change.
func (c *Codec[E]) AlsoReading(older ...Format) *Codec[E] {
	both := *c
	both.older = slices.Clone(c.older)
	for _, f := range older {
		if both.reader(f.ContentType()) != nil {
			panic(fmt.Sprintf("codec: two formats have the content type %q", f.ContentType()))
		}
		both.declare(f, false)
		both.older = append(both.older, f)
	}
	return &both
}

// declare tells a format the shapes, if it wants to know them.
func (c *Codec[E]) declare(format Format, writes bool) {
	d, ok := format.(Declarer)
	if !ok {
		return
	}
	for name, schema := range c.chain.Shapes {
		shape, _ := c.chain.Shape(name, schema) // of those it yields
		if err := d.Declare(name, schema, shape, writes && c.chain.Latest(name) == schema); err != nil {
			panic(fmt.Sprintf("codec: %v", err))
		}
	}
}

// reader returns the format of a content type, nil if the codec has none.
func (c *Codec[E]) reader(contentType string) Format {
	if contentType == c.format.ContentType() {
		return c.format
	}
	for _, f := range c.older {
		if contentType == f.ContentType() {
			return f
		}
	}
	return nil
}

// Encode returns e with its stored name and schema version, and without
// metadata. The error matches ErrUnencodable, or ErrUnavailable.
func (c *Codec[E]) Encode(e E) (event.Raw, error) {
	t := reflect.TypeOf(e)
	name, ok := c.names[t]
	if !ok {
		return event.Raw{}, fmt.Errorf("encode %T: %w: the codec's Types have no name for it", e, ErrUnencodable)
	}
	schema := c.chain.Latest(name)
	data, err := c.format.Marshal(name, schema, e)
	if err != nil {
		return event.Raw{}, fmt.Errorf("encode %s: %w", name, because(ErrUnencodable, err))
	}
	return event.Raw{Name: name, Schema: schema, ContentType: c.format.ContentType(), Payload: data}, nil
}

// Decode returns the events of today that r stands for: one, several if an
// upcaster splits it, none if it is dropped. The error matches ErrUndecodable, or
// ErrUnavailable, and names the event.
func (c *Codec[E]) Decode(r event.Recorded) ([]event.Of[E], error) {
	values, err := c.decode(r.Raw)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", r, because(ErrUndecodable, err))
	}
	out := make([]event.Of[E], len(values))
	for i, v := range values {
		data, ok := v.(E)
		if !ok {
			return nil, fmt.Errorf("decode %s: %w: %T is not of this family", r, ErrUndecodable, v)
		}
		out[i] = event.Of[E]{Recorded: r, Index: i, Data: data}
	}
	return out, nil
}

// because is what an error of the format means.
func because(meaning, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", meaning, err)
}

func (c *Codec[E]) decode(r event.Raw) ([]any, error) {
	shape, err := c.chain.Shape(r.Name, r.Schema)
	if err != nil || shape == nil {
		return nil, err
	}
	format := c.reader(r.ContentType)
	if format == nil {
		reads := strconv.Quote(c.format.ContentType())
		for _, f := range c.older {
			reads += " or " + strconv.Quote(f.ContentType())
		}
		return nil, fmt.Errorf("content type is %q, this codec reads %s", r.ContentType, reads)
	}
	p := reflect.New(shape)
	if err := format.Unmarshal(c.chain.Current(r.Name), r.Schema, r.Payload, p.Interface()); err != nil {
		return nil, err
	}
	return c.chain.Lift(r.Name, r.Schema, p.Elem().Interface())
}

// Covers reports whether events of this name belong to the codec: its family
// (the part before the first dot) is that of one of the Types, or of a name that
// an upcaster leads from. An event that is
// covered but not known was stored by a newer program and must not be skipped;
// one that is not covered belongs to somebody else.
func (c *Codec[E]) Covers(name string) bool { return c.families[event.Family(name)] }

// Shapes calls yield for every (name, schema version) that the codec can
// decode, sorted. The last version of a name in Types is the one it writes.
func (c *Codec[E]) Shapes(yield func(name string, schema int) bool) { c.chain.Shapes(yield) }

// Names calls yield for every name that the codec knows, sorted: those of Shapes,
// those that an upcaster renames, and those that it drops.
func (c *Codec[E]) Names(yield func(name string) bool) {
	for _, name := range slices.Sorted(c.chain.Names) {
		if !yield(name) {
			return
		}
	}
}

// Shape returns the type that payloads stored under a name and schema version
// are decoded into, nil if the codec does not decode them or drops them.
func (c *Codec[E]) Shape(name string, schema int) reflect.Type {
	t, _ := c.chain.Shape(name, schema) // nil on an error
	return t
}

// Formats returns the format that the codec writes, and behind it those of AlsoReading.
func (c *Codec[E]) Formats() []Format { return append([]Format{c.format}, c.older...) }

// Reads reports whether payloads of this content type are decoded.
func (c *Codec[E]) Reads(contentType string) bool { return c.reader(contentType) != nil }

// Values returns the events that Decode returns, and its error, for tools that are given
// codecs of any family.
func (c *Codec[E]) Values(r event.Recorded) ([]any, error) {
	events, err := c.Decode(r)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(events))
	for i, e := range events {
		out[i] = e.Data
	}
	return out, nil
}

// Writes returns the schema version that events of a name are stored with, 0 if none are:
// the name is not one of the Types.
func (c *Codec[E]) Writes(name string) int { return c.chain.Latest(name) }

// ContentType is what the codec stores beside each payload.
func (c *Codec[E]) ContentType() string { return c.format.ContentType() }
