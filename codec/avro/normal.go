package avro

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Normal returns the text in one form, without white space, and with the attributes of
// each part in one order, and nothing left out that a reader needs: two texts of the same
// normal form are one schema.
//
// Unlike the parsing canonical form of the specification it keeps defaults, aliases, logical
// types, documentation and attributes of others. Names of types have their namespace in front
// of them, and no attribute for it; a type that is nothing but its name is that name.
func Normal(s Schema) (string, error) {
	if _, err := parseBounded(s, DefaultLimits()); err != nil {
		return "", fmt.Errorf("normal form of schema: %w", err)
	}
	n := normalizer{defined: map[string]bool{}}
	for _, r := range s.References {
		tree, err := decodeTree(r.Text)
		if err != nil {
			return "", fmt.Errorf("normal form of schema: reference %s: %w", short(r.Name), err)
		}
		n.schema(tree, "")
	}
	tree, err := decodeTree(s.Text)
	if err != nil {
		return "", fmt.Errorf("normal form of schema: %w", err)
	}
	var out strings.Builder
	n.write(&out, n.schema(tree, ""))
	return out.String(), nil
}

// normalizer rewrites trees of JSON that are schemas. Others are left as they are.
type normalizer struct {
	defined map[string]bool // full names of the types so far
	used    map[string]bool // full names that are referred to; nil: nobody asks
}

var primitives = map[string]bool{
	"null": true, "boolean": true, "int": true, "long": true, "float": true, "double": true, "bytes": true, "string": true,
}

// schema returns the normal tree of a schema inside a namespace.
func (n *normalizer) schema(node any, namespace string) any {
	switch v := node.(type) {
	case string:
		return n.reference(v, namespace)
	case []any:
		branches := make([]any, len(v))
		for i := range v {
			branches[i] = n.schema(v[i], namespace)
		}
		return branches
	case map[string]any:
		return n.object(maps.Clone(v), namespace)
	}
	return node
}

// reference returns the full name of a type that is used.
func (n *normalizer) reference(name, namespace string) string {
	if primitives[name] {
		return name
	}
	full := name
	if bare := strings.TrimPrefix(name, "."); !strings.Contains(bare, ".") {
		full = bare
		if inside := namespace + "." + name; namespace != "" && bare == name && n.defined[inside] {
			full = inside
		}
	}
	if n.used != nil {
		n.used[full] = true
	}
	return full
}

func (n *normalizer) object(o map[string]any, namespace string) any {
	kind, _ := o["type"].(string)
	switch kind {
	case "record", "error", "enum", "fixed":
		namespace = n.name(o, namespace)
		tidy(o)
		if fields, ok := o["fields"].([]any); ok {
			o["fields"] = n.fields(fields, namespace)
		}
	case "array":
		o["items"] = n.schema(o["items"], namespace)
	case "map":
		o["values"] = n.schema(o["values"], namespace)
	default:
		o["type"] = n.schema(o["type"], namespace)
		if len(o) == 1 { // nothing but the type
			return o["type"]
		}
	}
	return o
}

// name sets the full name of a type and returns the namespace of what is inside of it.
func (n *normalizer) name(o map[string]any, enclosing string) string {
	name, _ := o["name"].(string)
	namespace, given := o["namespace"].(string)
	if !given {
		namespace = enclosing
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		namespace, name = name[:i], name[i+1:]
	}
	delete(o, "namespace")
	full := name
	switch {
	case namespace != "":
		full = namespace + "." + name
	case enclosing != "":
		o["namespace"] = "" // or it would take that of what it is in
	}
	o["name"] = full
	n.defined[full] = true
	return namespace
}

func (n *normalizer) fields(fields []any, namespace string) []any {
	out := make([]any, len(fields))
	for i, f := range fields {
		field, ok := f.(map[string]any)
		if !ok {
			out[i] = f
			continue
		}
		field = maps.Clone(field)
		field["type"] = n.schema(field["type"], namespace)
		if field["order"] == "ascending" {
			delete(field, "order")
		}
		tidy(field)
		out[i] = field
	}
	return out
}

// tidy takes away what says nothing.
func tidy(o map[string]any) {
	if aliases, ok := o["aliases"].([]any); ok && len(aliases) == 0 {
		delete(o, "aliases")
	}
	if o["doc"] == "" {
		delete(o, "doc")
	}
}

// order is that of the attributes of the specification; others follow, sorted.
var order = []string{"type", "name", "namespace", "aliases", "doc", "logicalType", "precision", "scale", "size", "symbols", "items", "values", "fields", "default", "order"}

func (n *normalizer) write(out *strings.Builder, node any) {
	switch v := node.(type) {
	case map[string]any:
		out.WriteByte('{')
		for i, key := range slices.SortedFunc(maps.Keys(v), byOrder) {
			if i > 0 {
				out.WriteByte(',')
			}
			writeScalar(out, key)
			out.WriteByte(':')
			n.write(out, v[key])
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			n.write(out, v[i])
		}
		out.WriteByte(']')
	default:
		writeScalar(out, v)
	}
}

func byOrder(a, b string) int {
	place := func(key string) int {
		if i := slices.Index(order, key); i >= 0 {
			return i
		}
		return len(order)
	}
	if d := place(a) - place(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// writeScalar writes a string, number, boolean or null as JSON, in the fewest characters.
func writeScalar(out *strings.Builder, v any) {
	var line strings.Builder
	e := json.NewEncoder(&line) // of json.Number it writes the digits as they are
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("avro: %T does not come out of a JSON decoder: %v", v, err))
	}
	out.WriteString(strings.TrimSuffix(line.String(), "\n"))
}

// direct returns the references that the text itself uses, without those that only others
// need: a registry finds those by itself.
func direct(s Schema) ([]Reference, error) {
	if len(s.References) == 0 {
		return nil, nil
	}
	n := normalizer{defined: map[string]bool{}}
	for _, r := range s.References {
		tree, err := decodeTree(r.Text)
		if err != nil {
			return nil, fmt.Errorf("reference %s: %w", short(r.Name), err)
		}
		n.schema(tree, "")
	}
	n.used = map[string]bool{}
	tree, err := decodeTree(s.Text)
	if err != nil {
		return nil, err
	}
	n.schema(tree, "")
	var out []Reference
	for _, r := range s.References {
		if n.used[r.Name] {
			out = append(out, r)
		}
	}
	return out, nil
}
