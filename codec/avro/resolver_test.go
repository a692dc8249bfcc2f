package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// resolver reads by the rules of the specification, one value at a time.
type resolver struct {
	data []byte
	met  map[[2]string]bool // types in the same places, which are the same whatever their names
}

var errResolve = errors.New("does not resolve")

func (d *resolver) long() int64 {
	n, size := binary.Varint(d.data)
	if size <= 0 {
		panic("varint")
	}
	d.data = d.data[size:]
	return n
}

func (d *resolver) take(n int64) string {
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

func called(w, r *model) bool {
	return bare(w.name) == bare(r.name) || slices.ContainsFunc(r.aliases, func(a string) bool { return a == w.name || !strings.Contains(a, ".") && a == bare(w.name) })
}

func single(m *model) *model {
	rest := slices.DeleteFunc(slices.Clone(m.parts), func(b *model) bool { return b.kind == "null" })
	if m.kind == "union" && len(rest) == 1 {
		return rest[0]
	}
	return m
}

// pick returns the branch of a reader's union, nil if there is none.
func (d *resolver) pick(w, r *model) *model {
	for _, b := range r.parts {
		if b.kind == w.kind && (b.name == "" || b.size == w.size && (b.name == w.name || d.met[[2]string{w.name, b.name}])) {
			return b
		}
	}
	for _, b := range r.parts {
		if b.kind == w.kind && (b.name == "" || b.size == w.size && d.called(w, b)) {
			return b
		}
	}
	for _, b := range r.parts {
		if slices.Contains(promoted[w.kind], b.kind) {
			return b
		}
	}
	return nil
}

func (d *resolver) read(w, r *model) (any, error) {
	if w.kind == "union" {
		return d.read(w.parts[d.long()], r)
	}
	if r.kind == "union" {
		b := d.pick(w, r)
		if b == nil {
			return nil, fmt.Errorf("%w: union has no branch for %v", errResolve, w.kind)
		}
		return d.read(w, b)
	}
	if w.kind != r.kind {
		if !slices.Contains(promoted[w.kind], r.kind) {
			return nil, fmt.Errorf("%w: %s to %s", errResolve, w.kind, r.kind)
		}
		return d.scalar(w, r)
	}
	if w.name != "" && !d.called(w, r) {
		return nil, fmt.Errorf("%w: %s %s to %s", errResolve, w.kind, w.name, r.name)
	}
	switch w.kind {
	case "fixed":
		if w.size != r.size {
			return nil, fmt.Errorf("%w: sizes", errResolve)
		}
		return "bytes " + d.take(int64(w.size)), nil
	case "enum":
		s := w.symbols[d.long()]
		if !slices.Contains(r.symbols, s) {
			if r.other == "" {
				return nil, fmt.Errorf("%w: symbol %s", errResolve, s)
			}
			s = r.other
		}
		return s, nil
	case "array":
		out := []any{}
		for n := d.long(); n != 0; n = d.long() {
			for range n {
				v, err := d.read(w.parts[0], r.parts[0])
				if err != nil {
					return nil, err
				}
				out = append(out, v)
			}
		}
		return out, nil
	case "map":
		out := map[string]any{}
		for n := d.long(); n != 0; n = d.long() {
			for range n {
				key := d.take(d.long())
				v, err := d.read(w.parts[0], r.parts[0])
				if err != nil {
					return nil, err
				}
				out[key] = v
			}
		}
		return out, nil
	case "record":
		return d.record(w, r)
	}
	return d.scalar(w, r)
}

func (d *resolver) record(w, r *model) (any, error) {
	out := map[string]any{}
	for _, wf := range w.fields {
		i := slices.IndexFunc(r.fields, func(f modelField) bool { return f.name == wf.name })
		if i < 0 {
			i = slices.IndexFunc(r.fields, func(f modelField) bool { return slices.Contains(f.aliases, wf.name) })
		}
		if i < 0 {
			if _, err := d.read(wf.typ, wf.typ); err != nil {
				return nil, err
			}
			continue
		}
		if _, twice := out[r.fields[i].name]; twice {
			return nil, fmt.Errorf("%w: two fields are %s", errResolve, r.fields[i].name)
		}
		v, err := d.read(wf.typ, r.fields[i].typ)
		if err != nil {
			return nil, err
		}
		out[r.fields[i].name] = v
	}
	for _, rf := range r.fields {
		if _, there := out[rf.name]; there {
			continue
		}
		if rf.dflt == nil {
			return nil, fmt.Errorf("%w: no default of %s", errResolve, rf.name)
		}
		v, err := filled(rf.dflt.json, rf.typ)
		if err != nil {
			return nil, err
		}
		out[rf.name] = v
	}
	return out, nil
}

// filled returns the value that a default means for a type.
func filled(dflt any, m *model) (any, error) {
	bad := fmt.Errorf("%v is no default of %s", dflt, m.kind)
	switch v := dflt.(type) {
	case nil:
		if m.kind == "null" {
			return nil, nil
		}
	case bool:
		if m.kind == "boolean" {
			return v, nil
		}
	case int:
		switch m.kind {
		case "int", "long":
			return int64(v), nil
		case "float", "double":
			return float64(v), nil
		}
	case float64:
		if m.kind == "float" || m.kind == "double" {
			return v, nil
		}
	case string:
		switch {
		case m.kind == "string", m.kind == "enum" && slices.Contains(m.symbols, v):
			return v, nil
		case m.kind == "bytes", m.kind == "fixed" && m.size == len(v):
			return "bytes " + v, nil
		}
	case []any:
		if m.kind == "array" {
			out := []any{}
			for _, e := range v {
				f, err := filled(e, m.parts[0])
				if err != nil {
					return nil, err
				}
				out = append(out, f)
			}
			return out, nil
		}
	case map[string]any:
		out := map[string]any{}
		switch m.kind {
		case "map":
			for k, e := range v {
				f, err := filled(e, m.parts[0])
				if err != nil {
					return nil, err
				}
				out[k] = f
			}
			return out, nil
		case "record":
			for _, f := range m.fields {
				e, there := v[f.name]
				if !there {
					if f.dflt != nil {
						e = f.dflt.json
					} // the library takes null otherwise, if the field has it
				}
				var err error
				if out[f.name], err = filled(e, f.typ); err != nil {
					return nil, err
				}
			}
			return out, nil
		}
	}
	if m.kind == "union" {
		for _, b := range m.parts {
			if out, err := filled(dflt, b); err == nil {
				return out, nil
			}
		}
	}
	return nil, bad
}

// meet notes which types lie in the same places.
func (d *resolver) meet(w, r *model, known map[string]bool) {
	w, r = single(w), single(r)
	if w.kind != r.kind || w.kind == "union" {
		return
	}
	if w.name != "" {
		pair := [2]string{w.name, r.name}
		if _, seen := d.met[pair]; seen {
			return
		}
		d.met[pair] = w.name == r.name || !known[w.name]
	}
	if w.kind == "array" || w.kind == "map" {
		d.meet(w.parts[0], r.parts[0], known)
	}
	for _, rf := range r.fields {
		for _, name := range append([]string{rf.name}, rf.aliases...) {
			i := slices.IndexFunc(w.fields, func(f modelField) bool { return f.name == name })
			if i >= 0 {
				d.meet(w.fields[i].typ, rf.typ, known)
				break
			}
		}
	}
}

func (d *resolver) called(w, r *model) bool {
	return called(w, r) || d.met[[2]string{w.name, r.name}]
}

func (d *resolver) scalar(w, r *model) (any, error) {
	var v any
	switch w.kind {
	case "null":
		return nil, nil
	case "boolean":
		return d.take(1) == "\x01", nil
	case "int", "long":
		n := d.long()
		switch r.kind {
		case "float":
			return float64(float32(n)), nil
		case "double":
			return float64(n), nil
		}
		return n, nil
	case "float":
		v = float64(math.Float32frombits(binary.LittleEndian.Uint32([]byte(d.take(4)))))
	case "double":
		v = math.Float64frombits(binary.LittleEndian.Uint64([]byte(d.take(8))))
	default:
		s := d.take(d.long())
		if r.kind == "bytes" {
			s = "bytes " + s
		}
		v = s
	}
	return v, nil
}

// plainly is a value of the library in the types of the resolver.
func plainly(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case int:
		return int64(v)
	case float32:
		return float64(v)
	case []byte:
		return "bytes " + string(v)
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, plainly(e))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = plainly(e)
		}
		return out
	}
	return v
}

// places returns which types of two schemas lie in the same places.
func places(w, r *model) map[[2]string]bool {
	known := map[string]bool{}
	r.each(map[*model]bool{}, func(m *model) { known[m.name] = true })
	d := &resolver{met: map[[2]string]bool{}}
	d.meet(w, r, known)
	return d.met
}
