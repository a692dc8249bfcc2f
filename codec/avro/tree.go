package avro

import (
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// tree returns the nodes of a schema, in which every type that is used by name has its full
// name: a name without a dot is looked for in the namespace of the type around it first.
func tree(s *avrolib.Schema) *avrolib.SchemaNode {
	root := s.Root()
	types := map[string]bool{}
	each(root, "", func(n *avrolib.SchemaNode, _ string) {
		if isNamed(n) {
			types[node.FullName(n)] = true
		}
	})
	each(root, "", func(n *avrolib.SchemaNode, namespace string) {
		bare, dot := strings.CutPrefix(n.Type, ".")
		switch full := namespace + "." + n.Type; {
		case dot && types[bare]: // of no namespace
			n.Type = bare
		case refers(n) && !strings.Contains(n.Type, ".") && types[full]:
			n.Type = full
		}
	})
	return root
}

// refers reports whether a node is the name of a type, and not a type itself: a record a.int is
// a.int, and int is an int.
func refers(n *avrolib.SchemaNode) bool { return !primitives[n.Type] && !node.IsKind(n.Type) }

func isNamed(n *avrolib.SchemaNode) bool {
	return isRecord(n) || n.Type == "enum" || n.Type == "fixed"
}

// each calls fn for every node, with the namespace around it.
func each(n *avrolib.SchemaNode, namespace string, fn func(n *avrolib.SchemaNode, namespace string)) {
	if n == nil {
		return
	}
	fn(n, namespace)
	if isNamed(n) {
		name := node.FullName(n)
		namespace = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	each(n.Items, namespace, fn)
	each(n.Values, namespace, fn)
	for i := range n.Branches {
		each(&n.Branches[i], namespace, fn)
	}
	for i := range n.Fields {
		each(&n.Fields[i].Type, namespace, fn)
	}
}
