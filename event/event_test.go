package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
)

func TestStreamValidate(t *testing.T) {
	t.Parallel()
	for _, s := range []event.Stream{
		{Category: "order", ID: "o-1"},
		{Category: "Order_2", ID: "C536379"},
		{Category: "a", ID: "Zo\u00eb 7/\u65e5\u672c"},
		{Category: strings.Repeat("a", event.MaxCategoryBytes), ID: strings.Repeat("b", event.MaxIDBytes)},
	} {
		if err := s.Validate(); err != nil {
			t.Errorf("Validate(%q) = %v, want nil", s, err)
		}
	}
	for _, c := range []struct {
		stream event.Stream
		want   string
	}{
		{event.Stream{ID: "1"}, `invalid category "": empty`},
		{event.Stream{Category: "my-order", ID: "1"}, `invalid category "my-order": want letters, digits and underscores, beginning with a letter`},
		{event.Stream{Category: "1order", ID: "1"}, `invalid category "1order": want letters, digits and underscores, beginning with a letter`},
		{event.Stream{Category: "order"}, `invalid stream id "": empty`},
		{event.Stream{Category: "order", ID: "a\x00b"}, `invalid stream id "a\x00b": character U+0000 is not printable`},
		{event.Stream{Category: "order", ID: "a\x1b[31m"}, `invalid stream id "a\x1b[31m": character U+001B is not printable`},
		{event.Stream{Category: "order", ID: "a\u202eb"}, `invalid stream id "a\u202eb": character U+202E is not printable`},
		{event.Stream{Category: "order", ID: "a\xff"}, `invalid stream id "a\xff": not valid UTF-8`},
		{event.Stream{Category: "order", ID: strings.Repeat("x", 193)}, `invalid stream id "` + strings.Repeat("x", 80) + `...": 193 bytes long, at most 192`},
	} {
		err := c.stream.Validate()
		if !errors.Is(err, event.ErrInvalidName) || err.Error() != c.want {
			t.Errorf("Validate() = %v, want %s", err, c.want)
		}
	}
}

func TestParseStream(t *testing.T) {
	t.Parallel()
	got, err := event.ParseStream("order-o-1")
	if want := (event.Stream{Category: "order", ID: "o-1"}); err != nil || got != want {
		t.Errorf("ParseStream = %v, %v, want %v", got, err, want)
	}
	_, err = event.ParseStream("order")
	if want := `invalid stream "order": want category-id, such as order-o-1`; err == nil || err.Error() != want {
		t.Errorf("ParseStream = %v, want %s", err, want)
	}
}

func TestValidateName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"order.placed", "order.item-added.v2", "A.b_c"} {
		if err := event.ValidateName(name); err != nil {
			t.Errorf("ValidateName(%q) = %v, want nil", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                 `invalid event name "": empty`,
		"placed":           `invalid event name "placed": want family.fact, such as order.placed`,
		".placed":          `invalid event name ".placed": want family.fact, such as order.placed`,
		"order placed.now": `invalid event name "order placed.now": want letters, digits, dots, underscores and dashes`,
	} {
		if err := event.ValidateName(name); err == nil || err.Error() != want {
			t.Errorf("ValidateName(%q) = %v, want %s", name, err, want)
		}
	}
	if got := event.Family("order.item.added"); got != "order" {
		t.Errorf("Family = %q, want order", got)
	}
}

func FuzzParseStream(f *testing.F) {
	f.Add("order-o-1")
	f.Add("order-\u202e")
	f.Add("-")
	f.Fuzz(func(t *testing.T, s string) {
		stream, err := event.ParseStream(s)
		if err == nil && stream.String() != s {
			t.Errorf("ParseStream(%q).String() = %q", s, stream)
		}
	})
}

// The JSON form of metadata is part of the storage format: what it holds is read
// back as it was, and bytes that are no metadata are an error at most.
func FuzzMetadataJSON(f *testing.F) {
	f.Add("c", "Zo\u00eb <b>&", "k", "\x00\u2028\"\\", int64(1), []byte(`{"actor":"ada","extra":{"a":"b"},"event_time":"2010-12-01T08:26:00.1+01:00"}`))
	f.Add("", "\xff", "", "", int64(-1<<62), []byte(`{"actor":1,"ACTOR":"x","event_time":"never"}`))
	f.Fuzz(func(t *testing.T, correlation, actor, key, value string, seconds int64, stored []byte) {
		m := event.Metadata{
			Correlation: correlation, Causation: value, Actor: actor, Tenant: key, TraceParent: value, TraceState: actor,
			EventTime: time.Unix(seconds%(1<<37), 0).UTC(), Extra: map[string]string{key: value},
		}
		valid := utf8.ValidString(correlation) && utf8.ValidString(actor) && utf8.ValidString(key) && utf8.ValidString(value)
		if b, err := json.Marshal(m); err == nil && valid {
			var got event.Metadata
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Error(diff)
			}
		}
		var first, second event.Metadata
		if json.Unmarshal(stored, &first) != nil {
			return
		}
		b, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%q is read, and cannot be written: %v", stored, err)
		}
		if err := json.Unmarshal(b, &second); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if len(first.Extra) == 0 {
			first.Extra = nil
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%q: %s", stored, diff)
		}
	})
}

func TestMetadataInContext(t *testing.T) {
	t.Parallel()
	extra := map[string]string{"channel": "web"}
	ctx := event.WithMetadata(t.Context(), event.Metadata{ID: event.NewID(), Actor: "ada", Extra: extra})
	extra["channel"] = "changed later"
	want := event.Metadata{Actor: "ada", Extra: map[string]string{"channel": "web"}}
	if diff := cmp.Diff(want, event.MetadataFrom(ctx)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(event.Metadata{}, event.MetadataFrom(context.Background())); diff != "" {
		t.Error(diff)
	}
}

func TestWithCause(t *testing.T) {
	t.Parallel()
	first := event.Recorded{Raw: event.Raw{Metadata: event.Metadata{
		ID: event.NewID(), Actor: "ada", Tenant: "acme", EventTime: time.Now(), TraceParent: "00-1-2-01", Extra: map[string]string{"a": "b"},
	}}}
	id := first.Metadata.ID.String()
	got := event.MetadataFrom(event.WithCause(t.Context(), first))
	want := event.Metadata{Correlation: id, Causation: id, Actor: "ada", Tenant: "acme", TraceParent: "00-1-2-01"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	second := event.Recorded{Raw: event.Raw{Metadata: got}}
	second.Metadata.ID = event.NewID()
	got = event.MetadataFrom(event.WithCause(t.Context(), second))
	want.Causation = second.Metadata.ID.String()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("correlation is kept along the chain:", diff)
	}
}

func TestMetadataStoredForm(t *testing.T) {
	t.Parallel()
	m := event.Metadata{
		ID: event.NewID(), Correlation: "c", Causation: "k", Actor: "a", Tenant: "t",
		EventTime:   time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "x=1", Extra: map[string]string{"k": "v"},
	}
	got, err := json.Marshal(m)
	want := `{"correlation":"c","causation":"k","actor":"a","tenant":"t","event_time":"2026-01-02T03:04:05.000006Z",` +
		`"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"x=1","extra":{"k":"v"}}`
	if err != nil || string(got) != want {
		t.Errorf("Marshal = %s, %v\nwant      %s", got, err, want)
	}
	if got, err := json.Marshal(event.Metadata{ID: event.NewID()}); err != nil || string(got) != "{}" {
		t.Errorf("Marshal = %s, %v, want {}", got, err)
	}
}

func TestNewIDIsVersion7AndGrows(t *testing.T) {
	t.Parallel()
	a, b := event.NewID(), event.NewID()
	if a.Version() != 7 || a.String() >= b.String() {
		t.Errorf("NewID = %s, %s, want two growing ids of version 7", a, b)
	}
}
