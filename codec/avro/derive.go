package avro

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	avrolib "github.com/twmb/avro"
)

// maxNesting bounds slices, maps and pointers in each other, such as type T []T.
const maxNesting = 64

var (
	timeType      = reflect.TypeFor[time.Time]()
	durationType  = reflect.TypeFor[time.Duration]()
	ratType       = reflect.TypeFor[big.Rat]()
	numberType    = reflect.TypeFor[json.Number]()
	monthsType    = reflect.TypeFor[avrolib.Duration]()
	appenderType  = reflect.TypeFor[encoding.TextAppender]()
	marshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// recordName returns the name of the record of an event: order.line-added of schema
// version 2 is order.LineAddedV2. It does not depend on the Go type, which may be renamed.
func recordName(event string, schema int) (namespace, name string) {
	namespace, fact, _ := strings.Cut(event, ".")
	namespace, name = camel(namespace, false), camel(fact, true)
	if schema > 1 {
		name += "V" + strconv.Itoa(schema)
	}
	return namespace, name
}

// camel joins words at what a name of Avro cannot have.
func camel(text string, upper bool) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z' && upper:
			c -= 'a' - 'A'
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && b.Len() > 0:
		default:
			upper = true
			continue
		}
		b.WriteByte(c)
		upper = false
	}
	return b.String()
}

func isName(text string) bool {
	for i, c := range []byte(text) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// derive returns the schema of a Go type as JSON.
func derive(event string, schema int, t reflect.Type) (string, error) {
	d := deriver{names: map[reflect.Type]string{}, types: map[string]reflect.Type{}, aliases: map[string][]string{}}
	var name string
	d.namespace, name = recordName(event, schema)
	if t.Kind() != reflect.Struct {
		return "", fmt.Errorf("%v: want a struct, whose fields are those of the record", t)
	}
	record, err := d.record(t, name)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(record)
	return string(text), err
}

type deriver struct {
	namespace string
	names     map[reflect.Type]string // of records and fixed that are defined
	types     map[string]reflect.Type
	aliases   map[string][]string
}

// The order of the fields is that of the text.
type (
	recordText struct {
		Type      string      `json:"type"`
		Name      string      `json:"name"`
		Namespace string      `json:"namespace,omitempty"`
		Aliases   []string    `json:"aliases,omitempty"`
		Fields    []fieldText `json:"fields"`
	}
	fieldText struct {
		Name    string          `json:"name"`
		Type    any             `json:"type"`
		Default json.RawMessage `json:"default,omitempty"`
		Aliases []string        `json:"aliases,omitempty"`
	}
	fixedText struct {
		Type        string   `json:"type"`
		Name        string   `json:"name"`
		Aliases     []string `json:"aliases,omitempty"`
		Size        int      `json:"size"`
		LogicalType string   `json:"logicalType,omitempty"`
	}
	logicalText struct {
		Type        string `json:"type"`
		LogicalType string `json:"logicalType"`
		Precision   int    `json:"precision,omitempty"`
		Scale       int    `json:"scale,omitempty"`
	}
	arrayText struct {
		Type  string `json:"type"`
		Items any    `json:"items"`
	}
	mapText struct {
		Type   string `json:"type"`
		Values any    `json:"values"`
	}
)

// define notes the name of a type, or says that another type has it.
func (d *deriver) define(t reflect.Type, name string) error {
	if !isName(name) {
		return fmt.Errorf("%q is no name in Avro (letters of ASCII, digits, underscores): declare a type of %v with such a name", name, t)
	}
	if other, taken := d.types[name]; taken {
		return fmt.Errorf("%v and %v are both named %s in the schema: rename one of the Go types", other, t, d.full(name))
	}
	d.names[t], d.types[name] = name, t
	return nil
}

func (d *deriver) full(name string) string { return strings.TrimPrefix(d.namespace+"."+name, ".") }

func (d *deriver) record(t reflect.Type, name string) (*recordText, error) {
	if err := d.define(t, name); err != nil {
		return nil, err
	}
	fields, err := goFields(t)
	if err != nil {
		return nil, err
	}
	r := &recordText{Type: "record", Name: name, Fields: []fieldText{}}
	if len(d.names) == 1 {
		r.Namespace = d.namespace // those inside inherit it
	}
	for _, f := range fields {
		text, err := d.field(f)
		if err == nil && !isName(f.name) {
			err = errors.New("is no name in Avro (letters of ASCII, digits, underscores): give it one in its tag")
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
		r.Fields = append(r.Fields, text)
	}
	return r, nil
}

func (d *deriver) field(f goField) (fieldText, error) {
	typ, err := d.typ(f.typ, f, 0)
	if err != nil {
		return fieldText{}, err
	}
	out := fieldText{Name: f.name, Type: typ, Aliases: f.aliases}
	if len(f.typeAlias) > 0 {
		if err := d.alias(typ, f.typeAlias); err != nil {
			return out, err
		}
	}
	union, nullable := typ.([]any)
	switch {
	case f.dflt != nil:
		out.Default, err = d.dflt(*f.dflt, f.typ)
		if nullable && string(out.Default) != "null" { // up to Avro 1.11 it is of the first branch
			out.Type = []any{union[1], union[0]}
		}
		if err == nil {
			err = readsDefault(out, f.typ)
		}
	case nullable:
		out.Default = json.RawMessage("null")
	}
	return out, err
}

// dflt is the text as JSON if it is that, and the text itself otherwise.
func (d *deriver) dflt(text string, t reflect.Type) (json.RawMessage, error) {
	if !json.Valid([]byte(text)) {
		return json.Marshal(text)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		zero := reflect.New(t).Elem()
		if zero.CanInt() && zero.OverflowInt(n) || zero.CanUint() && (n < 0 || zero.OverflowUint(uint64(n))) {
			return nil, fmt.Errorf("default %d does not fit %v", n, t)
		}
	}
	return json.RawMessage(text), nil
}

// alias gives the named type in a type, or that it refers to, more names.
func (d *deriver) alias(typ any, names []string) error {
	var name string
	var to *[]string
	switch typ := typ.(type) {
	case []any:
		return d.alias(typ[1], names)
	case arrayText:
		return d.alias(typ.Items, names)
	case mapText:
		return d.alias(typ.Values, names)
	case *recordText:
		name, to = typ.Name, &typ.Aliases
	case *fixedText:
		name, to = typ.Name, &typ.Aliases
	case string:
		name = strings.TrimPrefix(typ, d.namespace+".")
	}
	if d.types[name] == nil {
		return fmt.Errorf("type-alias wants a record or fixed, whose alias it is")
	}
	if to != nil {
		*to = append(*to, names...)
		d.aliases[name] = names
	} else if !slices.Equal(d.aliases[name], names) {
		return fmt.Errorf("type-alias %v: %s is defined at an earlier field, with the aliases %v: put it there", names, d.full(name), d.aliases[name])
	}
	return nil
}
