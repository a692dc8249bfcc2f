package avro

import (
	"slices"
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// knownLogical are the logical types of the specification that say what a number, or a
// string of bytes, means.
var knownLogical = map[string]bool{
	"decimal": true, "big-decimal": true, "uuid": true, "duration": true, "date": true,
	"time-millis": true, "time-micros": true,
	"timestamp-millis": true, "timestamp-micros": true, "timestamp-nanos": true,
	"local-timestamp-millis": true, "local-timestamp-micros": true, "local-timestamp-nanos": true,
}

// sameMeaning returns an error if a value would be read that means something else than what
// was written, or a field filled in that has no default. It is called for pairs that resolve.
// Strict says that the reader has text where the writer has any bytes, or the like: whether
// it fits is a matter of the value.
func sameMeaning(writer, reader *avrolib.Schema) (strict bool, err error) {
	m := meaning{writer: definitions(writer), reader: definitions(reader), seen: map[[2]string]bool{}}
	err = m.compare(tree(writer), tree(reader), "")
	return m.strict, err
}

// missingDefault is what the library says of a field that cannot be filled in.
const missingDefault = "reader field has no default and is missing from writer"

type meaning struct {
	writer, reader map[string]*avrolib.SchemaNode
	seen           map[[2]string]bool // records, by the names of both
	strict         bool               // the reader looks at values in a way that the writer does not
}

func (m *meaning) compare(w, r *avrolib.SchemaNode, path string) error {
	w, r = defined(w, m.writer), defined(r, m.reader)
	if w.Type == "union" {
		for i := range w.Branches {
			if err := m.compare(&w.Branches[i], r, path); err != nil {
				return err
			}
		}
		return nil
	}
	if r.Type == "union" {
		if r = m.branch(w, r); r == nil {
			return nil
		}
	}
	from, to := w.LogicalType, r.LogicalType
	if knownLogical[from] && (knownLogical[to] && from != to || from == "decimal" && r.Type == "string") ||
		w.Type == "string" && (to == "decimal" || to == "big-decimal") {
		if from == "" {
			from = w.Type
		}
		if to == "" {
			to = r.Type
		}
		return &avrolib.CompatibilityError{Path: path, WriterType: w.Type, ReaderType: r.Type,
			Detail: "the writer means " + from + ", the reader takes it for " + to}
	}
	if checkOf(r) != nil && (from != to || w.Type == "bytes" && r.Type == "string") {
		m.strict = true
	}
	switch {
	case w.Type == "array" && r.Type == "array":
		return m.compare(w.Items, r.Items, path+".items")
	case w.Type == "map" && r.Type == "map":
		return m.compare(w.Values, r.Values, path+".values")
	case isRecord(w) && isRecord(r):
		return m.fields(w, r, path)
	}
	return nil
}

func (m *meaning) fields(w, r *avrolib.SchemaNode, path string) error {
	pair := [2]string{node.FullName(w), node.FullName(r)}
	if m.seen[pair] {
		return nil
	}
	m.seen[pair] = true
	taken := map[string]string{}
	for i := range r.Fields {
		rf := &r.Fields[i]
		wf := field(w, append([]string{rf.Name}, rf.Aliases...))
		at := strings.TrimPrefix(path+"."+rf.Name, ".")
		if wf == nil {
			if !rf.HasDefault { // the library takes null for the default of a field that may be null
				return &avrolib.CompatibilityError{Path: at, Detail: missingDefault}
			}
			continue
		}
		if other, twice := taken[wf.Name]; twice {
			return &avrolib.CompatibilityError{Path: at, Detail: "fields " + short(other) + " and " + short(rf.Name) + " of the reader are both the field of the writer named " + short(wf.Name)}
		}
		taken[wf.Name] = rf.Name
		if err := m.compare(&wf.Type, &rf.Type, at); err != nil {
			return err
		}
	}
	return nil
}

func field(w *avrolib.SchemaNode, names []string) *avrolib.SchemaField {
	for _, name := range names {
		for i := range w.Fields {
			if w.Fields[i].Name == name {
				return &w.Fields[i]
			}
		}
	}
	return nil
}

// promoted lists what a writer's type is read as, if a union has no branch of the type.
var promoted = map[string][]string{
	"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"},
	"string": {"bytes"}, "bytes": {"string"},
}

// branch returns the branch of the reader's union that w is read with, nil if it is not
// clear: such a pair does not resolve.
func (m *meaning) branch(w, union *avrolib.SchemaNode) *avrolib.SchemaNode {
	tiers := []func(r *avrolib.SchemaNode) bool{
		func(r *avrolib.SchemaNode) bool {
			return sameKind(w, r) && (node.FullName(w) == node.FullName(r) || slices.Contains(qualified(r), node.FullName(w)))
		},
		func(r *avrolib.SchemaNode) bool {
			return sameKind(w, r) && (unqualified(node.FullName(w)) == unqualified(node.FullName(r)) || slices.Contains(r.Aliases, unqualified(node.FullName(w))))
		},
		func(r *avrolib.SchemaNode) bool { return slices.Contains(promoted[w.Type], r.Type) },
	}
	for _, fits := range tiers {
		for i := range union.Branches {
			if r := defined(&union.Branches[i], m.reader); fits(r) {
				return r
			}
		}
	}
	return nil
}

func sameKind(w, r *avrolib.SchemaNode) bool {
	return (w.Type == r.Type || isRecord(w) && isRecord(r)) && w.Size == r.Size
}

func isRecord(n *avrolib.SchemaNode) bool { return n.Type == "record" || n.Type == "error" }

// qualified returns the aliases of a type with their namespace, which is its own if they
// have none.
func qualified(n *avrolib.SchemaNode) []string {
	out := slices.Clone(n.Aliases)
	for i, a := range out {
		if !strings.Contains(a, ".") && n.Namespace != "" {
			out[i] = n.Namespace + "." + a
		}
	}
	return out
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// defined returns the node, or what it refers to by name.
func defined(n *avrolib.SchemaNode, types map[string]*avrolib.SchemaNode) *avrolib.SchemaNode {
	if d, ok := types[n.Type]; ok && refers(n) {
		return d
	}
	return n
}

// definitions returns the named types of a schema by their full names.
func definitions(s *avrolib.Schema) map[string]*avrolib.SchemaNode {
	types := map[string]*avrolib.SchemaNode{}
	each(tree(s), "", func(n *avrolib.SchemaNode, _ string) {
		if isNamed(n) {
			types[node.FullName(n)] = n
		}
	})
	return types
}
