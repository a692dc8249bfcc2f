package avro

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"reflect"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// tells returns an error if a value in any would not say which branch of a union it is:
// records and maps all come as a map.
func (f *fitter) tells(n *avrolib.SchemaNode, seen map[string]bool) error {
	if n == nil {
		return nil
	}
	n = defined(n, f.types)
	if isNamed(n) {
		if seen[node.FullName(n)] {
			return nil
		}
		seen[node.FullName(n)] = true
	}
	parts := []*avrolib.SchemaNode{n.Items, n.Values}
	var asMap string
	for i := range n.Branches {
		b := defined(&n.Branches[i], f.types)
		parts = append(parts, b)
		if !isRecord(b) && b.Type != "map" {
			continue
		}
		name := b.Type
		if isRecord(b) {
			name = node.FullName(b)
		}
		if asMap != "" {
			return fmt.Errorf("a union of %s and %s comes as a map that does not say which it is: give each a field of its own", asMap, name)
		}
		asMap = name
	}
	for i := range n.Fields {
		parts = append(parts, &n.Fields[i].Type)
	}
	for _, p := range parts {
		if err := f.tells(p, seen); err != nil {
			return err
		}
	}
	return nil
}

// kept returns an error if something in an any is another value after it was written and
// read. That it may be of another Go type is known: a record comes as a map, an int as int32.
func kept(written, read reflect.Value) error {
	switch written.Kind() {
	case reflect.Interface:
		if !sameData(written, read) {
			return fmt.Errorf("any holds %v, which would come back as another value (%v): give it exactly what the schema has", written.Elem().Type(), typeOf(read))
		}
	case reflect.Pointer:
		if !written.IsNil() {
			return kept(written.Elem(), read.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range written.Len() {
			if err := kept(written.Index(i), read.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, k := range written.MapKeys() {
			if err := kept(written.MapIndex(k), read.MapIndex(k)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if isText, _ := asText(written.Type()); isText || written.Type() == timeType || written.Type() == ratType {
			return nil
		}
		fields, err := goFields(written.Type())
		if err != nil {
			return err
		}
		for _, f := range fields {
			if err := kept(written.FieldByIndex(f.index), read.FieldByIndex(f.index)); err != nil {
				return &pathError{f.name, err}
			}
		}
	default: // no any in it
	}
	return nil
}

func typeOf(v reflect.Value) string {
	if v = bottom(v); v.IsValid() {
		return v.Type().String()
	}
	return "nil"
}

// bottom is what interfaces and pointers lead to, the zero Value for nil.
func bottom(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v
}

// sameData compares what the schema stores, not the Go types it is in.
func sameData(a, b reflect.Value) bool {
	a, b = bottom(a), bottom(b)
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	switch a.Type() {
	case timeType, durationType, ratType: // they are cut off, or refused
		return a.Type() == b.Type() || a.Type() == durationType && b.CanInt() && a.Int() == b.Int()
	}
	if text, ok := textOf(a); ok && b.Kind() == reflect.String {
		return text == b.String()
	}
	switch {
	case a.CanInt() || a.CanUint() || a.CanFloat():
		return sameNumber(a, b)
	case a.Kind() == reflect.Bool:
		return b.Kind() == reflect.Bool && a.Bool() == b.Bool()
	case a.Kind() == reflect.Struct:
		return sameFields(a, b)
	case a.Kind() == reflect.Map:
		if b.Kind() != reflect.Map || a.Len() != b.Len() {
			return false
		}
		for _, k := range a.MapKeys() {
			if v := b.MapIndex(reflect.ValueOf(k.String())); !v.IsValid() || !sameData(a.MapIndex(k), v) {
				return false
			}
		}
		return true
	}
	if one, ok := bytesOf(a); ok {
		if other, ok := bytesOf(b); ok {
			return bytes.Equal(one, other)
		}
	}
	if a.Kind() == reflect.String || b.Kind() != reflect.Slice || a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !sameData(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func sameFields(a, b reflect.Value) bool {
	fields, err := goFields(a.Type())
	if err != nil || b.Kind() != reflect.Map || b.Len() != len(fields) {
		return false
	}
	for _, f := range fields {
		if v := b.MapIndex(reflect.ValueOf(f.name)); !v.IsValid() || !sameData(a.FieldByIndex(f.index), v) {
			return false
		}
	}
	return true
}

func sameNumber(a, b reflect.Value) bool {
	switch {
	case a.CanInt() && b.CanInt():
		return a.Int() == b.Int()
	case a.CanUint() && b.CanInt():
		return b.Int() >= 0 && a.Uint() == uint64(b.Int())
	case a.CanFloat() && b.CanFloat():
		return a.Float() == b.Float() || math.IsNaN(a.Float()) && math.IsNaN(b.Float())
	case a.CanFloat() && b.CanInt():
		return a.Float() == float64(b.Int())
	case a.CanInt() && b.CanFloat(): // beyond 2^53 a float has not every number
		return math.Abs(b.Float()) <= 1<<53 && a.Int() == int64(b.Float())
	case a.CanUint() && b.CanFloat():
		return b.Float() <= 1<<53 && a.Uint() == uint64(b.Float())
	}
	return false
}

// textOf is the text that a value makes of itself.
func textOf(v reflect.Value) (string, bool) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	if m, ok := p.Interface().(encoding.TextAppender); ok {
		b, err := m.AppendText(nil)
		return string(b), err == nil
	}
	if m, ok := p.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		return string(b), err == nil
	}
	return "", false
}

func bytesOf(v reflect.Value) ([]byte, bool) {
	switch {
	case v.Kind() == reflect.String:
		return []byte(v.String()), true
	case v.Kind() == reflect.Slice && isBytes(v.Type()):
		return v.Bytes(), true
	case v.Kind() == reflect.Array && isBytes(v.Type()):
		out := make([]byte, v.Len())
		for i := range out {
			out[i] = byte(v.Index(i).Uint())
		}
		return out, true
	}
	return nil, false
}
