package avro

import (
	"slices"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// resolve returns a schema that decodes what the writer has written into the shape.
//
// The table of the codec says which record an event is read as, so its name need not be
// that of the writer's. What lies in it at the same place is read as the same type, too:
// the Go types of old shapes are renamed when the code of today takes their names. For
// strict see sameMeaning.
func resolve(writer, reader *avrolib.Schema) (resolved *avrolib.Schema, strict bool, err error) {
	n := namer{writer: definitions(writer), reader: definitions(reader), seen: map[[2]string]bool{}}
	root := defined(tree(reader), n.reader)
	if d, ok := n.reader[node.FullName(root)]; ok {
		root = d
	}
	n.meet(tree(writer), root)
	if n.changed {
		if reader, err = root.Schema(); err != nil {
			return nil, false, err
		}
	}
	if resolved, err = avrolib.Resolve(writer, reader); err != nil {
		return nil, false, err
	}
	strict, err = sameMeaning(writer, reader)
	return resolved, strict, err
}

// namer gives the named types of a reader the names as aliases that they have in the writer.
type namer struct {
	writer, reader map[string]*avrolib.SchemaNode
	seen           map[[2]string]bool
	changed        bool
}

func (n *namer) meet(w, r *avrolib.SchemaNode) {
	w, r = only(defined(w, n.writer)), only(defined(r, n.reader))
	w, r = defined(w, n.writer), defined(r, n.reader)
	switch {
	case w.Type == "array" && r.Type == "array":
		n.meet(w.Items, r.Items)
	case w.Type == "map" && r.Type == "map":
		n.meet(w.Values, r.Values)
	case isRecord(w) && isRecord(r), w.Type == "fixed" && r.Type == "fixed", w.Type == "enum" && r.Type == "enum":
		n.named(w, r)
	}
}

func (n *namer) named(w, r *avrolib.SchemaNode) {
	from, to := node.FullName(w), node.FullName(r)
	if n.seen[[2]string{from, to}] {
		return
	}
	n.seen[[2]string{from, to}] = true
	// A name that the reader has for another of its types is left alone.
	if from != to && n.reader[from] == nil && !slices.Contains(qualified(r), from) {
		r.Aliases = append(r.Aliases, from)
		n.changed = true
	}
	for i := range r.Fields {
		rf := &r.Fields[i]
		if wf := field(w, append([]string{rf.Name}, rf.Aliases...)); wf != nil {
			n.meet(&wf.Type, &rf.Type)
		}
	}
}

// only returns the branch of a union that has no other one beside null, or the node.
func only(n *avrolib.SchemaNode) *avrolib.SchemaNode {
	var one *avrolib.SchemaNode
	for i := range n.Branches {
		if n.Branches[i].Type == "null" {
			continue
		}
		if one != nil {
			return n
		}
		one = &n.Branches[i]
	}
	if one == nil {
		return n
	}
	return one
}
