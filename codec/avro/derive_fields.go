package avro

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// goField is a field of a Go struct that is a field of the Avro record: its own, or one
// that an embedded or inlined struct lends it.
type goField struct {
	name      string
	index     []int
	typ       reflect.Type
	tagged    bool
	aliases   []string
	typeAlias []string
	dflt      *string // text of default=
	logical   string  // with decimal
	precision int
	scale     int
}

// goFields returns the fields of a struct as the library finds them when it encodes: a
// tagged field wins over one without a tag, then the shallower one. Two of a kind are an
// error.
func goFields(t reflect.Type) ([]goField, error) {
	all, err := collect(t, nil, map[reflect.Type]bool{})
	if err != nil {
		return nil, err
	}
	winner, doubt := map[string]int{}, map[string]bool{}
	for i, f := range all {
		j, taken := winner[f.name]
		switch {
		case !taken, f.tagged && !all[j].tagged, f.tagged == all[j].tagged && len(f.index) < len(all[j].index):
			winner[f.name] = i
			delete(doubt, f.name)
		case f.tagged == all[j].tagged && len(f.index) == len(all[j].index):
			doubt[f.name] = true
		}
	}
	var out []goField
	for i, f := range all {
		if doubt[f.name] {
			return nil, fmt.Errorf("two fields of %v are both %q: rename one by its avro tag", t, f.name)
		}
		if winner[f.name] == i {
			out = append(out, f)
		}
	}
	return out, nil
}

func collect(t reflect.Type, index []int, path map[reflect.Type]bool) ([]goField, error) {
	if path[t] {
		return nil, nil
	}
	path[t] = true
	defer delete(path, t)
	var out []goField
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("avro")
		inner := sf.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		embedded := sf.Anonymous && inner.Kind() == reflect.Struct
		if tag == "-" || tag == "" && !embedded && !sf.IsExported() {
			continue
		}
		if !embedded && !sf.IsExported() {
			return nil, fmt.Errorf("field %s: tag %q: a field that is not exported is never written: export it, or leave the tag out", sf.Name, tag)
		}
		at := append(slices.Clone(index), i)
		f, flat, err := readTag(sf, tag, at)
		if err != nil {
			return nil, fmt.Errorf("field %s: tag %q: %w", sf.Name, tag, err)
		}
		if !flat && (!embedded || f.tagged) {
			out = append(out, f)
			continue
		}
		if inner.Kind() != reflect.Struct {
			return nil, fmt.Errorf("field %s: tag %q: inline wants a struct or a pointer to one, got %v", sf.Name, tag, sf.Type)
		}
		if sf.Type.Kind() == reflect.Pointer { // its fields have no place for the nil
			return nil, fmt.Errorf("field %s: %v is inlined, so nil would come back as a struct: embed %v, or name the field in its tag", sf.Name, sf.Type, inner)
		}
		if isOne, err := asText(inner); isOne || err != nil || inner == timeType || inner == ratType {
			return nil, fmt.Errorf("field %s: %v is one value and lends no fields: name the field in its tag", sf.Name, inner)
		}
		if f.tagged || strings.Trim(strings.ReplaceAll(tag, "inline", ""), ",") != "" {
			return nil, fmt.Errorf("field %s: tag %q: the field is inlined, so the tag has nothing to apply to: put it on the fields of %v", sf.Name, tag, inner)
		}
		nested, err := collect(inner, at, path)
		if err != nil {
			return nil, err
		}
		out = append(out, nested...)
	}
	return out, nil
}

// readTag reads the tag of a field, and whether it says that the field is inlined.
func readTag(sf reflect.StructField, tag string, index []int) (f goField, flat bool, err error) {
	if strings.HasPrefix(tag, "-") {
		return f, false, errors.New(`"-" leaves the field out only if nothing follows it`)
	}
	parts, err := splitTag(tag)
	if err != nil {
		return f, false, err
	}
	f = goField{name: parts[0], index: index, typ: sf.Type, tagged: parts[0] != ""}
	if !f.tagged {
		f.name = sf.Name
	}
	for _, opt := range parts[1:] {
		key, value, _ := strings.Cut(opt, "=")
		switch {
		case opt == "inline":
			flat = true
		case opt == "omitzero": // the library would write the default of the schema in place of zero
			return f, false, errors.New("omitzero would store the default in place of zero: leave it out")
		case key == "alias" && value != "":
			f.aliases = append(f.aliases, list(value)...)
		case key == "type-alias" && value != "":
			f.typeAlias = append(f.typeAlias, list(value)...)
		case strings.HasPrefix(opt, "default="):
			f.dflt = &value
		case strings.HasPrefix(opt, "decimal("):
			f.logical = "decimal"
			if n, _ := fmt.Sscanf(opt, "decimal(%d,%d)", &f.precision, &f.scale); n != 2 || opt != fmt.Sprintf("decimal(%d,%d)", f.precision, f.scale) {
				return f, false, fmt.Errorf("want decimal(precision,scale), such as decimal(10,2), got %s", opt)
			}
		case opt == "uuid" || baseOf[opt] != "":
			f.logical = opt
		default:
			return f, false, fmt.Errorf("unknown option %q", opt)
		}
	}
	return f, flat, nil
}

// baseOf is the type that a logical type of time and date is written as.
var baseOf = map[string]string{
	"date": "int", "time-millis": "int", "time-micros": "long",
	"timestamp-millis": "long", "timestamp-micros": "long", "timestamp-nanos": "long",
	"local-timestamp-millis": "long", "local-timestamp-micros": "long", "local-timestamp-nanos": "long",
}

func list(value string) []string {
	if inner, ok := strings.CutPrefix(value, "["); ok {
		value = strings.TrimSuffix(inner, "]")
	}
	return strings.Split(value, ",")
}

// splitTag splits at commas that are in no brackets. What default= begins is the rest.
func splitTag(tag string) ([]string, error) {
	var parts []string
	depth, start := 0, 0
	for i := range len(tag) {
		switch tag[i] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ',':
			if depth != 0 {
				continue
			}
			parts = append(parts, tag[start:i])
			start = i + 1
			if strings.HasPrefix(tag[start:], "default=") {
				return append(parts, tag[start:]), nil
			}
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 {
		return nil, errors.New("brackets do not match")
	}
	return append(parts, tag[start:]), nil
}
