package avrogen

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/codec/avro/internal/node"
)

// generator knows the named types of all files.
type generator struct {
	order             []*avrolib.SchemaNode          // definitions, as they are to be written
	defined           map[string]*avrolib.SchemaNode // by full name
	files             map[string]string              // that define them, the first of each
	again             []repeat                       // definitions in further files
	names             map[string]string              // in Go, by full name
	taken             map[string]string              // what has a name of the Go package
	scope             string                         // namespace that short names are looked up in
	usesTime, usesBig bool
}

// repeat is a definition of a type in a second file.
type repeat struct {
	node *avrolib.SchemaNode
	file string
}

func newGenerator(files []avro.File) *generator {
	g := &generator{defined: map[string]*avrolib.SchemaNode{}, files: map[string]string{}, names: map[string]string{}, taken: map[string]string{}}
	for _, f := range files {
		for _, full := range f.Defines {
			if g.files[full] == "" {
				g.files[full] = f.Name
			}
		}
	}
	return g
}

// named returns the definition of a name, which may lack the namespace that it stands in.
func (g *generator) named(name string) *avrolib.SchemaNode {
	if node.IsKind(name) || plain[name] != "" {
		return nil // a type a.map is no map
	}
	if !strings.Contains(name, ".") && g.scope != "" {
		if d := g.defined[g.scope+"."+name]; d != nil {
			return d
		}
	}
	return g.defined[strings.TrimPrefix(name, ".")]
}

// enter looks names up in the namespace of a definition from here on.
func (g *generator) enter(n *avrolib.SchemaNode) {
	full := node.FullName(n)
	g.scope = strings.TrimSuffix(strings.TrimSuffix(full, simpleName(full)), ".")
}

// collect notes every definition below a node of a file, the outer ones first.
func (g *generator) collect(f avro.File, n *avrolib.SchemaNode) error {
	if err := node.Misnamed(n); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	switch n.Type {
	case "record", "error", "enum", "fixed":
		full := node.FullName(n)
		switch {
		case g.defined[full] == nil:
			if err := g.define(full, n); err != nil {
				return err
			}
		case g.files[full] != f.Name && slices.Contains(f.Defines, full):
			g.again = append(g.again, repeat{n, f.Name})
		}
		for i := range n.Fields {
			if err := g.collect(f, &n.Fields[i].Type); err != nil {
				return err
			}
		}
	case "array":
		return g.collect(f, n.Items)
	case "map":
		return g.collect(f, n.Values)
	case "union":
		for i := range n.Branches {
			if err := g.collect(f, &n.Branches[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// define gives a definition its name.
func (g *generator) define(full string, n *avrolib.SchemaNode) error {
	g.defined[full] = n
	if n.Type == "fixed" && n.LogicalType == "decimal" {
		return nil // big.Rat
	}
	g.order = append(g.order, n)
	g.names[full] = typeName(simpleName(full))
	return g.take(g.names[full], fmt.Sprintf("%s (%s)", full, g.files[full]))
}

// take gives a name of the package to something.
func (g *generator) take(name, what string) error {
	if other, taken := g.taken[name]; taken {
		return fmt.Errorf("%s and %s are both %s in Go: rename one of them, or generate them into packages of their own", other, what, name)
	}
	g.taken[name] = what
	return nil
}

// types returns the Go types of all definitions.
func (g *generator) types() ([]typeModel, error) {
	if len(g.order) == 0 {
		return nil, errors.New("the files define no record, enum or fixed: there is nothing to generate")
	}
	var all []typeModel
	for _, n := range g.order {
		t, err := g.declare(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", g.files[node.FullName(n)], node.FullName(n), err)
		}
		for _, s := range t.Symbols {
			if err := g.take(s.Name, fmt.Sprintf("symbol %s of %s (%s)", s.Symbol, node.FullName(n), g.files[node.FullName(n)])); err != nil {
				return nil, err
			}
		}
		all = append(all, t)
	}
	for _, r := range g.again {
		if err := g.agrees(r); err != nil {
			return nil, err
		}
	}
	return all, g.ends()
}

// agrees returns an error if a type is another one in a second file.
func (g *generator) agrees(r repeat) error {
	full := node.FullName(r.node)
	first, err := g.declare(g.defined[full])
	if err != nil {
		return fmt.Errorf("%s: %s: %w", g.files[full], full, err)
	}
	second, err := g.declare(r.node)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", r.file, full, err)
	}
	if first.key() != second.key() {
		return fmt.Errorf("%s is defined in %s and in %s, and not the same: make it the same, or give one of them", full, g.files[full], r.file)
	}
	return nil
}

// maxFixed is more than a payload has bytes.
const maxFixed = 1 << 24

// declare returns the Go type of a definition.
func (g *generator) declare(n *avrolib.SchemaNode) (typeModel, error) {
	g.enter(n)
	full := node.FullName(n)
	t := typeModel{Name: g.names[full], Kind: "struct"}
	what := n.Type
	if what == "error" {
		what = "record"
	}
	t.Doc = append(t.Doc, fmt.Sprintf("%s is the Avro %s %s.", t.Name, what, full))
	if doc := docLines(n.Doc); len(doc) > 0 {
		t.Doc = append(append(t.Doc, ""), doc...)
	}
	switch n.Type {
	case "fixed":
		if n.Size > maxFixed {
			return t, fmt.Errorf("a fixed of %d bytes: want at most %d, which no payload exceeds", n.Size, maxFixed)
		}
		t.Kind, t.Logical = fmt.Sprintf("[%d]byte", n.Size), fmt.Sprint(n.LogicalType, n.Precision, n.Scale)
		return t, nil
	case "enum":
		t.Kind = "string"
		symbols := map[string]string{}
		for _, s := range n.Symbols {
			name := t.Name + goName(s)
			if other, taken := symbols[name]; taken {
				return t, fmt.Errorf("symbols %s and %s are both %s in Go: rename one of them", other, s, name)
			}
			symbols[name] = s
			t.Symbols = append(t.Symbols, symbolModel{Name: name, Symbol: s, Value: strconv.Quote(s)})
		}
		return t, nil
	}
	fields := map[string]string{}
	for i := range n.Fields {
		f := &n.Fields[i]
		m, err := g.field(f)
		if err != nil {
			return t, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if other, taken := fields[m.Name]; taken {
			return t, fmt.Errorf("fields %s and %s are both %s in Go: rename one of them", other, f.Name, m.Name)
		}
		fields[m.Name] = f.Name
		t.Fields = append(t.Fields, m)
	}
	return t, nil
}
