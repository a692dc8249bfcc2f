package corpus_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/corpus"
	"github.com/annals-go/annals/upcast"
)

type (
	Event  interface{ isOrder() }
	Placed struct {
		Cents int64
		Lines []Line
	}
	Line     struct{ SKU string }
	placedV1 struct{ Euros int64 }
	Paid     struct{ Cents int64 }
)

func (Placed) isOrder() {}

func TestCheck(t *testing.T) {
	t.Parallel()
	orders := codec.JSON(codec.Types[Event]{"order.placed": Placed{}},
		upcast.Step("order.placed", 1, func(v placedV1) Placed { return Placed{Cents: v.Euros * 100, Lines: []Line{{"a"}}} }),
		upcast.Drop("order.viewed"))
	payments := codec.JSON(codec.Types[any]{"payment.made": Paid{}})
	got, told, err := corpus.Check(fstest.MapFS{
		"order.placed.v1.json":         {Data: []byte(`{"Euros":12}`)},
		"order.placed.v1.json.want":    {Data: []byte(`[{"Cents":1200,"Lines":[{"SKU":"b"}]}]` + "\n")},
		"order.placed.v1.gone.json":    {Data: []byte(`{"Euros":1}`)},
		"order.placed.v1.bad.json":     {Data: []byte(`{"Euros":"1"}`)},
		"order.placed.v1.lone.payload": {Data: []byte(`{"Euros":1}`)}, "order.placed.v1.lone.payload.want": {Data: []byte(`[{"Cents":100,"Lines":[{"SKU":"a"}],"Note":""}]`)},
		"order.placed.v1.many.json":               {Data: []byte(`{"Euros":1}`)},
		"order.placed.v1.many.json.want":          {Data: []byte(`[]`)},
		"order.placed.v1.odd.json":                {Data: []byte(`{"Euros":1}`)},
		"order.placed.v1.odd.json.want":           {Data: []byte(`[`)},
		"order.viewed.v7.payload":                 {Data: []byte(`?`)},
		"order.viewed.v7.payload.want":            {Data: []byte(`[]`)},
		"basket.placed.v1.json":                   {Data: []byte(`{}`)},
		"order.placed.v99999999999999999999.json": {},
		"payment.made.v1.json":                    {Data: []byte(`{"Cents":9007199254740993}`)},
		"payment.made.v1.json.want":               {Data: []byte(`[{"Cents":9007199254740993}]`)},
		"README.md":                               {},
	}, orders, payments)
	if err != nil || told != (corpus.Tally{Files: 9, Shapes: 3}) {
		t.Errorf("Check looked at %+v, %v", told, err)
	}
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprintf("%s %s %s v%d %s: %v", f.Rule, f.File, f.Name, f.Schema, f.Field, f.Err))
	}
	want := []string{
		"known basket.placed.v1.json basket.placed v1 : no codec covers basket.placed",
		"decodes order.placed.v1.bad.json order.placed v1 : event cannot be decoded: json: cannot unmarshal string into Go struct field placedV1.Euros of type int64",
		`wanted order.placed.v1.gone.json order.placed v1 : order.placed.v1.gone.json.want is missing; today it decodes to [{"Cents":100,"Lines":[{"SKU":"a"}]}]`,
		`want order.placed.v1.json order.placed v1 [0].Lines[0].SKU: decodes to [{"Cents":1200,"Lines":[{"SKU":"a"}]}], want [{"Cents":1200,"Lines":[{"SKU":"b"}]}]`,
		`want order.placed.v1.lone.payload order.placed v1 [0].Note: decodes to [{"Cents":100,"Lines":[{"SKU":"a"}]}], want [{"Cents":100,"Lines":[{"SKU":"a"}],"Note":""}]`,
		`want order.placed.v1.many.json order.placed v1 : decodes to [{"Cents":100,"Lines":[{"SKU":"a"}]}], want []`,
		"want order.placed.v1.odd.json order.placed v1 : order.placed.v1.odd.json.want: unexpected EOF",
		"pinned  order.placed v2 : corpus has no file for order.placed.v2: store one as order.placed.v2.json",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%q\nwant\n%q", lines, want)
	}
}

func TestCheckWithoutFiles(t *testing.T) {
	t.Parallel()
	if _, _, err := corpus.Check(fstest.MapFS{"a": {}}); err != nil {
		t.Errorf("Check = %v", err)
	}
	sub, err := fs.Sub(fstest.MapFS{"a": {}}, "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := corpus.Check(sub); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check = %v, want that there is no such directory", err)
	}
}
