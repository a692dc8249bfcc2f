package avrointerop

import (
	"reflect"

	hamba "github.com/hamba/avro/v2"
	twmb "github.com/twmb/avro"
)

// A library encodes a value under a schema, and decodes what was written under one schema
// as another one says, into what a pointer points to. An equal pair of schemas is no case
// of evolution.
type library struct {
	name string
	// resolve says whether one schema reads what was written under the other.
	resolve func(writer, reader string) error
	encode  func(schema string, v any) ([]byte, error)
	decode  func(writer, reader string, data []byte, into any) error
}

// hambas is hamba/avro as its users have it, without a configuration.
func hambas() library { return hambaWith("hamba", hamba.DefaultConfig) }

// hambaPlain writes arrays and maps without the length in bytes, as most libraries do.
func hambaPlain() library {
	return hambaWith("hamba without sizes", hamba.Config{DisableBlockSizeHeader: true, BlockLength: 1 << 20}.Freeze())
}

func hambaWith(name string, api hamba.API) library {
	// A cache of its own for each schema: they define the same names.
	parse := func(text string) (hamba.Schema, error) { return hamba.ParseWithCache(text, "", &hamba.SchemaCache{}) }
	return library{
		name: name,
		resolve: func(writer, reader string) error {
			w, err := parse(writer)
			if err != nil {
				return err
			}
			r, err := parse(reader)
			if err != nil {
				return err
			}
			_, err = hamba.NewSchemaCompatibility().Resolve(r, w)
			return err
		},
		encode: func(schema string, v any) ([]byte, error) {
			s, err := parse(schema)
			if err != nil {
				return nil, err
			}
			return api.Marshal(s, v)
		},
		decode: func(writer, reader string, data []byte, into any) error {
			s, err := parse(reader)
			if err != nil {
				return err
			}
			if writer != reader {
				w, err := parse(writer)
				if err != nil {
					return err
				}
				if s, err = hamba.NewSchemaCompatibility().Resolve(s, w); err != nil {
					return err
				}
			}
			return api.Unmarshal(s, data, into)
		},
	}
}

// direct is twmb/avro, the library that codec/avro stands on, without codec/avro.
func direct() library {
	return library{
		name: "twmb",
		resolve: func(writer, reader string) error {
			w, err := twmb.Parse(writer)
			if err != nil {
				return err
			}
			r, err := twmb.Parse(reader)
			if err != nil {
				return err
			}
			_, err = twmb.Resolve(w, r)
			return err
		},
		encode: func(schema string, v any) ([]byte, error) {
			s, err := twmb.Parse(schema)
			if err != nil {
				return nil, err
			}
			p := reflect.New(reflect.TypeOf(v))
			p.Elem().Set(reflect.ValueOf(v))
			return s.Encode(p.Interface())
		},
		decode: func(writer, reader string, data []byte, into any) error {
			s, err := twmb.Parse(reader)
			if err != nil {
				return err
			}
			if writer != reader {
				w, err := twmb.Parse(writer)
				if err != nil {
					return err
				}
				if s, err = twmb.Resolve(w, s); err != nil {
					return err
				}
			}
			rest, err := s.Decode(data, into)
			if err == nil && len(rest) > 0 {
				err = errTrailing
			}
			return err
		},
	}
}
