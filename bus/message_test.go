package bus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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
				ID: event.NewID(), Correlation: "c", Causation: "cmd-7", Actor: "Zo\u00eb", Tenant: "acme", Extra: map[string]string{"k": "v"},
				EventTime:   time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC),
				TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "a=b",
			},
			Closes: true,
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
	got, err = bus.EventOf(bus.Keyed(bus.Keyed(m, []byte("customer-9")), []byte("nl")))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("EventOf under another key: %v %s", err, diff)
	}
}

// Whatever field an event gets, it is carried: recorded fills all of them.
func TestRecordedIsFull(t *testing.T) {
	t.Parallel()
	var empty func(path string, v reflect.Value)
	empty = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is not filled, so no test sees whether EventOf gives it back", path)
		}
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				empty(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	empty("Recorded", reflect.ValueOf(recorded()))
}

func headers(m bus.Message) (all []string) {
	for _, h := range m.Headers {
		all = append(all, h.Key+": "+string(h.Value))
	}
	return all
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	r := recorded()
	r.Metadata.ID = event.ID{15: 1}
	own := []string{
		"annals-id: 00000000-0000-0000-0000-000000000001",
		"annals-name: order.placed",
		"annals-schema: 2",
		"content-type: application/json",
		"annals-category: order",
		"annals-version: 3",
		"annals-position: 1099511627776",
		"annals-recorded-time: 2026-01-02T03:04:05.000006Z",
		`annals-metadata: {"correlation":"c","causation":"cmd-7","actor":"Zoë","tenant":"acme","event_time":"2010-12-01T08:26:00Z","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=b","extra":{"k":"v"}}`,
		"annals-closes: 1",
		"annals-event-time: 2010-12-01T08:26:00Z",
		"annals-correlation: c",
		"annals-causation: cmd-7",
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"tracestate: a=b",
	}
	foreign := []string{
		"ce_specversion: 1.0",
		"ce_id: 00000000-0000-0000-0000-000000000001",
		"ce_source: /shop",
		"ce_type: order.placed",
		"ce_subject: o-1",
		"ce_time: 2010-12-01T08:26:00Z",
		"ce_traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"ce_tracestate: a=b",
	}
	check := func(what string, m bus.Message, err error, want []string) {
		t.Helper()
		if diff := cmp.Diff(want, headers(m)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
		if len(m.Headers) > 0 && cap(m.Headers[0].Value) != len(m.Headers[0].Value) {
			t.Errorf("%s: who appends to a value would change the next one", what)
		}
	}
	m, err := bus.MessageOf("shop.order", r)
	check("MessageOf", m, err, own)
	m, _, err = bus.TopicPerCategory("shop")(r)
	check("TopicPerCategory", m, err, append(slices.Clip(own), foreign...))
	m, _, err = bus.TopicPerName("shop", bus.CloudEvents(""))(r)
	check("TopicPerName without CloudEvents", m, err, own)
	m, err = bus.MessageOf("shop.order", r, bus.CloudEvents("https://shop.example/a?b#c"))
	foreign[2] = "ce_source: https://shop.example/a?b#c"
	check("CloudEvents", m, err, append(slices.Clip(own), foreign...))

	r.Metadata, r.Closes = event.Metadata{ID: r.Metadata.ID, TraceState: "a=b"}, false
	m, _, err = bus.TopicPerCategory("shop")(r)
	foreign[2], foreign[5] = "ce_source: /shop", "ce_time: 2026-01-02T03:04:05.000006Z"
	bare := append(slices.Clone(own[:8]), `annals-metadata: {"tracestate":"a=b"}`, "tracestate: a=b")
	check("of little metadata", m, err, append(bare, foreign[:6]...))
}

func TestCloudEventsPanics(t *testing.T) {
	t.Parallel()
	for source, quoted := range map[string]string{
		"a b%zz":                 `"a b%zz"`,
		strings.Repeat("x", 513): `"` + strings.Repeat("x", 80) + `"`,
	} {
		func() {
			defer func() {
				if got, want := fmt.Sprint(recover()), "bus: option CloudEvents: "+quoted+": want a URI reference of at most 512 bytes, such as /shop"; got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			bus.CloudEvents(source)
		}()
	}
}

// Metadata that no store takes is the event's fault, and is named.
func TestMessageOfBadMetadata(t *testing.T) {
	t.Parallel()
	r := recorded()
	r.Metadata.EventTime = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := bus.MessageOf("t", r)
	if want := "message of order-o-1@3 (order.placed, position 1099511627776): Time.AppendText: year outside of range [0,9999]"; err == nil || err.Error() != want {
		t.Errorf("MessageOf = %v, want %s", err, want)
	}
}

// What metadata anybody writes is read as json.Unmarshal reads it.
func FuzzReadMetadata(f *testing.F) {
	whole, err := json.Marshal(recorded().Metadata)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(whole), "{}", "null", `{"actor":"a","actor":"b"}`, `{"Actor":"a"}`, `{"actor": "a"}`, `{"actor":1}`, `{"actor":null}`,
		`{"extra":{"a":"b"},"extra":{"c":"d"}}`, `{"extra":{}}`, `{"extra":null}`, `{"event_time":"2020-01-01T00:00:00+01:00"}`,
		`{"event_time":"2020"}`, `{"actor":"\\n"}`, "{\"actor\":\"\xff\"}", `{"actor":"a"}x`, `{"actor":"a"`, `{"new":"x"}`, `{"actor":"a",}`,
	} {
		f.Add([]byte(s))
	}
	m, err := bus.MessageOf("t", recorded())
	if err != nil {
		f.Fatal(err)
	}
	at := slices.IndexFunc(m.Headers, func(h bus.Header) bool { return h.Key == bus.HeaderMetadata })
	f.Fuzz(func(t *testing.T, text []byte) {
		m := m
		m.Headers = slices.Clone(m.Headers)
		m.Headers[at].Value = text
		got, err := bus.EventOf(m)
		var want event.Metadata
		if wrong := json.Unmarshal(text, &want); wrong != nil || err != nil {
			if wrong == nil || err == nil || !strings.HasSuffix(err.Error(), wrong.Error()) {
				t.Errorf("EventOf = %v, want %v", err, wrong)
			}
			return
		}
		want.ID = got.Metadata.ID
		if !reflect.DeepEqual(want, got.Metadata) {
			t.Errorf("got %+v, want %+v", got.Metadata, want)
		}
	})
}

// Metadata of any texts comes back as json.Marshal and json.Unmarshal would have it.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"", "x", `"`, `\`, "\x00", "<&>", "\u2028", "\xff", "Zo\u00eb"} {
		f.Add(s, s, "k", s, int64(1), 60)
	}
	f.Fuzz(func(t *testing.T, a, b, k, v string, nanos int64, zone int) {
		r := recorded()
		r.Metadata = event.Metadata{
			ID: r.Metadata.ID, Correlation: a, Causation: b, Actor: v, Tenant: k, TraceParent: b, TraceState: a,
			EventTime: time.Unix(0, nanos).In(time.FixedZone("", zone%(24*60)*60)), Extra: map[string]string{k: v, "x": a},
		}
		text, err := json.Marshal(r.Metadata)
		if err != nil {
			t.Skip()
		}
		want := event.Metadata{ID: r.Metadata.ID}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		m, err := bus.MessageOf("t", r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bus.EventOf(m)
		if diff := cmp.Diff(want, got.Metadata); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		for _, h := range m.Headers {
			if h.Key == bus.HeaderMetadata && len(h.Value) > len(text) {
				t.Errorf("%s is longer than %s", h.Value, text)
			}
		}
	})
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
		`header annals-closes: "yes": want 1, or none`:  change(bus.HeaderCloses, "yes"),
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
