package worker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

func whole() event.Recorded {
	zone := time.FixedZone("", -(3*3600 + 30*60))
	return event.Recorded{
		Raw: event.Raw{
			Name: "order.placed", Schema: 3, ContentType: "application/x-\"thing\"", Payload: []byte("\x00\xff{\"a\":1}\r\n\x00"), Closes: true,
			Metadata: event.Metadata{
				ID:          event.ID{1, 2, 3, 15: 16},
				Correlation: "c\x00r", Causation: "<b>&", Actor: "ada \u2028 \u00e4\U0001f600", Tenant: "\"t\"\\", TraceParent: "00-1", TraceState: "a=b,c=d",
				EventTime: time.Date(1969, 12, 31, 23, 59, 59, 999999999, zone),
				Extra:     map[string]string{"": "", "k": "v", "K": "V", "\n": "\x7f", "\ufffd": "\x01"},
			},
		},
		Stream: event.Stream{Category: "order", ID: "o-1/\u00e4"}, Version: 1<<62 + 1, Position: 1<<62 + 3,
		RecordedTime: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
	}
}

func TestKeptEventComesBack(t *testing.T) {
	t.Parallel()
	noPayload, emptyPayload := whole(), whole()
	noPayload.Payload, emptyPayload.Payload = nil, []byte{}
	utc := whole()
	utc.Metadata.EventTime = utc.Metadata.EventTime.UTC()
	last := whole()
	last.Metadata.EventTime = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.FixedZone("", 14*3600))
	for name, want := range map[string]event.Recorded{
		"all of it": whole(), "zero": {}, "no payload": noPayload, "an empty payload": emptyPayload, "UTC": utc, "the last time": last,
	} {
		got, err := decodeEvent(encodeEvent(want))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got, want := got.Metadata.EventTime.Format(time.RFC3339Nano), want.Metadata.EventTime.Format(time.RFC3339Nano); got != want {
			t.Errorf("%s: event time %s, want %s: the zone is kept", name, got, want)
		}
		if got.RecordedTime != want.RecordedTime || (got.Payload == nil) != (want.Payload == nil) {
			t.Errorf("%s: got %#v, want %#v", name, got, want)
		}
	}
}

// The form is stored: what was parked is read by later versions.
func TestKeptEventForm(t *testing.T) {
	t.Parallel()
	e := whole()
	e.Metadata.Extra = map[string]string{"k": "v"}
	e.Metadata.Actor, e.Metadata.Correlation, e.Metadata.Causation, e.Metadata.Tenant = "ada", "", "", ""
	want := `{"category":"order","stream_id":"o-1/ä","version":4611686018427387905,"position":4611686018427387907,` +
		`"recorded":"2026-03-01T12:00:00.123456Z","id":"01020300-0000-0000-0000-000000000010","name":"order.placed","schema":3,` +
		`"content_type":"application/x-\"thing\"","closes":true,"metadata":{"actor":"ada",` +
		`"event_time":"1969-12-31T23:59:59.999999999-03:30","traceparent":"00-1","tracestate":"a=b,c=d","extra":{"k":"v"}},` +
		`"payload":"AP97ImEiOjF9DQoA"}`
	if got := string(encodeEvent(e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeEventFails(t *testing.T) {
	t.Parallel()
	for bad, want := range map[string]string{
		"":                      "decode a parked event: unexpected end of JSON input",
		`{"category":`:          "decode a parked event: unexpected end of JSON input",
		"\x00":                  `decode a parked event: invalid character '\x00' looking for beginning of value`,
		"{}{}":                  `decode a parked event: invalid character '{' after top-level value`,
		`[]`:                    "decode a parked event: json: cannot unmarshal array into Go value of type worker.keptEvent",
		`{"payload":"%"}`:       "decode a parked event: illegal base64 data at input byte 0",
		`{"id":"x"}`:            "decode a parked event: invalid UUID length: 1",
		`{"recorded":"monday"}`: `decode a parked event: parsing time "monday" as "2006-01-02T15:04:05Z07:00": cannot parse "monday" as "2006"`,
	} {
		got, err := decodeEvent([]byte(bad))
		if err == nil || err.Error() != want {
			t.Errorf("decode %q = %v, want %s", bad, err, want)
		}
		if diff := cmp.Diff(event.Recorded{}, got); diff != "" {
			t.Errorf("decode %q: an error and %s", bad, diff)
		}
	}
}

func TestEventItem(t *testing.T) {
	t.Parallel()
	key, e := Key{Part: "p", Key: "order-o-1"}, whole()
	if diff := cmp.Diff(Item{Key: key, Seq: 1<<62 + 3}, EventItem(key, e, true)); diff != "" {
		t.Errorf("an event of the own log (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Item{Key: key, Seq: 1<<62 + 3, Data: encodeEvent(e)}, EventItem(key, e, false)); diff != "" {
		t.Errorf("an event of another store (-want +got):\n%s", diff)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, b := range []string{"", "null", "{}", "[]", `{"metadata":{"extra":{"a":null}}}`, `{"recorded":"9999-12-31T23:59:59+23:59"}`, `{"PAYLOAD":null,"version":-1}`} {
		f.Add([]byte(b))
	}
	f.Add(encodeEvent(whole()))
	f.Add(encodeEvent(event.Recorded{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "decode a parked event: ") {
				t.Errorf("decode = %v", err)
			}
			return
		}
		if len(e.Metadata.Extra) == 0 {
			e.Metadata.Extra = nil // which is not told from an empty one
		}
		again, err := decodeEvent(encodeEvent(e))
		if diff := cmp.Diff(e, again); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
	})
}

// FuzzKeptMetadata: what an append takes, an item gives back.
func FuzzKeptMetadata(f *testing.F) {
	f.Add("c", "a", "k", "v", []byte{0}, int64(1), int64(999_999_999), 90*60)
	f.Add("\x00\u2028", "<>&\u00e4", "", "\U0001f600", []byte(nil), int64(-62135596800), int64(0), 0)
	f.Add("\xff", "\ufffd", "K", "\\\"", []byte{}, int64(253402300799), int64(1), -12*3600+7)
	f.Fuzz(func(t *testing.T, correlation, actor, key, value string, payload []byte, seconds, nanos int64, zone int) {
		m := event.Metadata{ID: event.ID{1}, Correlation: correlation, Actor: actor, Extra: map[string]string{key: value}}
		m.EventTime = time.Unix(seconds, nanos).In(time.FixedZone("", zone%(24*3600)))
		prepared, err := eventstore.Prepare(event.Stream{Category: "order", ID: "1"},
			[]event.Raw{{Name: "order.placed", Schema: 1, ContentType: "text/plain", Payload: payload, Metadata: m}})
		if err != nil {
			return
		}
		got, err := decodeEvent(encodeEvent(event.Recorded{Raw: prepared[0].Raw}))
		if err != nil {
			t.Fatal(err)
		}
		stored, err := json.Marshal(got.Metadata)
		if err != nil || !bytes.Equal(stored, prepared[0].StoredMetadata) || got.Metadata.ID != m.ID {
			t.Errorf("metadata %s, %v, want %s", stored, err, prepared[0].StoredMetadata)
		}
		if !bytes.Equal(got.Payload, payload) || (got.Payload == nil) != (prepared[0].Payload == nil) {
			t.Errorf("payload %q, want %q", got.Payload, payload)
		}
	})
}
