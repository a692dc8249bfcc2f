package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// part is a type of a schema, for walk: what it takes in bytes, and nothing more.
type part struct {
	kind   kind
	size   int      // of a fixed; number of symbols of an enum
	parts  []*part  // of a record, or branches of a union; the one of an array or a map
	fields []string // names, of a record
	check  check
}

// check is what the text or bytes of a part must be besides, nil for nothing.
type check func(value []byte) error

type kind byte

const (
	kindNull kind = iota
	kindBoolean
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindBytes
	kindString
	kindFixed
	kindEnum
	kindUnion
	kindRecord
	kindArray
	kindMap
)

var kinds = map[string]kind{
	"null": kindNull, "boolean": kindBoolean, "int": kindInt, "long": kindLong, "float": kindFloat,
	"double": kindDouble, "bytes": kindBytes, "string": kindString, "fixed": kindFixed, "enum": kindEnum,
	"union": kindUnion, "record": kindRecord, "error": kindRecord, "array": kindArray, "map": kindMap,
}

// compile returns the parts of a schema. Named types are compiled once, so the parts of a
// schema whose types use each other are a graph.
func compile(s *avrolib.Schema) (*part, error) {
	c := compiler{defined: definitions(s), parts: map[*avrolib.SchemaNode]*part{}}
	return c.part(tree(s))
}

type compiler struct {
	defined map[string]*avrolib.SchemaNode
	parts   map[*avrolib.SchemaNode]*part
}

func (c *compiler) part(n *avrolib.SchemaNode) (*part, error) {
	n = defined(n, c.defined)
	if d, ok := c.defined[node.FullName(n)]; ok {
		n = d
	}
	if p, ok := c.parts[n]; ok {
		return p, nil
	}
	k, known := kinds[n.Type]
	if !known {
		return nil, fmt.Errorf("type %q is not known", short(n.Type))
	}
	p := &part{kind: k, size: n.Size, check: checkOf(n)}
	c.parts[n] = p
	children := []*avrolib.SchemaNode{}
	switch k {
	case kindEnum:
		p.size = len(n.Symbols)
	case kindArray:
		children = append(children, n.Items)
	case kindMap:
		children = append(children, n.Values)
	case kindUnion:
		for i := range n.Branches {
			children = append(children, &n.Branches[i])
		}
	case kindRecord:
		for i := range n.Fields {
			children = append(children, &n.Fields[i].Type)
			p.fields = append(p.fields, n.Fields[i].Name)
		}
	default: // the others have no parts
	}
	for _, n := range children {
		child, err := c.part(n)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, child)
	}
	return p, nil
}

// walk goes through a payload without building anything, before the library does: it finds
// what exceeds the limits, and whatever is not exactly a value of the schema. Its time is
// bounded by the payload and by Limits.Items.
func walk(p *part, data []byte, limits Limits) error {
	w := walker{data: data, limits: limits}
	if err := w.value(p, 0); err != nil {
		return err
	}
	if rest := len(data) - w.at; rest > 0 {
		return fmt.Errorf("payload has %d bytes after the %d of its value", rest, w.at)
	}
	return nil
}

type walker struct {
	data   []byte
	at     int
	items  int
	limits Limits
}

var errVarint = errors.New("number has more than 64 bits")

func (w *walker) value(p *part, depth int) error {
	switch p.kind {
	case kindNull:
		return nil
	case kindBoolean:
		if w.at < len(w.data) && w.data[w.at] > 1 {
			return fmt.Errorf("boolean is %d at byte %d", w.data[w.at], w.at)
		}
		return w.skip(1)
	case kindInt:
		n, err := w.long()
		if err == nil && (n < math.MinInt32 || n > math.MaxInt32) {
			err = fmt.Errorf("int has more than 32 bits: %d", n)
		}
		return err
	case kindLong:
		_, err := w.long()
		return err
	case kindFloat:
		return w.skip(4)
	case kindDouble:
		return w.skip(8)
	case kindFixed:
		return w.bytes(int64(p.size), p.check)
	case kindBytes, kindString:
		n, err := w.long()
		if err != nil {
			return err
		}
		return w.bytes(n, p.check)
	case kindEnum:
		n, err := w.long()
		if err == nil && (n < 0 || n >= int64(p.size)) {
			err = fmt.Errorf("enum has %d symbols, payload says number %d", p.size, n)
		}
		return err
	default:
		return w.nested(p, depth+1)
	}
}

func (w *walker) nested(p *part, depth int) error {
	if depth > w.limits.Depth {
		return fmt.Errorf("limit Depth: values are nested more than %d deep", w.limits.Depth)
	}
	switch p.kind {
	case kindUnion:
		n, err := w.long()
		if err != nil {
			return err
		}
		if n < 0 || n >= int64(len(p.parts)) {
			return fmt.Errorf("union has %d branches, payload says number %d", len(p.parts), n)
		}
		return w.value(p.parts[n], depth)
	case kindRecord:
		for i, f := range p.parts {
			before := w.at
			err := w.value(f, depth)
			if err == nil && w.at == before { // takes no bytes, so the payload does not bound them
				err = w.count(1)
			}
			if err != nil {
				return &pathError{p.fields[i], err}
			}
		}
		return nil
	default:
		return w.blocks(p, depth)
	}
}

func (w *walker) blocks(p *part, depth int) error {
	for {
		n, err := w.long()
		if err != nil || n == 0 {
			return err
		}
		end := int64(-1)
		if n < 0 {
			if n == math.MinInt64 {
				return fmt.Errorf("block has %d items", n)
			}
			n = -n
			size, err := w.long()
			if err != nil {
				return err
			}
			if size < 0 || size > int64(len(w.data)-w.at) {
				return fmt.Errorf("block has %d bytes, of which the payload has %d", size, len(w.data)-w.at)
			}
			end = int64(w.at) + size
		}
		if err := w.count(n); err != nil {
			return err
		}
		for range n {
			if p.kind == kindMap {
				n, err := w.long()
				if err != nil {
					return err
				}
				if err := w.bytes(n, isUTF8); err != nil {
					return fmt.Errorf("key of a map: %w", err)
				}
			}
			if err := w.value(p.parts[0], depth); err != nil {
				return err
			}
		}
		if end >= 0 && int64(w.at) != end {
			return fmt.Errorf("block says that it ends at byte %d, its items at byte %d", end, w.at)
		}
	}
}

func (w *walker) count(n int64) error {
	if n > int64(w.limits.Items-w.items) {
		return fmt.Errorf("limit Items: payload has more than %d items: %d and %d more", w.limits.Items, w.items, n)
	}
	w.items += int(n)
	return nil
}

func (w *walker) bytes(n int64, check check) error {
	from := w.at
	if err := w.skip(n); err != nil || check == nil {
		return err
	}
	return check(w.data[from:w.at])
}

func (w *walker) skip(n int64) error {
	if n < 0 {
		return fmt.Errorf("length is %d at byte %d", n, w.at)
	}
	if n > int64(len(w.data)-w.at) {
		return fmt.Errorf("payload ends at byte %d, %d bytes too early", len(w.data), n-int64(len(w.data)-w.at))
	}
	w.at += int(n)
	return nil
}

func (w *walker) long() (int64, error) {
	n, size := binary.Varint(w.data[w.at:])
	if size == 0 {
		return 0, fmt.Errorf("payload ends at byte %d, in a number", len(w.data))
	}
	if size < 0 {
		return 0, errVarint
	}
	w.at += size
	return n, nil
}

// pathError says in which field of a payload something is wrong.
type pathError struct {
	field string
	err   error
}

func (e *pathError) Error() string {
	text, err := e.field, e.err
	for {
		var inner *pathError
		if !errors.As(err, &inner) {
			return "field " + short(text) + ": " + err.Error()
		}
		text, err = text+"."+inner.field, inner.err
	}
}
