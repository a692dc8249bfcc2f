package avro

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// typ returns what a Go type is in a schema. f has the logical type of the tag, none for
// what arrays and maps hold.
func (d *deriver) typ(t reflect.Type, f goField, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%v: a type of itself has no schema, unless a struct is in between", t)
	}
	if t.Kind() == reflect.Pointer {
		inner, err := d.typ(t.Elem(), f, depth+1)
		if _, nullable := inner.([]any); nullable {
			return nil, fmt.Errorf("%v: a pointer to a pointer has no schema of its own", t)
		}
		return []any{"null", inner}, err
	}
	switch t {
	case timeType:
		return timeLike(t, f.logical, "timestamp-micros")
	case durationType:
		if f.logical == "" {
			return "long", nil // nanoseconds: time-millis would lose what is finer, and all beyond 24 days
		}
		return timeLike(t, f.logical, "")
	case ratType:
		if f.logical != "decimal" {
			return nil, fmt.Errorf("%v: want the tag decimal(precision,scale)", t)
		}
		return logicalText{"bytes", "decimal", f.precision, f.scale}, nil
	case monthsType, numberType:
		return nil, fmt.Errorf("%v: has no schema: use a type of your own", t)
	}
	switch {
	case f.logical == "decimal":
		return nil, fmt.Errorf("%v: decimal wants *big.Rat", t)
	case f.logical == "uuid":
		return d.uuid(t)
	case f.logical != "":
		natural, err := d.typ(t, goField{}, depth)
		if err != nil || natural != any(baseOf[f.logical]) || !integer(t) {
			return nil, fmt.Errorf("%v: %s wants time.Time, or an integer that is %s", t, f.logical, baseOf[f.logical])
		}
		return logicalText{Type: baseOf[f.logical], LogicalType: f.logical}, nil
	}
	if isText, err := asText(t); isText || err != nil {
		return "string", err
	}
	return d.plain(t, depth)
}

func timeLike(t reflect.Type, logical, otherwise string) (any, error) {
	if logical == "" {
		logical = otherwise
	}
	if baseOf[logical] == "" || t == durationType && logical != "time-millis" && logical != "time-micros" {
		return nil, fmt.Errorf("%v: cannot be %s", t, logical)
	}
	return logicalText{Type: baseOf[logical], LogicalType: logical}, nil
}

func (d *deriver) uuid(t reflect.Type) (any, error) {
	isText, err := asText(t)
	switch {
	case isText || t.Kind() == reflect.String:
		return logicalText{Type: "string", LogicalType: "uuid"}, nil
	case err == nil && t.Kind() == reflect.Array && isBytes(t) && t.Len() == 16:
		return d.fixed(t, "uuid", "uuid")
	}
	return nil, fmt.Errorf("%v: uuid wants string, [16]byte or a type that is text", t)
}

// asText reports whether the library writes the type as the text that it makes of itself.
func asText(t reflect.Type) (bool, error) {
	p := reflect.PointerTo(t)
	out := p.Implements(marshalerType) || p.Implements(appenderType)
	in := p.Implements(unmarshaler)
	if by := lender(t); (out || in) && by != nil {
		return false, fmt.Errorf("%v: its text is that of the embedded %v alone: make that a field with a name", t, by)
	}
	if (out || in) && t.Kind() == reflect.String || t.Kind() == reflect.Slice && isBytes(t) && (out || in) {
		return true, nil // the other way is that of its kind
	}
	switch {
	case out && in:
		return true, nil
	case out:
		return false, fmt.Errorf("%v: has MarshalText without UnmarshalText: it could be written, never read", t)
	case in:
		return false, fmt.Errorf("%v: has UnmarshalText without MarshalText: it could be read, never written", t)
	}
	return false, nil
}

// lender returns the type that a struct embeds, among other fields, and whose text is taken
// for that of the struct, or nil.
func lender(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		p := f.Type
		if p.Kind() != reflect.Pointer {
			p = reflect.PointerTo(p)
		}
		if f.Anonymous && (p.Implements(marshalerType) || p.Implements(appenderType) || p.Implements(unmarshaler)) {
			return f.Type
		}
	}
	return nil
}

func isBytes(t reflect.Type) bool { return t.Elem().Kind() == reflect.Uint8 }

func integer(t reflect.Type) bool {
	zero := reflect.New(t).Elem()
	return zero.CanInt() || zero.CanUint()
}

func (d *deriver) plain(t reflect.Type, depth int) (any, error) {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean", nil
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16:
		return "int", nil
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint, reflect.Uint64:
		return "long", nil // what is beyond it is an error when it is encoded
	case reflect.Float32:
		return "float", nil
	case reflect.Float64:
		return "double", nil
	case reflect.String:
		return "string", nil
	case reflect.Slice, reflect.Array:
		if !isBytes(t) {
			items, err := d.typ(t.Elem(), goField{}, depth+1)
			return arrayText{"array", items}, err
		}
		if t.Kind() == reflect.Slice {
			return "bytes", nil
		}
		name := t.Name()
		if name == "" {
			name = "fixed_" + strconv.Itoa(t.Len())
		}
		return d.fixed(t, name, "")
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%v: a map has keys of text in Avro", t)
		}
		if isText, err := asText(t.Key()); isText || err != nil {
			return nil, fmt.Errorf("%v: the key has a text of its own, which the map would not use", t)
		}
		values, err := d.typ(t.Elem(), goField{}, depth+1)
		return mapText{"map", values}, err
	case reflect.Struct:
		return d.structure(t)
	default:
		return nil, fmt.Errorf("%v: has no schema", t)
	}
}

func (d *deriver) structure(t reflect.Type) (any, error) {
	if name, known := d.names[t]; known {
		return d.full(name), nil
	}
	if t.Name() == "" {
		return nil, errors.New("a struct without a name has no schema: name the type")
	}
	return d.record(t, t.Name())
}

func (d *deriver) fixed(t reflect.Type, name, logical string) (any, error) {
	if d.types[name] == t {
		return d.full(name), nil
	}
	if t.Size() == 0 {
		return nil, fmt.Errorf("%v: a fixed of no bytes has no schema", t)
	}
	return &fixedText{Type: "fixed", Name: name, Size: t.Len(), LogicalType: logical}, d.define(t, name)
}
