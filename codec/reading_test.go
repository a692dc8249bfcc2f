package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/upcast"
)

// reversed is a format that writes JSON backwards, and keeps what it is told.
type reversed struct{ declared []string }

func (*reversed) ContentType() string { return "application/reversed" }

func (*reversed) Marshal(_ string, _ int, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	slices.Reverse(data)
	return data, err
}

func (*reversed) Unmarshal(_ string, _ int, data []byte, into any) error {
	data = slices.Clone(data)
	slices.Reverse(data)
	return json.Unmarshal(data, into)
}

func (f *reversed) Declare(name string, schema int, shape reflect.Type, written bool) error {
	if name == "order.refused" {
		return errors.New("order.refused: it has no schema")
	}
	f.declared = append(f.declared, fmt.Sprint(name, " v", schema, " ", shape.Name(), " ", written))
	return nil
}

var step = upcast.Step("order.placed", 1, func(v placedV1) Placed { return Placed{Cents: v.Euros * 100} })

// A service goes over to another format: events of both are read, through the same
// upcasters, and new ones are written in the new format.
func TestAlsoReading(t *testing.T) {
	t.Parallel()
	types := codec.Types[Event]{"order.placed": Placed{}}
	before := codec.JSON(types, step)
	format := &reversed{}
	after := codec.New(format, types, step).AlsoReading(codec.JSONFormat())

	raw, err := after.Encode(Placed{Cents: 7})
	if err != nil || raw.ContentType != "application/reversed" || string(raw.Payload) != `}7:"stneC"{` {
		t.Errorf("Encode = %+v, %v: want the new format", raw, err)
	}
	if got := after.Formats(); len(got) != 2 || got[0] != codec.Format(format) || got[1] != codec.JSONFormat() || after.ContentType() != "application/reversed" {
		t.Errorf("Formats = %v, want the one that is written, and JSON", got)
	}
	if !after.Reads("application/reversed") || !after.Reads("application/json") || before.Reads("application/reversed") {
		t.Error("Reads does not say what Decode takes")
	}
	for _, r := range []event.Recorded{stored("order.placed", 2, `{"Cents":700}`), stored("order.placed", 1, `{"Euros":7}`)} {
		if got, err := after.Decode(r); err != nil || len(got) != 1 || got[0].Data != Event(Placed{Cents: 700}) {
			t.Errorf("%s, version %d: got %+v, %v", r.ContentType, r.Schema, got, err)
		}
	}
	if got, err := after.Decode(event.Recorded{Raw: raw}); err != nil || len(got) != 1 || got[0].Data != Event(Placed{Cents: 7}) {
		t.Errorf("what it has written: got %+v, %v", got, err)
	}
	if diff := cmp.Diff(format.declared, []string{"order.placed v1 placedV1 false", "order.placed v2 Placed true"}); diff != "" {
		t.Errorf("declared (-got +want):\n%s", diff)
	}

	// What is deployed before: it writes as ever and reads what will come.
	older := &reversed{}
	ready := before.AlsoReading(older)
	if got, err := ready.Decode(event.Recorded{Raw: raw}); err != nil || len(got) != 1 {
		t.Errorf("the codec that was deployed before: got %+v, %v", got, err)
	}
	if raw, err := ready.Encode(Placed{}); err != nil || raw.ContentType != "application/json" {
		t.Errorf("Encode = %+v, %v: want the format of before", raw, err)
	}
	if diff := cmp.Diff(older.declared, []string{"order.placed v1 placedV1 false", "order.placed v2 Placed false"}); diff != "" {
		t.Errorf("declared of a format that is only read (-got +want):\n%s", diff)
	}
	if _, err := before.Decode(event.Recorded{Raw: raw}); err == nil {
		t.Error("AlsoReading changed the codec that it was called on")
	}
}

func TestAlsoReadingSays(t *testing.T) {
	t.Parallel()
	foreign := stored("order.placed", 2, "x")
	foreign.ContentType = "application/other"
	want := `decode order-1@2 (order.placed, position 7): event cannot be decoded: content type is "application/other", this codec reads "application/json" or "application/reversed"`
	if _, err := Codec.AlsoReading(&reversed{}).Decode(foreign); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	for want, do := range map[string]func(){
		`codec: two formats have the content type "application/json"`: func() { Codec.AlsoReading(codec.JSONFormat()) },
		`codec: two formats have the content type "application/reversed"`: func() {
			Codec.AlsoReading(&reversed{}, &reversed{})
		},
		`codec: order.refused: it has no schema`: func() {
			codec.JSON(codec.Types[Event]{"order.refused": Placed{}}).AlsoReading(&reversed{})
		},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panics with %v, want %s", got, want)
				}
			}()
			do()
		}()
	}
}
