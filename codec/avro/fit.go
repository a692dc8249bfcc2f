package avro

import (
	"fmt"
	"reflect"
	"slices"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// fits returns an error if values of the type cannot be written with the schema, or not
// without silent loss, or not read with it. Open says that there is an any in it: whether
// that fits is a matter of the value.
func fits(s *avrolib.Schema, t reflect.Type) (open bool, err error) {
	f := fitter{types: definitions(s), seen: map[fitted]bool{}}
	err = f.fit(tree(s), t)
	return f.open, err
}

type fitter struct {
	open  bool
	types map[string]*avrolib.SchemaNode
	seen  map[fitted]bool
}

type fitted struct {
	name string
	t    reflect.Type
}

func (f *fitter) fit(n *avrolib.SchemaNode, t reflect.Type) error {
	n = defined(n, f.types)
	if t.Kind() == reflect.Interface && t.NumMethod() == 0 {
		f.open = true
		return f.tells(n, map[string]bool{})
	}
	if n.Type == "union" {
		one := only(n)
		if one == n || len(n.Branches) != 2 {
			return fmt.Errorf("a union of %d branches wants any, got %v", len(n.Branches), t)
		}
		if t.Kind() != reflect.Pointer {
			return fmt.Errorf("null has no place in %v: use *%v", t, t)
		}
		return f.fit(one, t.Elem())
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem() // nil is an error when it is encoded
	}
	switch n.Type {
	case "record", "error":
		return f.record(n, t)
	case "array":
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return fmt.Errorf("array wants a slice, got %v", t)
		}
		return f.fit(n.Items, t.Elem())
	case "map":
		if t.Kind() != reflect.Map || t.Key().Kind() != reflect.String {
			return fmt.Errorf("map wants a map of strings, got %v", t)
		}
		return f.fit(n.Values, t.Elem())
	}
	if !holds(n, t) {
		what := n.Type
		if n.LogicalType != "" {
			what += " (" + n.LogicalType + ")"
		}
		if n.Type == "fixed" {
			what = fmt.Sprintf("%s of %d bytes", what, n.Size)
		}
		return fmt.Errorf("%s wants %s, got %v", what, wants[n.Type], t)
	}
	return nil
}

var wants = map[string]string{
	"null": "any", "boolean": "bool", "int": "an integer, or the type of its logical type", "long": "an integer, or the type of its logical type",
	"float": "float32", "double": "float64", "string": "string, or a type that is text", "enum": "string, or a type that is text",
	"bytes": "[]byte, or *big.Rat if it is a decimal", "fixed": "an array of as many bytes, or *big.Rat if it is a decimal",
}

// holds reports whether a Go type holds every value of a type without parts, or is an
// error for those that it does not: never another value.
func holds(n *avrolib.SchemaNode, t reflect.Type) bool {
	isText, _ := asText(t)
	decimal := n.LogicalType == "decimal" || n.LogicalType == "big-decimal"
	array := t.Kind() == reflect.Array && isBytes(t)
	switch n.Type {
	case "boolean":
		return t.Kind() == reflect.Bool
	case "int", "long":
		switch t {
		case timeType:
			return baseOf[n.LogicalType] == n.Type
		case durationType:
			return n.Type == "long" && (n.LogicalType == "" || n.LogicalType == "time-micros") || n.LogicalType == "time-millis"
		}
		return integer(t) && !isText
	case "float":
		return t.Kind() == reflect.Float32
	case "double":
		return t.Kind() == reflect.Float64
	case "string":
		return t.Kind() == reflect.String && t != numberType || isText || n.LogicalType == "uuid" && array && t.Len() == 16
	case "enum":
		return t.Kind() == reflect.String && t != numberType || isText
	case "bytes":
		return decimal && t == ratType || !decimal && t.Kind() == reflect.Slice && isBytes(t) && !isText
	case "fixed":
		return decimal && t == ratType || !decimal && array && t.Len() == n.Size
	}
	return false
}

func (f *fitter) record(n *avrolib.SchemaNode, t reflect.Type) error {
	if isText, _ := asText(t); t.Kind() != reflect.Struct || isText {
		return fmt.Errorf("record %s wants a struct, got %v", node.FullName(n), t)
	}
	key := fitted{node.FullName(n), t}
	if f.seen[key] {
		return nil
	}
	f.seen[key] = true
	fields, err := goFields(t)
	if err != nil {
		return err
	}
	byName := map[string]goField{}
	for _, g := range fields {
		byName[g.name] = g
		if !slices.ContainsFunc(n.Fields, func(sf avrolib.SchemaField) bool { return sf.Name == g.name }) {
			return fmt.Errorf("field %s of %v is not in record %s: add it there, or tag it avro:\"-\"", g.name, t, node.FullName(n))
		}
	}
	for i := range n.Fields {
		name := n.Fields[i].Name
		g, ok := byName[name]
		if !ok {
			return fmt.Errorf("%v has no field for %s of record %s: add one, by this name or with it in the avro tag", t, name, node.FullName(n))
		}
		if err := f.fit(&n.Fields[i].Type, g.typ); err != nil {
			return &pathError{name, err}
		}
	}
	return nil
}
