package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
)

func recorded() event.Recorded {
	return event.Recorded{
		Raw: event.Raw{
			Name: "order.placed", Schema: 2, ContentType: "application/json", Payload: []byte(`{"Cents":1}`),
			Metadata: event.Metadata{
				ID: event.NewID(), Correlation: "c", Actor: "Zo\u00eb", Extra: map[string]string{"k": "v"},
				EventTime:   time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC),
				TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "a=b",
			},
		},
		Stream: event.Stream{Category: "order", ID: "o-1"}, Version: 3, Position: 1 << 40,
		RecordedTime: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	want := recorded()
	m, err := bus.MessageOf("shop.order", want)
	if err != nil || m.Topic != "shop.order" || string(m.Key) != "o-1" || string(m.Value) != `{"Cents":1}` {
		t.Fatalf("MessageOf = %+v, %v", m, err)
	}
	got, err := bus.EventOf(m)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("EventOf: %v %s", err, diff)
	}
}

func TestForeignMessages(t *testing.T) {
	t.Parallel()
	change := func(key, value string) bus.Message {
		m, err := bus.MessageOf("shop.order", recorded())
		if err != nil {
			t.Fatal(err)
		}
		var hs []bus.Header
		for _, h := range m.Headers {
			if h.Key == key {
				h.Value = []byte(value)
			}
			if h.Key != key || value != "" {
				hs = append(hs, h)
			}
		}
		m.Headers = hs
		return m
	}
	noKey := change("", "")
	noKey.Key = nil
	for want, m := range map[string]bus.Message{
		"header annals-name is missing":                 {Topic: "shop.order", Value: []byte("garbage")},
		"header annals-position is missing":             change(bus.HeaderPosition, ""),
		"header annals-position: 0: want at least 1":    change(bus.HeaderPosition, "0"),
		`strconv.ParseInt: parsing "x": invalid syntax`: change(bus.HeaderVersion, "x"),
		"header annals-id: invalid UUID length: 1":      change(bus.HeaderID, "1"),
		"header annals-metadata: invalid character":     change(bus.HeaderMetadata, "?"),
		"header annals-recorded-time: parsing time":     change(bus.HeaderRecordedTime, "today"),
		`invalid event name "placed"`:                   change(bus.HeaderName, "placed"),
		`invalid stream id ""`:                          noKey,
	} {
		_, err := bus.EventOf(m)
		if !errors.Is(err, bus.ErrForeign) || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "read message of topic shop.order: message is no event of Annals: ") {
			t.Errorf("EventOf = %v, want %s", err, want)
		}
	}
}

func FuzzEventOf(f *testing.F) {
	f.Add("annals-id", []byte("x"), []byte("key"))
	f.Fuzz(func(t *testing.T, header string, value, key []byte) {
		m, err := bus.MessageOf("t", recorded())
		if err != nil {
			t.Fatal(err)
		}
		m.Key = key
		m.Headers = append([]bus.Header{{header, value}}, m.Headers...)
		r, err := bus.EventOf(m)
		if err != nil {
			if !errors.Is(err, bus.ErrForeign) {
				t.Errorf("EventOf = %v, which does not match ErrForeign", err)
			}
			return
		}
		again, err := bus.MessageOf("t", r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back, err := bus.EventOf(again); err != nil || !cmp.Equal(r, back) {
			t.Errorf("EventOf = %+v, %v, want %+v", back, err, r)
		}
	})
}
