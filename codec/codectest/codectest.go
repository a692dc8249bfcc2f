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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"testing"

	"github.com/annals-go/annals/codec"
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

var corpusName = regexp.MustCompile(`^(.+)\.v([1-9][0-9]*)(\.[a-z0-9_-]+)?\.(payload|json)$`)

// Corpus decodes every file of fsys named NAME.vSCHEMA[.label].payload or
// .json, such as order.placed.v1.json, compares it with the current form in the
// file of the same name with .want added (the decoded events as JSON, an
// array), and checks that every shape that the codec knows has a file. Files
// are only ever added.
func (k Check[E]) Corpus(fsys fs.FS) {
	k.t.Helper()
	seen := map[string]bool{}
	files, err := fs.ReadDir(fsys, ".")
	if err != nil {
		k.t.Fatalf("read corpus: %v", err)
	}
	for _, f := range files {
		m := corpusName.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		schema, _ := strconv.Atoi(m[2])
		seen[key(m[1], schema)] = true
		if err := k.compare(fsys, f.Name(), m[1], schema); err != nil {
			k.t.Errorf("corpus %s: %v", f.Name(), err)
		}
	}
	for name, schema := range k.codec.Shapes {
		if !seen[key(name, schema)] {
			k.t.Errorf("corpus has no file for %s: store one as %s.json", key(name, schema), key(name, schema))
		}
	}
}

func (k Check[E]) compare(fsys fs.FS, file, name string, schema int) error {
	payload, err := fs.ReadFile(fsys, file)
	if err != nil {
		return err
	}
	events, err := k.read(name, schema, payload)
	if err != nil {
		return err
	}
	want, err := fs.ReadFile(fsys, path.Clean(file+".want"))
	if errors.Is(err, fs.ErrNotExist) {
		got, _ := json.Marshal(events)
		return fmt.Errorf("%s.want is missing; today it decodes to %s", file, got)
	} else if err != nil {
		return err
	}
	text, err := json.Marshal(events)
	if err != nil {
		return err
	}
	wanted, err := parse(want)
	if err != nil {
		return fmt.Errorf("%s.want: %w", file, err)
	}
	got, err := parse(text)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("decodes to %s, want %s", text, want)
	}
	return nil
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

// parse keeps numbers as they are written: a float would round beyond 2^53.
func parse(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func key(name string, schema int) string { return fmt.Sprintf("%s.v%d", name, schema) }
