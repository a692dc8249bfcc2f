package avro

import (
	"encoding/json"
	"fmt"
	"reflect"

	avrolib "github.com/twmb/avro"
)

// readsDefault returns an error if the default of a field is not read into the Go type, or
// is a value that the field could not be written with. It looks at fields that use no type
// which is defined at another one; that a default is of the type is a matter of the whole schema.
func readsDefault(f fieldText, t reflect.Type) error {
	f.Name, f.Aliases = "f", nil
	text, err := json.Marshal(recordText{Type: "record", Name: "D", Fields: []fieldText{f}})
	if err != nil {
		return err
	}
	if schema, err := avrolib.Parse(string(text)); err == nil {
		err = decodesDefault(schema, t)
		if err != nil {
			return fmt.Errorf("default %s does not fit %v: %w", short(string(f.Default)), t, err)
		}
	}
	return nil
}

func decodesDefault(schema *avrolib.Schema, t reflect.Type) error {
	resolved, err := avrolib.Resolve(avrolib.MustParse(`{"type":"record","name":"D","fields":[]}`), schema)
	if err != nil {
		return plain(err)
	}
	root, err := compile(schema)
	if err != nil {
		return err
	}
	into := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "F", Type: t, Tag: `avro:"f"`}}))
	if _, err := resolved.Decode(nil, into.Interface()); err != nil {
		return plain(err)
	}
	data, err := schema.AppendEncode(nil, into.Interface())
	if err != nil {
		return plain(err)
	}
	return walk(root, data, DefaultLimits())
}
