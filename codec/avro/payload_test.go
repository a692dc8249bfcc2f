package avro

import (
	"math/rand/v2"

	avrolib "github.com/twmb/avro"
)

// payloads returns what a writer may write: bytes of the form that the schema asks for.
func payloads(s *avrolib.Schema) [][]byte {
	w := writer{types: definitions(s), random: rand.New(rand.NewPCG(1, 2))}
	var out [][]byte
	for range 30 {
		out = append(out, w.write(nil, tree(s), 0))
	}
	return out
}

type writer struct {
	types  map[string]*avrolib.SchemaNode
	random *rand.Rand
}

func (w writer) write(dst []byte, n *avrolib.SchemaNode, depth int) []byte {
	n = defined(n, w.types)
	pick := func(n int) int { return w.random.IntN(n) }
	switch n.Type {
	case "null":
		return dst
	case "boolean":
		return append(dst, byte(pick(2)))
	case "int", "long":
		return append(dst, byte(pick(128)))
	case "float":
		return append(dst, 0, 0, byte(pick(128)), 0x41)
	case "double":
		return append(dst, 0, 0, 0, 0, 0, 0, byte(pick(128)), 0x40)
	case "bytes", "string":
		return append(dst, 4, byte('a'+pick(26)), 'b')
	case "fixed":
		return append(dst, make([]byte, n.Size)...)
	case "enum":
		return append(dst, byte(2*pick(len(n.Symbols))))
	case "array":
		return append(w.write(append(dst, 2), n.Items, depth+1), 0)
	case "map":
		return append(w.write(append(dst, 2, 2, 'k'), n.Values, depth+1), 0)
	case "union":
		i := pick(len(n.Branches))
		if depth > 10 {
			i = 0 // null comes first in what refers to itself
		}
		return w.write(append(dst, byte(2*i)), &n.Branches[i], depth+1)
	}
	for i := range n.Fields {
		dst = w.write(dst, &n.Fields[i].Type, depth+1)
	}
	return dst
}
