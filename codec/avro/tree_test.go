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

// comesBack wants a value to be read as it was written, with the schema of a text; "": with one
// that is derived.
func comesBack[T any](t *testing.T, name, schema string, want T) {
	t.Helper()
	files := fstest.MapFS{}
	if schema != "" {
		files[name+".v1.avsc"] = &fstest.MapFile{Data: []byte(schema)}
	}
	f := avro.New(&registry{}, avro.WithRegistration(), avro.WithSchemas(files))
	if err := f.Declare(name, 1, reflect.TypeFor[T](), true); err != nil {
		t.Fatal(err)
	}
	data, err := f.Marshal(name, 1, want)
	if err != nil {
		t.Fatal(err)
	}
	var got T
	if err := f.Unmarshal(name, 1, data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// TestNamesOfKinds: a Go type may be called as a type of Avro is.
func TestNamesOfKinds(t *testing.T) {
	t.Parallel()
	comesBack(t, "order.worded", "", Words{array{1}, long{2}, &fixed{map[string]array{"a": {3}}}, []array{{4}, {5}}})
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
	comesBack(t, "order.moved", moved(`"string"`), Moved{Place{"Rome"}, &Place{"Oslo"}})
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
		X Int              `avro:"x"`
		N int32            `avro:"n"`
		L []Int            `avro:"l"`
		F [1]byte          `avro:"f"`
		M map[string]int32 `avro:"m"`
	}
	const text = `{"type":"record","name":"R","namespace":"a","fields":[
		{"name":"x","type":{"type":"record","name":"int","fields":[{"name":"v","type":"string"}]}},
		{"name":"n","type":"int"},{"name":"l","type":{"type":"array","items":"a.int"}},
		{"name":"f","type":{"type":"fixed","name":"map","size":1}},{"name":"m","type":{"type":"map","values":"int"}}]}`
	comesBack(t, "a.r", text, R{Int{"x"}, 7, []Int{{"y"}}, [1]byte{1}, map[string]int32{"k": 8}})
}

// A name that is the word for a kind of types means any of that kind: it is refused before it
// is taken for one without its parts.
func TestTypesCalledLikeKinds(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"record", "error", "enum", "fixed", "array", "map", "union"} {
		for _, ref := range []string{`["null","` + kind + `"]`, `["null",{"type":"array","items":"` + kind + `"}]`} {
			for _, name := range []string{kind, "a." + kind} {
				s := avro.Schema{Text: `{"type":"record","name":"` + name + `","fields":[{"name":"v","type":` + ref + `}]}`}
				want := "check schema: not an Avro schema: a type is called " + kind + " where it is used, as if it were any " + kind + ": give it its namespace there, or another name"
				if err := avro.Check(avro.Full, s, s); err == nil || err.Error() != want {
					t.Errorf("%s: got %v\nwant %s", s.Text, err, want)
				}
			}
		}
		// Its full name is another thing.
		s := avro.Schema{Text: `{"type":"record","name":"a.` + kind + `","fields":[{"name":"v","type":["null","a.` + kind + `"]},{"name":"m","type":{"type":"map","values":{"type":"array","items":"int"}}}]}`}
		if err := avro.Check(avro.Full, s, s); err != nil {
			t.Errorf("%s: %v", s.Text, err)
		}
		if _, err := avro.Normal(s); err != nil {
			t.Errorf("%s: %v", s.Text, err)
		}
	}
}

// A dot in front of a name says that it has no namespace.
func TestNamesWithADot(t *testing.T) {
	t.Parallel()
	type S struct {
		R *S `avro:"r"`
	}
	type R struct {
		R *S `avro:"r"`
	}
	text := `{"type":"record","name":"R","fields":[{"name":"r","type":["null",{"type":"record","name":"a.S","fields":[{"name":"r","type":["null",".R"]}]}]}]}`
	comesBack(t, "a.r", text, R{&S{&S{}}})
}
