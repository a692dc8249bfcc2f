package avro

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec"
)

// ContentType is stored beside the payloads of a Format: binary Avro behind the five
// bytes of Confluent, which name the schema.
const ContentType = "application/vnd.confluent.avro"

// frame is the number of bytes before the value: zero, and the id of its schema.
const frame = 5

// Format is a codec.Format that writes Avro in the wire format of Confluent. It is safe
// for concurrent use.
type Format struct {
	settings
	registry Registry
	ids      *cache[*shape, int]
	readers  *cache[readerKey, *reader]
	buffers  sync.Pool // of *[]byte

	mu     sync.RWMutex
	shapes map[shapeKey]*shape // guarded by mu
}

// readerKey is a writer's schema and what reads it.
type readerKey struct {
	id    int
	shape *shape
}

// reader decodes what was written with one schema into one shape.
type reader struct {
	writer   *part
	resolved *avrolib.Schema
	strict   bool // what was read may be no value of the shape
}

// New returns a format whose schemas are in r. It does no I/O, and panics if an option
// contradicts itself.
func New(r Registry, opts ...Option) *Format {
	if r == nil {
		panic("avro: want a registry, got nil")
	}
	f := &Format{
		registry: r,
		settings: settings{limits: DefaultLimits(), timeout: 10 * time.Second},
		shapes:   map[shapeKey]*shape{},
		ids:      newCache[*shape, int](math.MaxInt),
	}
	for _, o := range opts {
		o(&f.settings)
	}
	f.readers = newCache[readerKey, *reader](f.limits.Schemas)
	return f
}

// ContentType implements codec.Format.
func (f *Format) ContentType() string { return ContentType }

// Declare implements codec.Declarer: it derives the schema of the shape, or takes that of
// WithSchemas, and returns an error if there is none, or the type does not fit it.
func (f *Format) Declare(name string, schema int, shape reflect.Type, written bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := shapeKey{name, schema}
	if known := f.shapes[key]; known != nil {
		if known.typ != shape {
			return fmt.Errorf("%s schema %d: is %v in one codec and %v in another: give each a Format of its own", name, schema, known.typ, shape)
		}
		known.Written = known.Written || written
		return nil
	}
	s, err := f.newShape(name, schema, shape, written)
	if err == nil {
		err = f.alone(s)
	}
	if err != nil {
		return fmt.Errorf("%s schema %d: %w", name, schema, err)
	}
	f.shapes[key] = s
	return nil
}

// alone returns an error if another event has a record of that name which is not the same:
// order.line-added and order.line_added are both order.LineAdded.
func (f *Format) alone(s *shape) error {
	for _, o := range f.shapes {
		if s.derived && o.derived && s.Subject == o.Subject && rootName(s.parsed) == rootName(o.parsed) && s.Schema.Text != o.Schema.Text {
			return fmt.Errorf("its record is %s, as that of %s schema %d: rename the event, or give it a file", rootName(s.parsed), o.Name, o.Version)
		}
	}
	return nil
}

func (f *Format) shape(name string, schema int) (*shape, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.shapes[shapeKey{name, schema}]
	if s == nil {
		return nil, fmt.Errorf("%s schema %d: no codec has declared it to this format", name, schema)
	}
	return s, nil
}

// Marshal implements codec.Format.
func (f *Format) Marshal(name string, schema int, v any) ([]byte, error) {
	s, err := f.shape(name, schema)
	if err != nil {
		return nil, err
	}
	if t := reflect.TypeOf(v); t != s.typ {
		return nil, fmt.Errorf("%s schema %d: want a value of %v, got %v", name, schema, s.typ, t)
	}
	id, ok := f.ids.get(s)
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		defer cancel()
		if id, err = f.id(ctx, s, false); err != nil {
			return nil, err
		}
	}
	return f.encode(s, id, v)
}

func (f *Format) encode(s *shape, id int, v any) ([]byte, error) {
	scratch, _ := f.buffers.Get().(*[]byte)
	if scratch == nil {
		scratch = new([]byte)
	}
	buf := binary.BigEndian.AppendUint32(append((*scratch)[:0], 0), uint32(id))
	// The library finds methods of pointers only on what has an address.
	p := reflect.New(s.typ)
	p.Elem().Set(reflect.ValueOf(v))
	buf, err := s.parsed.AppendEncode(buf, p.Interface())
	if err != nil {
		return nil, plain(err)
	}
	if cap(buf) <= maxScratch {
		*scratch = buf
		defer f.buffers.Put(scratch)
	}
	if len(buf) > f.limits.Bytes {
		return nil, fmt.Errorf("limit Bytes: payload has %d bytes, more than %d", len(buf), f.limits.Bytes)
	}
	if err := walk(s.root, buf[frame:], f.limits); err != nil {
		return nil, err
	}
	if s.open {
		back := reflect.New(s.typ)
		if _, err := s.parsed.Decode(buf[frame:], back.Interface()); err != nil {
			return nil, plain(err)
		}
		if err := kept(p.Elem(), back.Elem()); err != nil {
			return nil, err
		}
	}
	return slices.Clone(buf), nil
}

// maxScratch bounds what is kept for the next event to be encoded in.
const maxScratch = 64 << 10

// plain is an error of the library without its name and its type, and not longer than
// errors are.
func plain(err error) error { return errors.New(short(strings.TrimPrefix(err.Error(), "avro: "))) }

// Unmarshal implements codec.Format.
func (f *Format) Unmarshal(name string, schema int, data []byte, into any) error {
	s, err := f.shape(name, schema)
	if err != nil {
		return err
	}
	if t := reflect.TypeOf(into); t != reflect.PointerTo(s.typ) {
		return fmt.Errorf("%s schema %d: want a pointer to %v, got %v", name, schema, s.typ, t)
	}
	id, value, err := f.unframe(data)
	if err != nil {
		return err
	}
	key := readerKey{id, s}
	r, ok := f.readers.get(key)
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		defer cancel()
		if r, err = f.reader(ctx, key); err != nil {
			return err
		}
	}
	if err := walk(r.writer, value, f.limits); err != nil {
		return err
	}
	rest, err := r.resolved.Decode(value, into)
	if err != nil {
		return plain(err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("payload has %d bytes after the %d of its value", len(rest), len(value)-len(rest))
	}
	if !r.strict {
		return nil
	}
	again, err := s.parsed.AppendEncode(nil, into)
	if err != nil {
		return plain(err)
	}
	return walk(s.root, again, f.limits)
}

func (f *Format) unframe(data []byte) (id int, value []byte, err error) {
	if len(data) > f.limits.Bytes {
		return 0, nil, fmt.Errorf("limit Bytes: payload has %d bytes, more than %d", len(data), f.limits.Bytes)
	}
	if len(data) < frame {
		return 0, nil, fmt.Errorf("payload has %d bytes: want a zero byte and the four of the schema's id before the value", len(data))
	}
	if data[0] != 0 {
		return 0, nil, fmt.Errorf("payload begins with byte %#02x: want 0x00, before the id of the schema", data[0])
	}
	n := binary.BigEndian.Uint32(data[1:])
	if n > math.MaxInt32 {
		return 0, nil, fmt.Errorf("schema id %d: %w: ids end at %d", n, ErrUnknownID, math.MaxInt32)
	}
	return int(n), data[frame:], nil
}

// Prepare asks the registry for the id of every schema that the program writes, and
// registers it first if the format was made with WithRegistration. Services call it when
// they start: without it the first event of each name asks. Its errors are those of
// Lookup, or Register, joined.
func (f *Format) Prepare(ctx context.Context) error {
	var errs []error
	for _, d := range f.sorted() {
		if d.Written {
			_, err := f.id(ctx, d.shape, true)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Declared is a schema of the program.
type Declared struct {
	Name    string // of the event
	Version int    // schema version of the event
	Subject string
	Schema  Schema
	Written bool // events are written with it today
}

// Declared returns the schemas of all codecs that share the format, sorted by name and
// version.
func (f *Format) Declared() []Declared {
	var out []Declared
	for _, d := range f.sorted() {
		out = append(out, d.Declared)
	}
	return out
}

// declared is a shape, and what was known of it: Written may become true at any time.
type declared struct {
	Declared
	shape *shape
}

func (f *Format) sorted() []declared {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var all []declared
	for _, s := range f.shapes {
		all = append(all, declared{s.Declared, s})
	}
	slices.SortFunc(all, func(a, b declared) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return all
}

// id returns the id of a schema that events are written with.
func (f *Format) id(ctx context.Context, s *shape, again bool) (int, error) {
	id, err := f.ids.fetch(ctx, s, again, func(ctx context.Context) (int, error) {
		ask := f.registry.Lookup
		if f.register {
			ask = f.registry.Register
		}
		return ask(ctx, s.Subject, s.Schema)
	})
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, ErrNotRegistered):
		return 0, fmt.Errorf("subject %s: %w: run annals schema register, or make the format with WithRegistration", s.Subject, err)
	}
	return 0, fmt.Errorf("subject %s: %w", s.Subject, late(err))
}

// reader returns what decodes the key.
func (f *Format) reader(ctx context.Context, key readerKey) (*reader, error) {
	r, err := f.readers.fetch(ctx, key, false, func(ctx context.Context) (*reader, error) {
		text, err := f.registry.Schema(ctx, key.id)
		if err != nil {
			return nil, err
		}
		writer, err := parseBounded(text, f.limits)
		if err != nil {
			return nil, err
		}
		resolved, strict, err := key.shape.reads(writer)
		if err != nil {
			return nil, err
		}
		root, err := compile(writer)
		return &reader{root, resolved, strict}, err
	})
	if err != nil {
		return nil, fmt.Errorf("schema id %d: %w", key.id, late(err))
	}
	return r, nil
}

// Resolves returns nil if the format reads events of the name and schema version that were
// written with another schema, and an *IncompatibleError that names the field otherwise. It
// differs from Check in that types are not known by their names, but by their places: so an
// old shape may be frozen under other Go names. It asks no registry.
func (f *Format) Resolves(name string, version int, writer Schema) error {
	s, err := f.shape(name, version)
	if err != nil {
		return err
	}
	parsed, err := parseBounded(writer, f.limits)
	if err != nil {
		return err
	}
	_, _, err = s.reads(parsed)
	return err
}

// reads returns what decodes into the shape what the writer has written.
func (s *shape) reads(writer *avrolib.Schema) (resolved *avrolib.Schema, strict bool, err error) {
	resolved, strict, err = resolve(writer, s.parsed)
	if err != nil {
		e := explain(err, s.parsed, "this program does not read what it has written")
		e.Mode = None
		return nil, false, e
	}
	return resolved, strict, nil
}

// late says of an error of a context that the registry did not answer in time.
func late(err error) error {
	if (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) && !errors.Is(err, codec.ErrUnavailable) {
		return fmt.Errorf("%w: the registry has not answered: %w", codec.ErrUnavailable, err)
	}
	return err
}
