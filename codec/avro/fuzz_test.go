package avro_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
)

// again encodes what was decoded, which must decode to the same.
func again(t *testing.T, c *codec.Codec[Event], name string, data []byte) {
	t.Helper()
	got, err := decode(c, name, data)
	if err != nil {
		if !errors.Is(err, codec.ErrUndecodable) {
			t.Errorf("Decode = %v, which does not match ErrUndecodable", err)
		}
		return
	}
	raw, err := c.Encode(got[0].Data)
	if err != nil {
		t.Fatalf("what was decoded cannot be encoded: %v: %+v", err, got[0].Data)
	}
	second, err := decode(c, name, raw.Payload)
	if err != nil {
		t.Fatalf("what was encoded cannot be decoded: %v: %+v", err, got[0].Data)
	}
	if reflect.DeepEqual(got[0].Data, second[0].Data) {
		return
	}
	if diff := cmp.Diff(got[0].Data, second[0].Data, compareRats); diff != "" {
		t.Error(diff)
	}
}

func FuzzUnmarshal(f *testing.F) {
	r := &registry{}
	format := avro.New(r, avro.WithRegistration())
	c := codec.New[Event](format, codec.Types[Event]{"order.placed": Placed{}, "order.ordered": Ordered{}, "order.bombed": Bombed{}})
	for _, e := range []Event{placed(), ordered(), Bombed{Names: []string{"a"}, Tree: &Tree{Kids: []Tree{{}}}}} {
		raw, err := c.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range []string{"order.placed", "order.ordered", "order.bombed"} {
			f.Add(name, raw.Payload)
		}
	}
	f.Add("order.ordered", written(f, r.add("earlier", earlierOrder), earlierOrder, earlierValue()))
	f.Fuzz(func(t *testing.T, name string, data []byte) { again(t, c, name, data) })
}

// FuzzSchema reads with schemas of a hostile registry.
func FuzzSchema(f *testing.F) {
	f.Add(earlierOrder, written(f, 1, earlierOrder, earlierValue())[5:])
	f.Add(record(`{"name":"x","type":["null",{"type":"enum","name":"E","symbols":["A"]},{"type":"fixed","name":"F","size":2}]}`), []byte{0, 0, 0, 0})
	f.Add(`["null","string"]`, []byte{2, 2, 'a'})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		r := &registry{}
		c := codec.New[Event](avro.New(r, avro.WithRegistration()), codec.Types[Event]{"order.placed": Placed{}, "order.ordered": Ordered{}, "order.bombed": Bombed{}})
		id := r.add("hostile", text)
		for _, name := range []string{"order.placed", "order.ordered", "order.bombed"} {
			again(t, c, name, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), data...))
		}
	})
}

// What Inline returns of schemas is a schema that needs no other, or an error.
func FuzzInline(f *testing.F) {
	f.Add(`{"type":"record","name":"a.R","fields":[{"name":"s","type":"S"}]}`, `{"type":"record","name":"a.S","fields":[{"name":"r","type":["null","R"]}]}`)
	f.Add(`{"type":"array","items":"a.E"}`, `{"type":"enum","name":"E","namespace":"a","symbols":["x"]}`)
	f.Add(`[{"type":"a.F"},"null"]`, `{"type":"map","values":{"type":"fixed","name":"a.F","size":1}}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		got, err := avro.Inline(avro.File{Name: "1", Text: one}, avro.File{Name: "2", Text: two})
		if err != nil {
			return
		}
		again, err := avro.Inline(got...)
		if err != nil {
			return // they have come to differ in what they define
		}
		for i, text := range []string{one, two} {
			if _, err := avro.Normal(avro.Schema{Text: text}); err == nil && got[i].Text != text {
				t.Errorf("a schema has changed: %s is %s", text, got[i].Text)
			}
			if got[i].Text != text && again[i].Text != got[i].Text {
				t.Errorf("%s is %s after the first time and %s after the second", text, got[i].Text, again[i].Text)
			}
		}
	})
}
