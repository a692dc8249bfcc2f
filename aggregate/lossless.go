package aggregate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// checkLossless returns an error that names the first part of a type which does
// not survive encoding/json.
func checkLossless(t reflect.Type) error {
	c := lossless{map[reflect.Type]bool{}}
	return c.check(t, t.String(), true)
}

type lossless struct{ seen map[reflect.Type]bool }

const ownMethods = "MarshalJSON and UnmarshalJSON"

// check walks the type. Methods of a pointer are called only on values that
// have an address, which the elements of maps have not.
func (c lossless) check(t reflect.Type, path string, addressable bool) error {
	if t == reflect.TypeFor[json.Number]() || t == reflect.TypeFor[json.RawMessage]() {
		return fmt.Errorf("%s: %s, whose zero value encoding/json changes: use a type of your own", path, t)
	}
	self, err := marshalsItself(t, path, addressable)
	if self || err != nil {
		return err
	}
	if c.seen[t] {
		return nil // recursive
	}
	c.seen[t] = true
	defer delete(c.seen, t) // elsewhere it may have no address
	switch t.Kind() {
	case reflect.Struct:
		return c.fields(t, path, map[string]string{}, addressable)
	case reflect.Pointer:
		switch t.Elem().Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			return fmt.Errorf("%s: %s, where nil and a pointer to nil are the same in JSON: use the %s without the pointer", path, t, t.Elem().Kind())
		default:
			return c.check(t.Elem(), path, true)
		}
	case reflect.Slice:
		return c.check(t.Elem(), path+"[]", true)
	case reflect.Array:
		return c.check(t.Elem(), path+"[]", addressable)
	case reflect.Map:
		if err := checkKey(t.Key(), path); err != nil {
			return err
		}
		return c.check(t.Elem(), path+"[]", false)
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("%s: %s, which JSON cannot give back: use a concrete type, or give the type around it %s", path, t, ownMethods)
	default: // bool, numbers, string
		return nil
	}
}

func (c lossless) fields(t reflect.Type, path string, names map[string]string, addressable bool) error {
	for i := range t.NumField() {
		f := t.Field(i)
		at := path + "." + f.Name
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Name == "_":
			continue
		case f.Tag.Get("json") == "-":
			return fmt.Errorf("%s: tag json:\"-\", which leaves the field out: remove it, or give %s %s", at, t, ownMethods)
		case f.Anonymous && f.Type.Kind() == reflect.Pointer:
			return fmt.Errorf("%s: embedded pointer, whose fields are left out when it is nil: give the field a name", at)
		case f.Anonymous && f.Type.Kind() == reflect.Struct && name == "":
			if err := c.fields(f.Type, at, names, addressable); err != nil {
				return err
			}
			continue
		case !f.IsExported():
			return fmt.Errorf("%s: unexported field, which encoding/json leaves out: export it, or give %s %s", at, t, ownMethods)
		}
		if err := checkOptions(f.Type, at, options); err != nil {
			return err
		}
		if name == "" {
			name = f.Name
		}
		if other, twice := names[name]; twice {
			return fmt.Errorf("%s: has the name %q in JSON, like %s, so encoding/json leaves one out: give it another", at, name, other)
		}
		names[name] = at
		if err := c.check(f.Type, at, addressable); err != nil {
			return err
		}
	}
	return nil
}

// checkOptions refuses what leaves out a value that is not the one a missing
// field stands for.
func checkOptions(t reflect.Type, path, options string) error {
	for _, o := range strings.Split(options, ",") {
		switch k := t.Kind(); {
		case o == "omitempty" && (k == reflect.Map || k == reflect.Slice):
			return fmt.Errorf("%s: option omitempty, which makes an empty %s nil: use omitzero", path, k)
		case o == "omitempty" && (k == reflect.Float32 || k == reflect.Float64):
			return fmt.Errorf("%s: option omitempty, which makes -0 to 0: use omitzero", path)
		case o == "omitzero" && has(t, "IsZero"):
			return fmt.Errorf("%s: option omitzero, with which the IsZero of %s decides what is left out: remove it", path, t)
		}
	}
	return nil
}

func has(t reflect.Type, method string) bool {
	_, ok := reflect.PointerTo(t).MethodByName(method)
	return ok
}

// marshalsItself reports whether a type has methods that write it and methods
// that read what they write. Only one of the two is an error.
func marshalsItself(t reflect.Type, path string, addressable bool) (bool, error) {
	writes, reads := "no method", "no method"
	written := func(i reflect.Type) bool {
		return t.Implements(i) || addressable && reflect.PointerTo(t).Implements(i)
	}
	read := func(i reflect.Type) bool { return reflect.PointerTo(t).Implements(i) || t.Implements(i) }
	switch {
	case t.Kind() == reflect.Interface:
		return false, nil
	case written(jsonMarshaler):
		writes = "MarshalJSON"
	case written(textMarshaler):
		writes = "MarshalText"
	}
	switch {
	case read(jsonUnmarshaler):
		reads = "UnmarshalJSON"
	case read(textUnmarshaler):
		reads = "UnmarshalText"
	}
	if strings.TrimPrefix(writes, "Marshal") != strings.TrimPrefix(reads, "Unmarshal") {
		return false, fmt.Errorf("%s: %s is written by %s and read by %s: give it both, on the value", path, t, writes, reads)
	}
	if writes == "no method" {
		return false, nil
	}
	return true, checkPromoted(t, path, writes)
}

// checkPromoted refuses a struct whose methods may be those of an embedded
// field, which know nothing of the other fields.
func checkPromoted(t reflect.Type, path, method string) error {
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return nil
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && has(f.Type, method) {
			return fmt.Errorf("%s: %s embeds %s, whose %s leaves out the other fields: give the field a name", path, t, f.Type, method)
		}
	}
	return nil
}

// checkKey admits the keys of maps that come back as they were.
func checkKey(t reflect.Type, path string) error {
	writes, reads := t.Implements(textMarshaler), reflect.PointerTo(t).Implements(textUnmarshaler)
	switch t.Kind() {
	case reflect.String:
		if !writes && !reads {
			return nil // encoding/json would write the text, and read it with the method
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if writes == reads {
			return nil
		}
	case reflect.Interface:
	default:
		if writes && reads {
			return nil
		}
	}
	return fmt.Errorf("%s: key of type %s, which JSON cannot give back: use a string, an integer, or give it MarshalText and UnmarshalText on the value", path, t)
}
