// Package projectiontest applies events to a projection without a log and
// without a checkpoint, for tests of handlers:
//
//	tx := ... // of a database of the test
//	orders := projectiontest.With(order.Codec)
//	projectiontest.Apply(t, Totals, tx,
//		orders.Event("order-o-1", order.Placed{Cents: 1250}),
//		projectiontest.Stored("order-o-2", "order.placed", 1, `{"Euros":12}`))
package projectiontest

import (
	"testing"
	"time"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/projection"
)

// Given is an event to apply. Build it with Events.Event or Stored.
type Given struct {
	stream string
	encode func() (event.Raw, error)
}

// Events makes events of one family. Build it with With.
type Events[E any] struct{ codec *codec.Codec[E] }

// With returns the Events of a codec.
func With[E any](c *codec.Codec[E]) Events[E] { return Events[E]{c} }

// Event is an event of today, encoded and decoded on its way.
func (s Events[E]) Event(stream string, e E) Given {
	return Given{stream, func() (event.Raw, error) { return s.codec.Encode(e) }}
}

// Stored is an event as it lies in the store, such as one of an old shape, as JSON.
func Stored(stream, name string, schema int, payload string) Given {
	return Given{stream, func() (event.Raw, error) {
		return event.Raw{Name: name, Schema: schema, ContentType: "application/json", Payload: []byte(payload)}, nil
	}}
}

// Record gives the events the places that a log would give them: positions from
// 1, versions from 1 in each stream, a second between two of them.
func Record(t testing.TB, given ...Given) []event.Recorded {
	t.Helper()
	versions := map[event.Stream]event.Version{}
	out := make([]event.Recorded, len(given))
	for i, g := range given {
		s, err := event.ParseStream(g.stream)
		if err != nil {
			t.Fatalf("projectiontest: %v", err)
		}
		raw, err := g.encode()
		if err != nil {
			t.Fatalf("projectiontest: %v", err)
		}
		raw.Metadata.ID = event.NewID()
		versions[s]++
		out[i] = event.Recorded{
			Raw: raw, Stream: s, Version: versions[s], Position: event.Position(i + 1),
			RecordedTime: time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC),
		}
	}
	return out
}

// Apply records the events and applies them in the transaction, in order.
func Apply[Tx any](t testing.TB, p *projection.Projection[Tx], tx Tx, given ...Given) {
	t.Helper()
	if err := p.Apply(t.Context(), tx, Record(t, given...)...); err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
}
