package avrointerop

import (
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var errTrailing = errors.New("bytes are left")

// A scenario is a value that is written under one schema and read under another one.
type scenario struct {
	name           string
	writer, reader string
	value          any
	want           any    // a value of the type that is read into
	blocks         bool   // it has arrays or maps, whose blocks the libraries write in different ways
	hambaCannot    string // read it, and why; empty if it can
}

// one is a scenario without evolution, of a record whose field v has the type.
func one[T any](name, typ string, v T) scenario {
	type R struct {
		V T `avro:"v"`
	}
	s := record(field("v", typ))
	return scenario{name: name, writer: s, reader: s, value: R{v}, want: R{v}}
}

// promote is a scenario of a record whose field v changes its type.
func promote[W, R any](name, from string, v W, to string, want R) scenario {
	type written struct {
		V W `avro:"v"`
	}
	type read struct {
		V R `avro:"v"`
	}
	return scenario{name: name, writer: record(field("v", from)), reader: record(field("v", to)), value: written{v}, want: read{want}}
}

func (s scenario) inBlocks() scenario                 { s.blocks = true; return s }
func (s scenario) beyondHamba(reason string) scenario { s.hambaCannot = reason; return s }

func field(name, typ string, attributes ...string) string {
	f := `{"name":"` + name + `","type":` + typ
	for _, a := range attributes {
		f += "," + a
	}
	return f + "}"
}

func record(fields ...string) string { return named("Subject", fields...) }

func named(name string, fields ...string) string {
	r := `{"type":"record","name":"` + name + `","namespace":"annals.interop","fields":[`
	for i, f := range fields {
		if i > 0 {
			r += ","
		}
		r += f
	}
	return r + "]}"
}

// scenarios are all of them; their names are those of files in testdata.
func scenarios() []scenario {
	var all []scenario
	all = append(all, plainTypes()...)
	all = append(all, logicalTypes()...)
	return append(all, evolutions()...)
}

func sameNumber(a, b *big.Rat) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Cmp(b) == 0
}

// reads fails the test if the library does not read the bytes as the scenario wants.
func (s scenario) reads(t *testing.T, l library, data []byte, whose string) {
	t.Helper()
	if s.hambaCannot != "" && strings.HasPrefix(l.name, "hamba") {
		return // TestDifferences and the tests of hostile_test.go show it
	}
	into := reflect.New(reflect.TypeOf(s.want))
	if err := l.decode(s.writer, s.reader, data, into.Interface()); err != nil {
		t.Errorf("%s does not read the bytes of %s: %v", l.name, whose, err)
		return
	}
	if diff := cmp.Diff(into.Elem().Interface(), s.want, cmp.Comparer(sameNumber), cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("%s reads the bytes of %s otherwise (-got +want):\n%s", l.name, whose, diff)
	}
}
