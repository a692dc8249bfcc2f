package avrogen

import (
	"errors"
	"fmt"
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

var plain = map[string]string{
	"boolean": "bool", "int": "int32", "long": "int64", "float": "float32", "double": "float64",
	"string": "string", "bytes": "[]byte", "null": "any",
}

// times are the logical types that are times, or times of a day.
var times = map[string]string{
	"int date": "time.Time", "int time-millis": "time.Duration", "long time-micros": "time.Duration",
	"long timestamp-millis": "time.Time", "long timestamp-micros": "time.Time", "long timestamp-nanos": "time.Time",
	"long local-timestamp-millis": "time.Time", "long local-timestamp-micros": "time.Time", "long local-timestamp-nanos": "time.Time",
}

// expr returns a Go type, the logical type for the tag of a field, and what a comment has
// to say.
func (g *generator) expr(n *avrolib.SchemaNode) (expr, logical, note string, err error) {
	if t := times[n.Type+" "+n.LogicalType]; t != "" {
		g.usesTime = true
		return t, n.LogicalType, "", nil
	}
	switch {
	case n.LogicalType == "decimal" && (n.Type == "bytes" || n.Type == "fixed"):
		g.usesBig = true
		return "big.Rat", fmt.Sprintf("decimal(%d,%d)", n.Precision, n.Scale), "", nil
	case n.LogicalType == "uuid" && n.Type == "string":
		return "string", "uuid", "", nil
	case n.LogicalType == "big-decimal" && n.Type == "bytes":
		return "", "", "", errors.New("big-decimal has no Go type: use decimal, with a precision and a scale")
	}
	switch n.Type {
	case "array":
		return g.container("[]", n.Items)
	case "map":
		return g.container("map[string]", n.Values)
	case "union":
		return g.union(n)
	case "record", "error", "enum", "fixed":
		return g.names[node.FullName(n)], "", "", nil
	}
	if t := plain[n.Type]; t != "" {
		return t, "", "", nil
	}
	d := g.named(n.Type)
	if d == nil {
		return "", "", "", fmt.Errorf("type %s is not defined", n.Type)
	}
	return g.expr(d)
}

// container is an array or map. A tag cannot say what is in it.
func (g *generator) container(prefix string, n *avrolib.SchemaNode) (expr, logical, note string, err error) {
	inner, logical, note, err := g.expr(n)
	if logical != "" {
		note = strings.TrimSpace(note + " Each is written as " + logical + ".")
	}
	return prefix + inner, "", note, err
}

// union is a pointer if there is one type beside null.
func (g *generator) union(n *avrolib.SchemaNode) (expr, logical, note string, err error) {
	if inner, nullable := nullableOf(n); nullable {
		expr, logical, note, err = g.expr(inner)
		return "*" + expr, logical, note, err
	}
	var may []string
	var asMap string
	for i := range n.Branches {
		b := &n.Branches[i]
		if d := g.definition(b); d.Type == "record" || d.Type == "error" || d.Type == "map" {
			what := "map"
			if d.Type != "map" {
				what = node.FullName(d)
			}
			if asMap != "" {
				return "", "", "", fmt.Errorf("a union of %s and %s comes as a map that does not say which it is: give each a field of its own", asMap, what)
			}
			asMap = what
		}
		expr, _, _, err := g.expr(b)
		if err != nil {
			return "", "", "", err
		}
		switch {
		case b.Type == "null":
			expr = "nil"
		case g.named(b.Type) != nil || node.FullName(b) != "":
			// What is decoded into any has no type of the program.
			if d := g.definition(b); d.Type == "record" || d.Type == "error" {
				expr += " (read as map[string]any)"
			}
		}
		may = append(may, expr)
	}
	return "any", "", "One of: " + strings.Join(may, ", ") + ".", nil
}

// nullableOf returns the type beside null in a union of these two.
func nullableOf(n *avrolib.SchemaNode) (*avrolib.SchemaNode, bool) {
	if n.Type != "union" || len(n.Branches) != 2 {
		return nil, false
	}
	for i := range n.Branches {
		if n.Branches[i].Type == "null" {
			return &n.Branches[1-i], true
		}
	}
	return nil, false
}

func (g *generator) definition(n *avrolib.SchemaNode) *avrolib.SchemaNode {
	if d := g.named(n.Type); d != nil {
		return d
	}
	return n
}

// ends returns an error if a record holds itself: its values have no end, and its type is
// none in Go.
func (g *generator) ends() error {
	done := map[string]bool{}
	for _, n := range g.order {
		if err := g.walk(n, nil, done); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) walk(n *avrolib.SchemaNode, path []string, done map[string]bool) error {
	full := node.FullName(n)
	for _, p := range path {
		if p == full {
			return fmt.Errorf("%s: %s holds itself (%s): make it nullable, or an array or a map", g.files[full], full, strings.Join(append(path, full), " in "))
		}
	}
	if done[full] {
		return nil
	}
	for i := range n.Fields {
		g.enter(n)
		if d := g.definition(&n.Fields[i].Type); d.Type == "record" || d.Type == "error" {
			if err := g.walk(d, append(path, full), done); err != nil {
				return err
			}
		}
	}
	done[full] = true
	return nil
}
