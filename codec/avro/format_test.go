package avro_test

import (
	"math/big"
	"reflect"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
)

type (
	Event interface{ isOrder() }
	Line  struct {
		Product string
		Count   int32
		Cents   int64
	}
	Placed struct {
		Order    uuid.UUID `avro:"order,uuid"`
		Customer string    `avro:"customer"`
		At       time.Time `avro:"at"`
		Express  bool      `avro:"express,default=false"`
		Note     *string   `avro:"note"`
		Total    *big.Rat  `avro:"total,decimal(12,2)"`
		Lines    []Line    `avro:"lines"`
		Labels   map[string]string
		Took     time.Duration
	}
)

func (Placed) isOrder() {}

func placed() Placed {
	note := "ring twice"
	return Placed{
		Order: uuid.MustParse("4b5a1c9e-6f0e-4c1b-9a57-0e3f6f6c8d11"), Customer: "c-17", At: time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC),
		Note: &note, Total: big.NewRat(1999, 100), Lines: []Line{{"p-1", 2, 500}, {"p-2", 1, 999}},
		Labels: map[string]string{"channel": "web"}, Took: 1234567891,
	}
}

var compareRats = cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := &registry{}
	f := avro.New(r, avro.WithRegistration())
	c := codec.New[Event](f, codec.Types[Event]{"order.placed": Placed{}})
	raw, err := c.Encode(placed())
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(event.Recorded{Raw: raw})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Event(placed()), got[0].Data, compareRats); diff != "" {
		t.Error(diff)
	}
	t.Log(f.Declared()[0])
}

// TestReadsAreChecked: bytes may be read as text, and text as a UUID; what does not fit is
// an error, and not a value that could never be written.
func TestReadsAreChecked(t *testing.T) {
	t.Parallel()
	type (
		text struct{ V string }
		rat  struct{ V *big.Rat }
	)
	one := func(typ string) string {
		return `{"type":"record","name":"V","fields":[{"name":"V","type":` + typ + `}]}`
	}
	for _, tc := range []struct {
		writer, reader string
		written        []byte
		into           any
		want           string
	}{
		{`"bytes"`, `"string"`, []byte("a"), &text{}, ""},
		{`"bytes"`, `"string"`, []byte("\xff"), &text{}, "field V: text is not valid UTF-8"},
		{`"string"`, `{"type":"string","logicalType":"uuid"}`, []byte("4b5a1c9e-6f0e-4c1b-9a57-0e3f6f6c8d11"), &text{}, ""},
		{`"string"`, `{"type":"string","logicalType":"uuid"}`, []byte("none"), &text{}, `field V: want a UUID of 36 characters, got 4: "none"`},
		{`"bytes"`, `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, []byte{1}, &rat{}, ""},
		{`"bytes"`, `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, []byte{1, 2, 3}, &rat{}, "field V: cannot use big.Rat with Avro type bytes: decimal value has 5 digits, exceeds schema precision 4"},
	} {
		r := &registry{}
		f := avro.New(r, avro.WithSchemas(fstest.MapFS{"order.placed.v1.avsc": {Data: []byte(one(tc.reader))}}))
		if err := f.Declare("order.placed", 1, reflect.TypeOf(tc.into).Elem(), true); err != nil {
			t.Fatal(err)
		}
		data := append(payload(r.add("V", one(tc.writer)), len(tc.written)), tc.written...)
		err := f.Unmarshal("order.placed", 1, data, tc.into)
		if got := errorText(err); got != tc.want {
			t.Errorf("%q as %s: got %s\nwant %s", tc.written, tc.reader, got, tc.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
