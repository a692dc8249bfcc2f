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

// A type may have the name of a primitive in its namespace, and is another one.
func TestTypesNamedLikePrimitives(t *testing.T) {
	t.Parallel()
	type Int struct {
		V string `avro:"v"`
	}
	type R struct {
		X Int   `avro:"x"`
		N int32 `avro:"n"`
		L []Int `avro:"l"`
	}
	const text = `{"type":"record","name":"R","namespace":"a","fields":[
		{"name":"x","type":{"type":"record","name":"int","fields":[{"name":"v","type":"string"}]}},
		{"name":"n","type":"int"},{"name":"l","type":{"type":"array","items":"a.int"}}]}`
	f := avro.New(&registry{}, avro.WithRegistration(), avro.WithSchemas(fstest.MapFS{"a.r.v1.avsc": {Data: []byte(text)}}))
	if err := f.Declare("a.r", 1, reflect.TypeFor[R](), true); err != nil {
		t.Fatal(err)
	}
	want := R{Int{"x"}, 7, []Int{{"y"}}}
	data, err := f.Marshal("a.r", 1, want)
	if err != nil {
		t.Fatal(err)
	}
	var got R
	if err := f.Unmarshal("a.r", 1, data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}
