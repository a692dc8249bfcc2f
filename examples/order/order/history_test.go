package order_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/aggregate/aggregatetest"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/codectest"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/upcast"
)

func TestStoredBytes(t *testing.T) {
	t.Parallel()
	codectest.For(t, order.Codec).Corpus(os.DirFS("testdata"))
}

func TestWrittenBytes(t *testing.T) {
	t.Parallel()
	pins := codectest.For(t, order.Codec)
	pins.Writes(order.Placed{Customer: "17850", Lines: []retail.Line{{
		Code: "85123A", Description: `Lantern, "white" <small>`, Quantity: 6, Price: 2550,
		At: time.Date(2010, 12, 1, 9, 26, 0, 0, time.FixedZone("CET", 3600)), Country: "Malta",
	}}}, "order.placed", 2, `{"customer":"17850","lines":[{"code":"85123A","description":"Lantern, \"white\" \u003csmall\u003e",`+
		`"quantity":6,"price_mills":2550,"at":"2010-12-01T08:26:00Z","country":"Malta"}]}`)
	pins.Writes(order.Placed{Lines: []retail.Line{}}, "order.placed", 2, `{"lines":[]}`)
	pins.Writes(order.Extended{Lines: []retail.Line{{
		Code: "ADJ", Quantity: -1, Price: -250750, At: time.Date(2011, 2, 28, 23, 59, 59, 0, time.UTC),
	}}}, "order.extended", 1, `{"lines":[{"code":"ADJ","description":"",`+
		`"quantity":-1,"price_mills":-250750,"at":"2011-02-28T23:59:59Z","country":""}]}`)
}

// A line of v1 had neither moment nor country, and its price was in cents.
func TestPlacedV1IsUpcast(t *testing.T) {
	t.Parallel()
	at := time.Date(2010, 12, 31, 23, 58, 0, 0, time.UTC)
	want := order.Placed{Customer: "17850", Lines: []retail.Line{
		{Code: "1", Description: "Tea cup", Quantity: 2, Price: 2550, At: at, Country: "Malta"},
		{Code: "2", Quantity: -1, Price: 0, At: at, Country: "Malta"},
	}}
	v1 := `{"customer":"17850","at":"2010-12-31T23:58:00Z","country":"Malta","lines":[` +
		`{"code":"1","description":"Tea cup","quantity":2,"cents":255},{"code":"2","description":"","quantity":-1,"cents":0}]}`
	codectest.For(t, order.Codec).Reads("order.placed", 1, v1, want)

	// An order that was stored then can be placed again today.
	aggregatetest.For[order.Order](t).Given(want).When(order.Place{Customer: "17850", Lines: want.Lines}).ThenNothing()
}

func TestUnknownBytesAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		schema  int
		payload string
		want    error
	}{
		{"order.placed", 3, `{}`, upcast.ErrUnknownSchema},
		{"order.extended", 2, `{}`, upcast.ErrUnknownSchema},
		{"order.cancelled", 1, `{}`, upcast.ErrUnknownName},
		{"order.placed", 2, `{"lines":`, codec.ErrUndecodable},
		{"order.placed", 2, `{"lines":[{"quantity":1.5}]}`, codec.ErrUndecodable},
		{"order.placed", 2, `{"lines":[{"price_mills":"2.55"}]}`, codec.ErrUndecodable},
	} {
		_, err := order.Codec.Decode(event.Recorded{Raw: event.Raw{
			Name: tt.name, Schema: tt.schema, ContentType: order.Codec.ContentType(), Payload: []byte(tt.payload),
		}})
		if !errors.Is(err, tt.want) || !errors.Is(err, codec.ErrUndecodable) {
			t.Errorf("decode %s schema %d %s: error = %v, want %v", tt.name, tt.schema, tt.payload, err, tt.want)
		}
	}
}

func FuzzPlacedV1(f *testing.F) {
	f.Add(`{"customer":"17850","at":"2010-12-31T23:58:00Z","country":"Malta","lines":[{"code":"1","quantity":2,"cents":255}]}`)
	f.Add(`{"lines":[{"cents":-9223372036854775808}]}`)
	f.Add(`{"at":"0000-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		stored := event.Recorded{Raw: event.Raw{
			Name: "order.placed", Schema: 1, ContentType: order.Codec.ContentType(), Payload: []byte(payload),
		}}
		events, err := order.Codec.Decode(stored)
		if err != nil {
			return
		}
		if len(events) != 1 {
			t.Fatalf("%d events, want 1", len(events))
		}
		placed, ok := events[0].Data.(order.Placed)
		if !ok {
			t.Fatalf("%T, want order.Placed", events[0].Data)
		}
		// The moment was given once, so the lines agree on it.
		for _, l := range placed.Lines {
			if !l.At.Equal(placed.Lines[0].At) || l.Country != placed.Lines[0].Country {
				t.Errorf("lines of one order: %+v and %+v", placed.Lines[0], l)
			}
		}
		if _, err := order.Codec.Encode(placed); err != nil && !strings.Contains(err.Error(), "year") && !strings.Contains(err.Error(), "offset") {
			t.Errorf("encode what was decoded: %v", err)
		}
	})
}
