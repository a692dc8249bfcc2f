package avrointerop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/internal/devenv/schemas"
)

// An office is a registry, reached over HTTP as in production, and what lies in it.
type office struct {
	client *avro.Client
}

func newOffice(t *testing.T) *office {
	t.Helper()
	r, err := schemas.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	client, err := avro.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	return &office{client}
}

// subject is one of its own for each schema: they evolve as no subject may.
func subject(schema string) string {
	sum := sha256.Sum256([]byte(schema))
	return "interop-" + hex.EncodeToString(sum[:8])
}

// format returns codec/avro with one schema, that of version 1 of an event.
func (o *office) format(schema string, shape reflect.Type) (*avro.Format, error) {
	f := avro.New(o.client, avro.WithRegistration(),
		avro.WithSchemas(fstest.MapFS{"interop.happened.v1.avsc": {Data: []byte(schema)}}),
		avro.WithSubject(func(_, _ string) string { return subject(schema) }))
	return f, f.Declare("interop.happened", 1, shape, true)
}

const frame = 5

// annals is codec/avro. The five bytes in front are put on and taken off here, as a
// service on hamba does it: zero, and the id that the registry has for the schema.
func (o *office) annals(t *testing.T) library {
	t.Helper()
	return library{
		name: "annals",
		encode: func(schema string, v any) ([]byte, error) {
			f, err := o.format(schema, reflect.TypeOf(v))
			if err != nil {
				return nil, err
			}
			data, err := f.Marshal("interop.happened", 1, v)
			if err != nil {
				return nil, err
			}
			id, err := o.client.Lookup(t.Context(), subject(schema), avro.Schema{Text: schema})
			if err != nil {
				return nil, err
			}
			if len(data) < frame || data[0] != 0 || binary.BigEndian.Uint32(data[1:]) != uint32(id) {
				return nil, fmt.Errorf("got %x, want it to begin with zero and schema id %d", data, id)
			}
			return data[frame:], nil
		},
		decode: func(writer, reader string, data []byte, into any) error {
			id, err := o.client.Register(t.Context(), subject(writer), avro.Schema{Text: writer})
			if err != nil {
				return err
			}
			f, err := o.format(reader, reflect.TypeOf(into).Elem())
			if err != nil {
				return err
			}
			framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
			return f.Unmarshal("interop.happened", 1, append(framed, data...), into)
		},
		resolve: func(writer, reader string) error {
			err := avro.Check(avro.Backward, avro.Schema{Text: reader}, avro.Schema{Text: writer})
			if err != nil && !errors.Is(err, avro.ErrIncompatible) {
				return fmt.Errorf("not what was asked: %w", err)
			}
			return err
		},
	}
}
