package avro

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// model is a schema as this test sees it: nothing of the package and of the library is used
// to make one, to write values with it and to resolve them.
type model struct {
	kind    string
	name    string // of a record, enum or fixed, with namespace
	aliases []string
	fields  []modelField
	parts   []*model // items, values, or the branches of a union
	symbols []string
	other   string // default of an enum
	size    int
}

type modelField struct {
	name    string
	aliases []string
	typ     *model
	dflt    *modelDefault
}

type modelDefault struct{ json, value any }

func bare(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// text returns the schema as JSON; what was defined before is its name.
func (m *model) text(seen map[string]bool) any {
	if m.name != "" {
		if seen[m.name] {
			return m.name
		}
		seen[m.name] = true
	}
	o := map[string]any{"type": m.kind}
	if m.name != "" {
		o["name"] = m.name
		if !strings.Contains(m.name, ".") {
			o["namespace"] = ""
		}
	}
	if len(m.aliases) > 0 {
		o["aliases"] = m.aliases
	}
	switch m.kind {
	case "record":
		fields := []any{}
		for _, f := range m.fields {
			field := map[string]any{"name": f.name, "type": f.typ.text(seen)}
			if len(f.aliases) > 0 {
				field["aliases"] = f.aliases
			}
			if f.dflt != nil {
				field["default"] = f.dflt.json
			}
			fields = append(fields, field)
		}
		o["fields"] = fields
	case "enum":
		o["symbols"] = m.symbols
		if m.other != "" {
			o["default"] = m.other
		}
	case "fixed":
		o["size"] = m.size
	case "array":
		o["items"] = m.parts[0].text(seen)
	case "map":
		o["values"] = m.parts[0].text(seen)
	case "union":
		branches := []any{}
		for _, b := range m.parts {
			branches = append(branches, b.text(seen))
		}
		return branches
	}
	return o
}

func (m *model) String() string {
	b, err := json.Marshal(m.text(map[string]bool{}))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// maker makes random models.
type maker struct {
	*rand.Rand
	taken   map[string]bool
	open    []*model
	endless bool
}

var scalars = []string{"boolean", "int", "long", "float", "double", "bytes", "string"}

func (g *maker) fresh(prefix string) string {
	for {
		name := fmt.Sprintf("%s%d", prefix, g.IntN(6))
		if g.IntN(3) > 0 {
			name = "n." + name
		}
		if !g.taken[bare(name)] {
			g.taken[bare(name)] = true
			return name
		}
		prefix += "x"
	}
}

func (g *maker) make(depth int) *model {
	if depth > 3 || g.IntN(5) < 2 {
		return &model{kind: scalars[g.IntN(len(scalars))]}
	}
	switch g.IntN(7) {
	case 0:
		return &model{kind: "enum", name: g.fresh("E"), symbols: g.symbols()}
	case 1:
		return &model{kind: "fixed", name: g.fresh("F"), size: 1 + g.IntN(3)}
	case 2:
		return &model{kind: []string{"array", "map"}[g.IntN(2)], parts: []*model{g.make(depth + 1)}}
	case 3, 4:
		return g.union(depth)
	default:
		return g.record(depth)
	}
}

func (g *maker) symbols() []string {
	all := []string{"A", "B", "C", "D"}
	g.Shuffle(4, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+g.IntN(3)]
}

func (g *maker) union(depth int) *model {
	u := &model{kind: "union"}
	for range 1 + g.IntN(4) {
		b := g.make(depth + 1)
		if g.IntN(3) == 0 {
			b = &model{kind: "null"}
		}
		if len(g.open) > 0 && g.IntN(6) == 0 {
			u.add(&model{kind: "null"})
			b = g.open[g.IntN(len(g.open))]
		}
		u.add(b)
	}
	if len(u.parts) == 0 {
		u.add(&model{kind: "null"})
	}
	return u
}

// add adds a branch, unless the union may not have it.
func (m *model) add(b *model) {
	if b.kind == "union" || slices.ContainsFunc(m.parts, func(o *model) bool { return o.kind == b.kind && o.name == b.name }) {
		return
	}
	m.parts = append(m.parts, b)
}

func (g *maker) record(depth int) *model {
	r := &model{kind: "record", name: g.fresh("R")}
	g.open = append(g.open, r)
	defer func() { g.open = g.open[:len(g.open)-1] }()
	for i := range g.IntN(4) {
		r.fields = append(r.fields, g.field(fmt.Sprintf("f%d", i), depth))
	}
	return r
}

func (g *maker) field(name string, depth int) modelField {
	f := modelField{name: name, typ: g.make(depth + 1)}
	if len(g.open) > 0 && g.IntN(8) == 0 {
		f.typ = &model{kind: "union", parts: []*model{{kind: "null"}, g.open[g.IntN(len(g.open))]}}
	}
	if g.IntN(3) == 0 {
		f.dflt = g.dflt(f.typ, 0)
	}
	return f
}

// dflt returns a default of the type, nil if it would have no end.
func (g *maker) dflt(m *model, depth int) *modelDefault {
	if depth > 4 {
		return nil
	}
	same := func(v any) *modelDefault { return &modelDefault{v, v} }
	switch m.kind {
	case "null":
		return same(nil)
	case "boolean":
		return same(true)
	case "int", "long":
		n := g.IntN(100)
		return &modelDefault{n, int64(n)}
	case "float", "double":
		return same(1.5)
	case "string":
		return same("dflt")
	case "bytes":
		return &modelDefault{"xyz", "bytes xyz"}
	case "fixed":
		return &modelDefault{strings.Repeat("q", m.size), "bytes " + strings.Repeat("q", m.size)}
	case "enum":
		return same(m.symbols[g.IntN(len(m.symbols))])
	case "union": // the first branch: every version of the specification has that
		return g.dflt(m.parts[0], depth+1)
	case "array":
		if d := g.dflt(m.parts[0], depth+1); d != nil && g.IntN(2) == 0 {
			return &modelDefault{[]any{d.json}, []any{d.value}}
		}
		return &modelDefault{[]any{}, []any{}}
	case "map":
		return &modelDefault{map[string]any{}, map[string]any{}}
	}
	js, v := map[string]any{}, map[string]any{}
	for _, f := range m.fields {
		d := g.dflt(f.typ, depth+1)
		if f.dflt != nil && g.IntN(2) == 0 {
			v[f.name] = f.dflt.value
			continue
		}
		if d == nil {
			return nil
		}
		js[f.name], v[f.name] = d.json, d.value
	}
	return &modelDefault{js, v}
}

// put writes a random value.
func (g *maker) put(dst []byte, m *model, depth int) []byte {
	if depth > 100 { // a type that has no value
		g.endless = true
	}
	if g.endless {
		return dst
	}
	long := func(n int64) []byte { return binary.AppendVarint(dst, n) }
	switch m.kind {
	case "null":
	case "boolean":
		dst = append(dst, byte(g.IntN(2)))
	case "int":
		dst = long([]int64{0, 1, -1, math.MaxInt32, math.MinInt32, int64(g.IntN(1000))}[g.IntN(6)])
	case "long":
		dst = long([]int64{0, -1, math.MaxInt64, math.MinInt64, 1<<53 + 1, int64(g.IntN(1000))}[g.IntN(6)])
	case "float":
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits([]float32{0, 0.1, -2.5, math.MaxFloat32, float32(math.Inf(1))}[g.IntN(5)]))
	case "double":
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits([]float64{0, 0.1, -2.5, math.MaxFloat64, math.Inf(-1)}[g.IntN(5)]))
	case "bytes", "string":
		s := []string{"", "a", "grün"}[g.IntN(3)]
		dst = append(long(int64(len(s))), s...)
	case "fixed":
		dst = append(dst, "abcd"[:m.size]...)
	case "enum":
		dst = long(int64(g.IntN(len(m.symbols))))
	case "array", "map":
		n := g.IntN(3)
		if depth > 8 {
			n = 0
		}
		if n > 0 {
			dst = long(int64(n))
		}
		for i := range n {
			if m.kind == "map" {
				dst = append(dst, 2, byte('a'+i))
			}
			dst = g.put(dst, m.parts[0], depth+1)
		}
		dst = append(dst, 0)
	case "union":
		i := g.IntN(len(m.parts))
		if depth > 8 {
			i = max(0, slices.IndexFunc(m.parts, func(b *model) bool { return b.kind != "record" && b.kind != "array" && b.kind != "map" }))
		}
		dst = g.put(long(int64(i)), m.parts[i], depth+1)
	case "record":
		for _, f := range m.fields {
			dst = g.put(dst, f.typ, depth+1)
		}
	}
	return dst
}
