// Package shop is generated code, and the test that it compiles and is what its schemas say.
package shop_test

import (
	"context"
	"math/big"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/codec/avro/avrogen/internal/shop"
	"github.com/annals-go/annals/event"
)

// registry has one schema for each subject, under the id of its place.
type registry struct{ schemas []avro.Schema }

func (r *registry) Schema(_ context.Context, id int) (avro.Schema, error) {
	return r.schemas[id-1], nil
}

func (r *registry) Lookup(ctx context.Context, subject string, s avro.Schema) (int, error) {
	return r.Register(ctx, subject, s)
}

func (r *registry) Register(_ context.Context, _ string, s avro.Schema) (int, error) {
	r.schemas = append(r.schemas, s)
	return len(r.schemas), nil
}

func placed() shop.Placed {
	date, note := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC), "ring twice"
	line := shop.Line{SKU: "s", Count: 2, Factor: 0.5, Parts: []shop.Line{}}
	return shop.Placed{
		OrderID: "5f2b0d0e-4c1b-4f5a-9a53-6f1d3a8b9c01", PlacedAt: time.Date(2026, 1, 31, 9, 0, 0, 123000, time.UTC), DeliveryDate: &date,
		Slot: 8 * time.Hour, Total: *big.NewRat(1999, 100), Discount: big.NewRat(1, 4), Currency: "EUR", Channel: "web", Priority: 1,
		Gift: true, Weight: 1.5, Lines: []shop.Line{{SKU: "a", Count: 1, Factor: 1, Parts: []shop.Line{line}, Instead: &line}},
		Labels: map[string]string{"a": "b"}, Checksum: shop.Checksum{1, 2, 3, 4}, Raw: []byte{0, 255}, Note: &note,
	}
}

var compareRats = cmp.Comparer(func(a, b big.Rat) bool { return a.Cmp(&b) == 0 })

// What is encoded with the schemas of the files decodes again.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	format := avro.New(&registry{}, avro.WithSchemas(os.DirFS("schemas")))
	c := codec.New[any](format, codec.Types[any]{"order.placed": shop.Placed{}, "order.noted": shop.Noted{}, "order.moved": shop.Moved{}})
	note := shop.Noted{
		Kind: shop.KindVipCustomer, Kinds: []shop.Kind{shop.KindOther, shop.KindComplaint}, About: "it",
		Fee: *big.NewRat(250, 100), Times: []time.Time{time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)}, Span: shop.Span{1, 11: 9},
	}
	zip := "00100"
	moved := shop.Moved{From: &shop.Address{City: "Oslo"}, To: shop.Address{City: "Rome", Zip: &zip}, Kind: shop.KindOther} // Address and Kind are in other files
	for _, e := range []any{placed(), shop.Placed{OrderID: placed().OrderID, PlacedAt: time.Unix(0, 0).UTC(), Lines: []shop.Line{}, Labels: map[string]string{}, Raw: []byte{}}, note, moved} {
		raw, err := c.Encode(e)
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := c.Values(event.Recorded{Raw: raw})
		if err != nil || len(got) != 1 {
			t.Errorf("Values = %v, %v", got, err)
			continue
		}
		if diff := cmp.Diff(e, got[0], compareRats); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw.Name, diff)
		}
	}
}

// A schema that is derived from the type reads what that of the file has written, and the
// other way round.
func TestDerivedSchemaIsThatOfTheFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("schemas/order.placed.v1.avsc")
	if err != nil {
		t.Fatal(err)
	}
	derived := avro.New(&registry{})
	if err := derived.Declare("order.placed", 1, reflect.TypeFor[shop.Placed](), true); err != nil {
		t.Fatal(err)
	}
	file, own := avro.Schema{Text: string(text)}, derived.Declared()[0].Schema
	if err := avro.Check(avro.Full, own, file); err != nil {
		t.Errorf("%v\n%s", err, own.Text)
	}
	if err := avro.Check(avro.Full, file, own); err != nil {
		t.Errorf("%v\n%s", err, own.Text)
	}
}
