package codectest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/codectest"
	"github.com/annals-go/annals/upcast"
)

type (
	Event    interface{ isOrder() }
	Placed   struct{ Cents int64 }
	placedV1 struct{ Euros int64 }
)

func (Placed) isOrder() {}

var pinned = codec.JSON(codec.Types[Event]{"order.placed": Placed{}},
	upcast.Step("order.placed", 1, func(v placedV1) Placed { return Placed{Cents: v.Euros * 100} }),
	upcast.Drop("order.viewed"))

// recorder stands in for the testing.TB of a failing test.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestPinsHold(t *testing.T) {
	t.Parallel()
	pins := codectest.For(t, pinned)
	pins.Reads("order.placed", 1, `{"Euros":12}`, Placed{Cents: 1200})
	pins.Reads("order.viewed", 1, `?`)
	pins.Writes(Placed{Cents: 1}, "order.placed", 2, `{"Cents":1}`)
	pins.Corpus(fstest.MapFS{
		"order.placed.v1.json":            {Data: []byte(`{"Euros":12}`)},
		"order.placed.v1.json.want":       {Data: []byte(`[{"Cents":1200}]`)},
		"order.placed.v2.large.json":      {Data: []byte(`{"Cents":9007199254740993}`)},
		"order.placed.v2.large.json.want": {Data: []byte(`[{"Cents":9007199254740993}]`)},
		"README.md":                       {},
	})
}

func TestPinsBreak(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	pins := codectest.For(r, pinned)
	pins.Reads("order.placed", 1, `{"Euros":12}`, Placed{Cents: 1})
	pins.Reads("order.placed", 3, `{}`)
	pins.Writes(Placed{Cents: 1}, "order.placed", 1, `{}`)
	pins.Corpus(fstest.MapFS{
		"order.placed.v2.json":            {Data: []byte(`{"Cents":1}`)},
		"order.placed.v2.other.json":      {Data: []byte(`{"Cents":1}`)},
		"order.placed.v2.other.json.want": {Data: []byte(`[{"Cents":2}]`)},
	})
	want := []string{
		"decode order.placed schema 1:\ngot  [{Cents:1200}]\nwant [{Cents:1}]",
		"unknown schema version 3 of order.placed",
		"encode codectest_test.Placed:\ngot  order.placed schema 2 {\"Cents\":1}\nwant order.placed schema 1 {}",
		`corpus order.placed.v2.json: order.placed.v2.json.want is missing; today it decodes to [{"Cents":1}]`,
		`corpus order.placed.v2.other.json: decodes to [{"Cents":1}], want [{"Cents":2}]`,
		"corpus has no file for order.placed.v1: store one as order.placed.v1.json",
	}
	if len(r.said) != len(want) {
		t.Fatalf("%d complaints, want %d: %q", len(r.said), len(want), r.said)
	}
	for i := range want {
		if !strings.Contains(r.said[i], want[i]) {
			t.Errorf("complaint %d: %s\nwant it to contain: %s", i, r.said[i], want[i])
		}
	}
}
