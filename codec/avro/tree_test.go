package avro_test

import (
	"errors"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec/avro"
)

// A schema written by hand names a type for the second time without its namespace, which
// is that of the record around it.
func TestShortNames(t *testing.T) {
	t.Parallel()
	type Place struct {
		City string `avro:"city"`
	}
	type Moved struct {
		From Place  `avro:"from"`
		To   *Place `avro:"to"`
	}
	moved := func(city string) string {
		return `{"type":"record","name":"Moved","namespace":"order","fields":[
			{"name":"from","type":{"type":"record","name":"Place","fields":[{"name":"city","type":` + city + `}]}},
			{"name":"to","type":["null","Place"],"default":null}]}`
	}
	f := avro.New(&registry{}, avro.WithRegistration(), avro.WithSchemas(fstest.MapFS{"order.moved.v1.avsc": {Data: []byte(moved(`"string"`))}}))
	if err := f.Declare("order.moved", 1, reflect.TypeFor[Moved](), true); err != nil {
		t.Fatal(err)
	}
	want := Moved{Place{"Rome"}, &Place{"Oslo"}}
	data, err := f.Marshal("order.moved", 1, want)
	if err != nil {
		t.Fatal(err)
	}
	var got Moved
	if err := f.Unmarshal("order.moved", 1, data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if err := avro.Check(avro.Full, avro.Schema{Text: moved(`"long"`)}, avro.Schema{Text: moved(`"string"`)}); !errors.Is(err, avro.ErrIncompatible) {
		t.Errorf("another type inside: got %v", err)
	}
}
