package avro_test

import (
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/annals-go/annals/codec/avro"
)

type (
	open  struct{ V any }
	Kind  string
	Point struct {
		X int     `avro:"x"`
		Y *string `avro:"y"`
	}
	Wider struct {
		Point
		Z int `avro:"z"`
	}
)

const (
	pointType = `{"type":"record","name":"Point","fields":[{"name":"x","type":"long","default":1},{"name":"y","type":["null","string"],"default":null}]}`
	otherType = `{"type":"record","name":"Other","fields":[{"name":"x","type":"long"}]}`
	microType = `{"type":"long","logicalType":"timestamp-micros"}`
	centsType = `{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`
	colorType = `{"type":"enum","name":"Color","symbols":["RED"]}`
)

func openFormat(t *testing.T, typ string) (*avro.Format, error) {
	t.Helper()
	text := `{"type":"record","name":"Opened","namespace":"order","fields":[{"name":"V","type":` + typ + `}]}`
	f := avro.New(&registry{}, avro.WithRegistration(), avro.WithSchemas(fstest.MapFS{"order.opened.v1.avsc": {Data: []byte(text)}}))
	return f, f.Declare("order.opened", 1, reflect.TypeFor[open](), true)
}

// TestAnyIsKept: what any holds comes back as the same data, perhaps of another Go type, or
// is an error.
func TestAnyIsKept(t *testing.T) {
	t.Parallel()
	y := "y"
	for _, tc := range []struct {
		typ  string
		v    any
		want string
	}{
		{`["null","int","long","string","bytes","double"]`, 5, ""},
		{`["null","int","long","string","bytes","double"]`, int64(1) << 40, ""},
		{`["null","int","long","string","bytes","double"]`, nil, ""},
		{`["null","int","long","string","bytes","double"]`, 0.1, ""},
		{`["null","int","long","string","bytes","double"]`, []byte("x"), ""},
		{`["null","long",` + colorType + `]`, Kind("RED"), ""},
		{`["null","long",` + colorType + `]`, Kind("BLUE"), "no matching branch"},
		{`["null","string","long"]`, netip.MustParseAddr("::1"), ""},
		{`["null","boolean",` + microType + `]`, time.Unix(1, 1), ""},
		{`["null","boolean",` + centsType + `]`, big.NewRat(5, 4), ""},
		{`["null","string",` + pointType + `]`, Point{2, &y}, ""},
		{`["null","string",` + pointType + `]`, &Point{2, nil}, ""},
		{`["null","string",` + pointType + `]`, map[string]any{"x": 2, "y": "y"}, ""},
		{`["null","string",{"type":"array","items":"long"}]`, []int{1, 2}, ""},
		{`["null","string",{"type":"map","values":"long"}]`, map[string]int{"a": 1}, ""},
		{`["null","string",{"type":"fixed","name":"F","size":2}]`, [2]byte{1, 2}, ""},

		{`["null","float","string"]`, 0.1, "field V: any holds float64, which would come back as another value (float32): give it exactly what the schema has"},
		{`["null","float","string"]`, 1e300, "any holds float64"},
		{`["null","double","string"]`, int64(1)<<53 + 1, "any holds int64"},
		{`["null","string",` + microType + `]`, time.Unix(1, 1), "any holds time.Time, which would come back as another value (string)"},
		{`["null","string",` + pointType + `]`, map[string]any{"X": 2}, "any holds map[string]interface {}"},
		{`["null","string",` + pointType + `]`, map[string]any{"x": 2, "y": nil, "z": 1}, "any holds map[string]interface {}"},
		{`["null","string",` + pointType + `]`, Wider{Z: 1}, "any holds avro_test.Wider"},
		{`["null","string",{"type":"map","values":"long"}]`, map[string]any{"string": "1"}, "which would come back as another value (string)"},
	} {
		f, err := openFormat(t, tc.typ)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Marshal("order.opened", 1, open{tc.v})
		if got := errorText(err); tc.want == "" && err != nil || !strings.Contains(got, tc.want) {
			t.Errorf("%v of %T in %s: got %s\nwant %s", tc.v, tc.v, tc.typ, got, tc.want)
		}
	}
}

// TestAnyTells: which branch a value is, is not lost.
func TestAnyTells(t *testing.T) {
	t.Parallel()
	for typ, names := range map[string]string{
		`["null",` + pointType + `,` + otherType + `]`:                               "order.Point and order.Other",
		`["null",` + pointType + `,{"type":"map","values":"long"}]`:                  "order.Point and map",
		`{"type":"array","items":[` + otherType + `,` + pointType + `]}`:             "order.Other and order.Point",
		`{"type":"map","values":{"type":"array","items":[` + pointType + `]}}`:       "",
		`["string",{"type":"array","items":["null","long",` + pointType + `]}]`:      "",
		`{"type":"record","name":"Up","fields":[{"name":"u","type":["null","Up"]}]}`: "",
	} {
		_, err := openFormat(t, typ)
		want := "order.opened schema 1: avro_test.open does not fit order.opened.v1.avsc: field V: a union of " + names + " comes as a map that does not say which it is: give each a field of its own"
		if names == "" {
			want = ""
		}
		if got := errorText(err); got != want {
			t.Errorf("%s: got %s\nwant %s", typ, got, want)
		}
	}
}
