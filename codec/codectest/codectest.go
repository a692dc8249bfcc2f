// Package codectest pins the bytes that a codec must keep reading.
//
// # Usage
//
// Keep every payload that was ever stored as a file, and only add to them:
//
//	pins := codectest.For(t, order.Codec)
//	pins.Reads("order.placed", 1, `{"Euros":12}`, order.Placed{Cents: 1200})
//	pins.Writes(order.Placed{Cents: 1200}, "order.placed", 2, `{"Cents":1200}`)
//	pins.Corpus(os.DirFS("testdata"))
package codectest

import (
	"io/fs"
	"reflect"
	"testing"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/corpus"
	"github.com/annals-go/annals/event"
)

// Check holds a codec against stored bytes. Build it with For.
type Check[E any] struct {
	t     testing.TB
	codec *codec.Codec[E]
}

// For returns a Check of c that reports to t.
func For[E any](t testing.TB, c *codec.Codec[E]) Check[E] { return Check[E]{t, c} }

// Reads checks that payload, stored under the name and schema version, decodes
// to want: one event, several after a split, none after a drop.
func (k Check[E]) Reads(name string, schema int, payload string, want ...E) {
	k.t.Helper()
	got, err := k.read(name, schema, []byte(payload))
	if err != nil {
		k.t.Errorf("%v", err)
		return
	}
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		k.t.Errorf("decode %s schema %d:\ngot  %+v\nwant %+v", name, schema, got, want)
	}
}

// Writes checks that e is stored under the name and schema version with exactly
// this payload.
func (k Check[E]) Writes(e E, name string, schema int, payload string) {
	k.t.Helper()
	raw, err := k.codec.Encode(e)
	if err != nil {
		k.t.Errorf("%v", err)
		return
	}
	if raw.Name != name || raw.Schema != schema || string(raw.Payload) != payload {
		k.t.Errorf("encode %T:\ngot  %s schema %d %s\nwant %s schema %d %s", e, raw.Name, raw.Schema, raw.Payload, name, schema, payload)
	}
}

// Corpus decodes every file of fsys named NAME.vSCHEMA[.label].payload or
// .json, such as order.placed.v1.json, compares it with the current form in the
// file of the same name with .want added (the decoded events as JSON, an
// array), and checks that every shape that the codec knows has a file. Files
// are only ever added. annals schema check --corpus does the same; see package
// corpus.
func (k Check[E]) Corpus(fsys fs.FS) {
	k.t.Helper()
	found, _, err := corpus.Check(fsys, k.codec)
	if err != nil {
		k.t.Fatalf("read corpus: %v", err)
	}
	for _, f := range found {
		if f.Rule == corpus.RulePinned {
			k.t.Errorf("%v", f.Err)
		} else {
			k.t.Errorf("corpus %s: %v", f.File, f.Err)
		}
	}
}

func (k Check[E]) read(name string, schema int, payload []byte) ([]E, error) {
	decoded, err := k.codec.Decode(event.Recorded{Raw: event.Raw{
		Name: name, Schema: schema, ContentType: k.codec.ContentType(), Payload: payload,
	}})
	if err != nil {
		return nil, err
	}
	out := make([]E, len(decoded))
	for i, e := range decoded {
		out[i] = e.Data
	}
	return out, nil
}
