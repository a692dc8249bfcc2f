package aggregate

import (
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// fingerprintOf digests what can be seen of the program that folds a state:
// the structure of the state's type, how it is encoded, and every shape of an
// event that the codec decodes, with its structure. What the code of Evolve and
// of upcasters does cannot be seen: edition stands for it.
func fingerprintOf[S, E any](c *codec.Codec[E], state StateCodec[S], edition string) eventstore.Fingerprint {
	if sabotage.TrustSnapshots {
		return eventstore.Fingerprint{}
	}
	h := sha256.New()
	d := describer{w: h, seen: map[reflect.Type]int{}}
	d.line("annals snapshot 1")
	d.line("edition %q", edition)
	d.line("content type %q", state.ContentType())
	d.line("codec %s", fullName(reflect.TypeOf(state)))
	d.line("state")
	d.describe(reflect.TypeFor[S]())
	for name, schema := range c.Shapes {
		d.line("shape %q %d", name, schema)
		d.describe(c.Shape(name, schema))
	}
	for name := range c.Names { // what is renamed or dropped has no shape of its own
		d.line("name %q", name)
		d.describe(c.Shape(name, 1))
	}
	return eventstore.Fingerprint(h.Sum(nil))
}

// describer writes the structure of types as text. A type that it has written
// before is a number, so that recursive types end.
type describer struct {
	w    io.Writer
	seen map[reflect.Type]int
}

func (d describer) line(format string, args ...any) {
	_, _ = fmt.Fprintf(d.w, format+"\n", args...) // a hash takes everything
}

func (d describer) describe(t reflect.Type) {
	if t == nil {
		d.line("nothing")
		return
	}
	if n, ok := d.seen[t]; ok {
		d.line("type %d", n)
		return
	}
	d.seen[t] = len(d.seen)
	d.line("%s %s, methods %s", t.Kind(), fullName(t), methods(t))
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			d.line("field %s %s %t %q", f.PkgPath, f.Name, f.Anonymous, f.Tag)
			d.describe(f.Type)
		}
		d.line("end")
	case reflect.Array:
		d.line("of %d", t.Len())
		d.describe(t.Elem())
	case reflect.Map:
		d.describe(t.Key())
		d.describe(t.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		d.describe(t.Elem())
	default: // numbers, texts, and what has no structure that could be stored
	}
}

// fullName tells apart types of one name in two packages.
func fullName(t reflect.Type) string {
	if t == nil || t.Name() == "" {
		return fmt.Sprint(t)
	}
	return t.PkgPath() + "." + t.Name()
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// methods tells which methods decide about the bytes of a type: with or without
// them the same fields are encoded in another way.
func methods(t reflect.Type) string {
	var out []byte
	for _, i := range []reflect.Type{jsonMarshaler, jsonUnmarshaler, textMarshaler, textUnmarshaler} {
		switch {
		case t.Implements(i):
			out = append(out, 'v')
		case reflect.PointerTo(t).Implements(i):
			out = append(out, 'p')
		default:
			out = append(out, '-')
		}
	}
	return string(out)
}
