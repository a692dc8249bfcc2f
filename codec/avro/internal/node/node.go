// Package node says what a node of a parsed schema is, for codec/avro and avrogen.
package node

import (
	"fmt"
	"strings"

	avrolib "github.com/twmb/avro"
)

// FullName is the name of a record, enum or fixed with its namespace, the empty string for any
// other node.
func FullName(n *avrolib.SchemaNode) string {
	if n.Name == "" || n.Namespace == "" || strings.Contains(n.Name, ".") {
		return n.Name
	}
	return n.Namespace + "." + n.Name
}

// IsKind reports a word for types that have parts.
func IsKind(word string) bool {
	switch word {
	case "record", "error", "enum", "fixed", "array", "map", "union":
		return true
	}
	return false
}

// Misnamed returns an error for a node that is the name of a type which is called like such a
// kind, and not one of that kind with its parts.
func Misnamed(n *avrolib.SchemaNode) error {
	if kind := strings.TrimPrefix(n.Type, "."); IsKind(kind) && !isWhole(n) {
		return fmt.Errorf("a type is called %s where it is used, as if it were any %s: give it its namespace there, or another name", kind, kind)
	}
	return nil
}

func isWhole(n *avrolib.SchemaNode) bool {
	switch n.Type {
	case "array":
		return n.Items != nil
	case "map":
		return n.Values != nil
	case "union":
		return len(n.Branches) > 0
	case "record", "error", "enum", "fixed":
		return n.Name != ""
	}
	return false
}
