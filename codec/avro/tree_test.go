package avro_test

import (
	"errors"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec/avro"
)

type (
	array struct{ N int64 }
	long  struct{ N int64 }
	fixed struct{ M map[string]array }
	Words struct {
		Array array
		Long  long
		Fixed *fixed
		List  []array
	}
)

// TestNamesOfKinds: a Go type may be called as a type of Avro is.
func TestNamesOfKinds(t *testing.T) {
	t.Parallel()
	f := avro.New(&registry{}, avro.WithRegistration())
	if err := f.Declare("order.worded", 1, reflect.TypeFor[Words](), true); err != nil {
		t.Fatal(err)
	}
	want := Words{array{1}, long{2}, &fixed{map[string]array{"a": {3}}}, []array{{4}, {5}}}
	data, err := f.Marshal("order.worded", 1, want)
	if err != nil {
		t.Fatal(err)
	}
	var got Words
	if err := f.Unmarshal("order.worded", 1, data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	// By its name alone, and without a namespace.
	named := func(last string) avro.Schema {
		return avro.Schema{Text: `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"record","fields":[{"name":"n","type":` + last + `}]}},{"name":"b","type":"record"}]}`}
	}
	if err := avro.Check(avro.Full, named(`"long"`), named(`"long"`)); err != nil {
		t.Error(err)
	}
	if err := avro.Check(avro.Full, named(`{"type":"long","logicalType":"timestamp-micros"}`), named(`{"type":"long","logicalType":"timestamp-millis"}`)); !errors.Is(err, avro.ErrIncompatible) {
		t.Errorf("another unit: got %v", err)
	}
}

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
