package avrogen

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	avrolib "github.com/twmb/avro"
)

// generator knows the named types of all files.
type generator struct {
	order             []*avrolib.SchemaNode          // definitions, as they are to be written
	defined           map[string]*avrolib.SchemaNode // by full name
	names             map[string]string              // in Go, by full name
	taken             map[string]string              // what has a name of the Go package
	scope             string                         // namespace that short names are looked up in
	usesTime, usesBig bool
}

// named returns the definition of a name, which may lack the namespace that it stands in.
func (g *generator) named(name string) *avrolib.SchemaNode {
	if !strings.Contains(name, ".") && g.scope != "" {
		if d := g.defined[g.scope+"."+name]; d != nil {
			return d
		}
	}
	return g.defined[name]
}

// enter looks names up in the namespace of a definition from here on.
func (g *generator) enter(n *avrolib.SchemaNode) {
	full := fullName(n)
	g.scope = strings.TrimSuffix(strings.TrimSuffix(full, simpleName(full)), ".")
}

// collect notes every definition below a node, the outer ones first.
func (g *generator) collect(n *avrolib.SchemaNode) error {
	switch n.Type {
	case "record", "error", "enum", "fixed":
		full := fullName(n)
		if g.defined[full] != nil {
			return nil // in another file, which the parser has compared
		}
		g.defined[full] = n
		if n.Type == "fixed" && n.LogicalType == "decimal" {
			return nil // big.Rat
		}
		g.order = append(g.order, n)
		g.names[full] = typeName(simpleName(full))
		if err := g.take(g.names[full], full); err != nil {
			return err
		}
		for i := range n.Fields {
			if err := g.collect(&n.Fields[i].Type); err != nil {
				return err
			}
		}
	case "array":
		return g.collect(n.Items)
	case "map":
		return g.collect(n.Values)
	case "union":
		for i := range n.Branches {
			if err := g.collect(&n.Branches[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// take gives a name of the package to something.
func (g *generator) take(name, what string) error {
	if other, taken := g.taken[name]; taken {
		return fmt.Errorf("%s and %s are both %s in Go: rename one of them", other, what, name)
	}
	g.taken[name] = what
	return nil
}

// declare returns the Go type of a definition.
func (g *generator) declare(n *avrolib.SchemaNode) (typeModel, error) {
	g.enter(n)
	full := fullName(n)
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
		t.Kind = fmt.Sprintf("[%d]byte", n.Size)
		return t, nil
	case "enum":
		t.Kind = "string"
		for _, s := range n.Symbols {
			name := t.Name + goName(s)
			if err := g.take(name, full+"."+s); err != nil {
				return t, err
			}
			t.Symbols = append(t.Symbols, symbolModel{name, strconv.Quote(s)})
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

func (g *generator) field(f *avrolib.SchemaField) (fieldModel, error) {
	expr, logical, note, err := g.expr(&f.Type)
	if err != nil {
		return fieldModel{}, err
	}
	m := fieldModel{Name: goName(f.Name), Type: expr, Doc: docLines(f.Doc)}
	if note != "" {
		m.Doc = append(m.Doc, note)
	}
	parts := []string{f.Name}
	if logical != "" {
		parts = append(parts, logical)
	}
	for _, a := range f.Aliases {
		parts = append(parts, "alias="+a)
	}
	for _, a := range typeAliases(&f.Type) {
		parts = append(parts, "type-alias="+a)
	}
	if dflt, ok := defaultText(f); ok {
		parts = append(parts, "default="+dflt) // the last: it ends with the tag
	}
	m.Tag = tag(strings.Join(parts, ","))
	return m, nil
}

// typeAliases are those of a type that is defined here: where it is only named, a schema
// that is derived takes them from its definition.
func typeAliases(n *avrolib.SchemaNode) []string {
	switch n.Type {
	case "record", "fixed":
		return n.Aliases
	case "array":
		return typeAliases(n.Items)
	case "map":
		return typeAliases(n.Values)
	case "union":
		if inner, nullable := nullableOf(n); nullable {
			return typeAliases(inner)
		}
	}
	return nil
}

// defaultText is the default of a field as a tag has it: JSON, or text as it is if that
// is not JSON of its own. A nullable field has null for a default, which needs no words.
func defaultText(f *avrolib.SchemaField) (string, bool) {
	if _, nullable := nullableOf(&f.Type); !f.HasDefault || f.Type.Type == "union" && (!nullable || f.Default == nil) {
		return "", false
	}
	v := asText(f.Default)
	text, err := json.Marshal(v)
	if err != nil {
		return "", false // not a number, or infinite
	}
	if s, ok := v.(string); ok && s != "" && !json.Valid([]byte(s)) && strconv.CanBackquote(s) {
		return s, true
	}
	return string(text), true
}

// asText returns a default with one character for each byte of what is bytes in it.
func asText(dflt any) any {
	switch v := dflt.(type) {
	case []byte:
		runes := make([]rune, len(v))
		for i, c := range v {
			runes[i] = rune(c)
		}
		return string(runes)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = asText(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = asText(v[k])
		}
		return out
	}
	return dflt
}

// tag is a literal of Go.
func tag(avro string) string {
	text := "avro:" + strconv.Quote(avro)
	if strconv.CanBackquote(text) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

// docLines are the lines of a doc comment, which it cannot leave.
func docLines(doc string) []string {
	if strings.TrimSpace(doc) == "" {
		return nil
	}
	lines := strings.FieldsFunc(doc, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = oneLine(l)
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}
