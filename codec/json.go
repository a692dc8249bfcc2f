package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unicode/utf8"

	"github.com/annals-go/annals/upcast"
)

// JSON returns a codec that stores events as encoding/json writes them. It
// panics like New.
//
// Encoding refuses text that is not UTF-8, which encoding/json would silently
// change. Decoding refuses invalid UTF-8 and trailing bytes; fields that the
// shape does not have are ignored, so that a field may be added while programs
// that do not know it are running. To keep integers beyond 2^53 exact, give
// them integer types, never any.
func JSON[E any](types Types[E], rules ...upcast.Rule) *Codec[E] {
	return New(jsonFormat{}, types, rules...)
}

// JSONFormat returns the format of JSON, for what stores other values than
// events in the same way.
func JSONFormat() Format { return jsonFormat{} }

type jsonFormat struct{}

func (jsonFormat) ContentType() string { return "application/json" }

func (jsonFormat) Marshal(_ string, _ int, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	// encoding/json writes the six characters \ufffd in place of an invalid
	// byte, and the character itself when the text really had it.
	if bytes.Contains(data, []byte(`\ufffd`)) && hasInvalidText(reflect.ValueOf(v)) {
		return nil, errors.New("text is not valid UTF-8")
	}
	return data, nil
}

func (jsonFormat) Unmarshal(_ string, _ int, data []byte, into any) error {
	if !utf8.Valid(data) {
		return errors.New("payload is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("payload is empty")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("payload goes on after byte %d", d.InputOffset())
	}
	return nil
}

// hasInvalidText walks a value that was suspected by its encoding. Depth is
// bounded because json.Marshal has already walked the same value to its end.
func hasInvalidText(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && hasInvalidText(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if hasInvalidText(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if hasInvalidText(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if hasInvalidText(it.Key()) || hasInvalidText(it.Value()) {
				return true
			}
		}
	default: // numbers and the like hold no text
	}
	return false
}
