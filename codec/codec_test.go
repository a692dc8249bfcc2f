package codec_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/upcast"
)

type (
	Event    interface{ isOrder() }
	Placed   struct{ Cents int64 }
	Shipped  struct{ Tracking string }
	Noted    struct{ Any any }
	placedV1 struct{ Euros int64 }
)

func (Placed) isOrder()  {}
func (Shipped) isOrder() {}
func (Noted) isOrder()   {}

var Codec = codec.JSON(codec.Types[Event]{
	"order.placed":  Placed{},
	"order.shipped": Shipped{},
	"order.noted":   Noted{},
}, upcast.Step("order.placed", 1, func(v placedV1) Placed { return Placed{Cents: v.Euros * 100} }),
	upcast.Drop("order.viewed"), upcast.Rename("basket.placed", "order.placed"), upcast.Drop("visit.counted"))

func stored(name string, schema int, payload string) event.Recorded {
	return event.Recorded{
		Raw:    event.Raw{Name: name, Schema: schema, ContentType: "application/json", Payload: []byte(payload)},
		Stream: event.Stream{Category: "order", ID: "1"}, Version: 2, Position: 7,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	raw, err := Codec.Encode(Placed{Cents: 1250})
	want := event.Raw{Name: "order.placed", Schema: 2, ContentType: "application/json", Payload: []byte(`{"Cents":1250}`)}
	if diff := cmp.Diff(want, raw); err != nil || diff != "" {
		t.Fatalf("Encode: %v %s", err, diff)
	}
	got, err := Codec.Decode(event.Recorded{Raw: raw})
	if err != nil || len(got) != 1 || got[0].Data != Event(Placed{Cents: 1250}) {
		t.Errorf("Decode = %+v, %v", got, err)
	}
}

func TestDecodeOldAndDropped(t *testing.T) {
	t.Parallel()
	got, err := Codec.Decode(stored("order.placed", 1, `{"Euros":12,"Added":"later"}`))
	if err != nil || len(got) != 1 || got[0].Data != Event(Placed{Cents: 1200}) {
		t.Errorf("Decode = %+v, %v", got, err)
	}
	got, err = Codec.Decode(stored("order.viewed", 4, "not even JSON"))
	if err != nil || len(got) != 0 {
		t.Errorf("Decode of a dropped event = %+v, %v, want none", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	foreign := stored("order.placed", 2, "{}")
	foreign.ContentType = "application/avro"
	for want, r := range map[string]event.Recorded{
		`unknown event name "order.paid"`:                                         stored("order.paid", 1, "{}"),
		`unknown schema version 3 of order.placed: this program knows up to 2`:    stored("order.placed", 3, "{}"),
		`unknown schema version 0 of order.placed: this program knows up to 2`:    stored("order.placed", 0, "{}"),
		`content type is "application/avro", this codec reads "application/json"`: foreign,
		`payload is empty`:              stored("order.placed", 2, ""),
		`unexpected EOF`:                stored("order.placed", 2, `{"Cents":1`),
		`payload goes on after byte 12`: stored("order.placed", 2, `{"Cents":1}{}`),
		`payload is not valid UTF-8`:    stored("order.shipped", 1, "{\"Tracking\":\"\xff\"}"),
		`json: cannot unmarshal number 1e400 into Go struct field Placed.Cents of type int64`: stored("order.placed", 2, `{"Cents":1e400}`),
	} {
		_, err := Codec.Decode(r)
		want = "decode " + r.String() + ": event cannot be decoded: " + want
		if !errors.Is(err, codec.ErrUndecodable) || err.Error() != want {
			t.Errorf("Decode = %v\nwant    %s", err, want)
		}
	}
}

type foreignEvent struct{}

func (foreignEvent) isOrder() {}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Event{
		"encode codec_test.foreignEvent: event cannot be encoded: the codec's Types have no name for it": foreignEvent{},
		"encode order.shipped: event cannot be encoded: text is not valid UTF-8":                         Shipped{Tracking: "a\xffb"},
		"encode order.noted: event cannot be encoded: json: unsupported type: chan int":                  Noted{Any: make(chan int)},
		"encode order.noted: event cannot be encoded: text is not valid UTF-8":                           Noted{Any: map[string]any{"k": []*Shipped{{Tracking: "\xc3\x28"}}}},
	} {
		_, err := Codec.Encode(e)
		if !errors.Is(err, codec.ErrUnencodable) || err.Error() != want {
			t.Errorf("Encode = %v\nwant    %s", err, want)
		}
	}
	if _, err := Codec.Encode(Shipped{Tracking: `a \ufffd b` + "\ufffd"}); err != nil {
		t.Errorf("text that only looks replaced: %v", err)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"order.placed": true, "order.added-later": true, "basket.placed": true, "basket.unknown": true, "visit.counted": true, "payment.made": false} {
		if got := Codec.Covers(name); got != want {
			t.Errorf("Covers(%s) = %v, want %v", name, got, want)
		}
	}
}

func TestContradictionsPanic(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(){
		`codec: invalid event name "placed": want family.fact, such as order.placed`: func() {
			codec.JSON(codec.Types[Event]{"placed": Placed{}})
		},
		`codec: codec_test.Placed is named both order.opened and order.placed`: func() {
			codec.JSON(codec.Types[Event]{"order.placed": Placed{}, "order.opened": Placed{}})
		},
		`codec: order.placed: want a value of a concrete, non-pointer type, got *codec_test.Placed`: func() {
			codec.JSON(codec.Types[Event]{"order.placed": &Placed{}})
		},
		`codec: order.placed: want a value of a concrete, non-pointer type, got <nil>`: func() {
			codec.JSON(codec.Types[Event]{"order.placed": nil})
		},
		`codec: upcast order.placed: gap: 1 rules, but none from schema 1`: func() {
			codec.JSON(codec.Types[Event]{"order.placed": Placed{}}, upcast.Step("order.placed", 3, func(v placedV1) Placed { return Placed{} }))
		},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			build()
		}()
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("order.placed", 1, []byte(`{"Euros":12}`))
	f.Add("order.noted", 1, []byte(`{"Any":[[[[1e400]]]]}`))
	f.Fuzz(func(t *testing.T, name string, schema int, payload []byte) {
		r := stored(name, schema, string(payload))
		got, err := Codec.Decode(r)
		if err != nil {
			if !errors.Is(err, codec.ErrUndecodable) {
				t.Errorf("Decode = %v, which does not match ErrUndecodable", err)
			}
			return
		}
		for _, e := range got {
			if _, err := Codec.Encode(e.Data); err != nil {
				t.Errorf("what was decoded cannot be encoded: %v", err)
			}
		}
	})
}

func ExampleJSON() {
	old := event.Recorded{Raw: event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Euros":12}`)}}
	events, err := Codec.Decode(old)
	fmt.Printf("%+v %v\n", events[0].Data, err)
	// Output: {Cents:1200} <nil>
}

func TestNamesAndShapes(t *testing.T) {
	t.Parallel()
	got := slices.Collect(Codec.Names)
	if want := []string{"basket.placed", "order.noted", "order.placed", "order.shipped", "order.viewed", "visit.counted"}; !slices.Equal(got, want) {
		t.Errorf("Names = %v, want %v", got, want)
	}
	for range Codec.Names {
		break
	}
	for at, want := range map[string]reflect.Type{
		"order.placed 1": reflect.TypeFor[placedV1](), "order.placed 2": reflect.TypeFor[Placed](), "order.placed 3": nil,
		"basket.placed 1": reflect.TypeFor[placedV1](), "order.viewed 1": nil, "order.unknown 1": nil,
	} {
		name, schema, _ := strings.Cut(at, " ")
		n, _ := strconv.Atoi(schema)
		if got := Codec.Shape(name, n); got != want {
			t.Errorf("Shape(%s) = %v, want %v", at, got, want)
		}
	}
}

// out is a format of bytes that names nothing, and whose registry is away at times.
type out struct {
	codec.Format
	away     error
	declared []string
}

func (o *out) Declare(name string, schema int, shape reflect.Type, written bool) error {
	o.declared = append(o.declared, fmt.Sprint(name, " ", schema, " ", shape, " ", written))
	if name == "order.noted" {
		return errors.New("no schema for " + name)
	}
	return nil
}

func (o *out) Marshal(string, int, any) ([]byte, error) { return nil, o.away }

func (o *out) Unmarshal(name string, _ int, _ []byte, _ any) error {
	if name != "order.placed" {
		return errors.New("asked for " + name)
	}
	return o.away
}

func TestFormatsAreToldTheShapes(t *testing.T) {
	t.Parallel()
	o := &out{Format: codec.JSONFormat()}
	rules := []upcast.Rule{upcast.Step("order.placed", 1, func(placedV1) Placed { return Placed{} }), upcast.Rename("basket.placed", "order.placed")}
	c := codec.New[Event](o, codec.Types[Event]{"order.placed": Placed{}, "order.shipped": Shipped{}}, rules...)
	want := []string{"order.placed 1 codec_test.placedV1 false", "order.placed 2 codec_test.Placed true", "order.shipped 1 codec_test.Shipped true"}
	if !slices.Equal(o.declared, want) {
		t.Errorf("declared %q, want %q", o.declared, want)
	}
	got, err := c.Values(stored("basket.placed", 1, ""))
	if err != nil || len(got) != 1 || got[0] != (Placed{}) || c.Formats()[0] != codec.Format(o) {
		t.Errorf("Values = %v, %v, want the name of today to be asked for, of the format", got, err)
	}
	if c.Writes("order.placed") != 2 || c.Writes("order.shipped") != 1 || c.Writes("basket.placed") != 0 || c.Writes("order.never") != 0 {
		t.Errorf("Writes = %d, %d, %d, %d, want 2, 1, 0, 0", c.Writes("order.placed"), c.Writes("order.shipped"), c.Writes("basket.placed"), c.Writes("order.never"))
	}
	defer func() {
		if got := fmt.Sprint(recover()); got != "codec: no schema for order.noted" {
			t.Errorf("panic %q", got)
		}
	}()
	codec.New[Event](o, codec.Types[Event]{"order.noted": Noted{}})
}

// What is away says nothing of the event.
func TestFormatIsAway(t *testing.T) {
	t.Parallel()
	o := &out{Format: codec.JSONFormat(), away: fmt.Errorf("ask the registry: %w", codec.ErrUnavailable)}
	c := codec.New[Event](o, codec.Types[Event]{"order.placed": Placed{}})
	_, encode := c.Encode(Placed{})
	_, decode := c.Values(stored("order.placed", 1, "{}"))
	for want, err := range map[string]error{
		"encode order.placed: ask the registry: what the format looks up is out of reach":                         encode,
		"decode order-1@2 (order.placed, position 7): ask the registry: what the format looks up is out of reach": decode,
	} {
		if err == nil || err.Error() != want || errors.Is(err, codec.ErrUndecodable) || errors.Is(err, codec.ErrUnencodable) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
