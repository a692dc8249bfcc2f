package eventstoretest

import (
	"errors"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// hostile are texts that mean something to SQL, arrays, patterns or JSON.
var hostile = []string{
	`'; DROP TABLE events; --`, `"$$%_\`, `{}[],"`, "\u65e5\u672c\u8a9e", "NULL", "a b", `{"a",NULL}`, `\x00`, `\\x41`, "$1", "%s%d", "-", "<b>&amp;",
}

var dataTests = map[string]func(*testing.T, Target){
	"ids, metadata and payloads": func(t *testing.T, target Target) {
		for _, text := range hostile {
			st := order(text)
			e := note(text)
			e.Metadata.Actor, e.Metadata.Correlation = text, text
			e.Metadata.Extra = map[string]string{text: text}
			mustAppend(t, target.Store, st, eventstore.None(), e)
			got := readStream(t, target.Store, st, eventstore.StreamQuery{})
			if len(got) != 1 {
				t.Fatalf("%q is read back as %d events", text, len(got))
			}
			e.Metadata.ID = got[0].Metadata.ID
			equal(t, "event", got[0].Raw, e)
			equal(t, "stream", got[0].Stream, st)
			_, err := target.Store.Append(bounded(t), st, eventstore.None(), note(text))
			if want := "append order-" + text + ": expected no event, stream is at 1"; err == nil || err.Error() != want {
				t.Errorf("Append = %v, want %s", err, want)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 5)), len(hostile))
	},
	"several streams": func(t *testing.T, target Target) {
		var writes []eventstore.Write
		for _, text := range hostile {
			writes = append(writes, eventstore.Write{Stream: order(text), Expect: eventstore.None(), Events: []event.Raw{note(text)}})
		}
		mustAppendAll(t, target.Store, writes...)
		for _, text := range hostile {
			got := readStream(t, target.Store, order(text), eventstore.StreamQuery{})
			if len(got) != 1 || string(got[0].Payload) != string(note(text).Payload) {
				t.Errorf("%q is read back as %+v", text, got)
			}
		}
	},
	"payloads of every byte": func(t *testing.T, target Target) {
		e := note(1)
		e.ContentType = "application/octet-stream"
		e.Payload = nil
		for b := range 256 {
			e.Payload = append(e.Payload, byte(b))
		}
		empty := note(2)
		empty.Payload = nil
		mustAppend(t, target.Store, stream, eventstore.None(), e, empty)
		got := readStream(t, target.Store, stream, eventstore.StreamQuery{})
		equal(t, "payload", got[0].Payload, e.Payload)
		equal(t, "length of an empty payload", len(got[1].Payload), 0)
	},
	"an event time is the same instant, in any zone": func(t *testing.T, target Target) {
		noon := time.Date(1925, 7, 1, 12, 0, 0, 1, time.UTC)
		for i, zone := range []*time.Location{time.UTC, time.FixedZone("CET", 3600), time.FixedZone("Amsterdam", 1172), time.FixedZone("nowhere", 90000)} {
			e := note(i)
			e.Metadata.EventTime = noon.In(zone)
			mustAppend(t, target.Store, stream, eventstore.Any(), e)
		}
		for _, r := range readStream(t, target.Store, stream, eventstore.StreamQuery{}) {
			if !r.Metadata.EventTime.Equal(noon) {
				t.Errorf("%s: %v, want %v", r, r.Metadata.EventTime, noon)
			}
		}
	},
	"names outside the rules are refused": func(t *testing.T, target Target) {
		with := func(f func(e *event.Raw)) []event.Raw {
			es := notes(1, 2)
			f(&es[1])
			return es
		}
		for want, c := range map[string]struct {
			is     error
			stream event.Stream
			events []event.Raw
		}{
			"append order-o-1: metadata of order.noted: text is not valid UTF-8": {eventstore.ErrMetadataText, stream,
				with(func(e *event.Raw) { e.Metadata.Tenant = "\xff" })},
			"append order-o-1: metadata of order.noted: event time is not in the years 0 to 9999": {eventstore.ErrMetadataTime, stream,
				with(func(e *event.Raw) { e.Metadata.EventTime = time.Unix(1<<40, 0) })},
			`append order-o-1: invalid event name "noted": want family.fact, such as order.placed`: {event.ErrInvalidName, stream,
				with(func(e *event.Raw) { e.Name = "noted" })},
			`append order-o-1: invalid event name "order.noted'; --": want letters, digits, dots, underscores and dashes`: {event.ErrInvalidName, stream,
				with(func(e *event.Raw) { e.Name = "order.noted'; --" })},
			`append order-o-1: invalid content type "a\nb": want 1 to 128 printable ASCII characters`: {event.ErrInvalidName, stream,
				with(func(e *event.Raw) { e.ContentType = "a\nb" })},
			`append: invalid stream id "a\x00'; DROP": character U+0000 is not printable`: {event.ErrInvalidName, order("a\x00'; DROP"), notes(1, 1)},
			`append: invalid category "order%": want letters, digits and underscores, beginning with a letter`: {event.ErrInvalidName,
				event.Stream{Category: "order%", ID: "1"}, notes(1, 1)},
		} {
			_, err := target.Store.Append(bounded(t), c.stream, eventstore.Any(), c.events...)
			if !errors.Is(err, c.is) || err.Error() != want {
				t.Errorf("Append = %v\nwant %s", err, want)
			}
			_, err = target.Store.AppendAll(bounded(t), eventstore.Write{Stream: another, Events: notes(1, 1)}, eventstore.Write{Stream: c.stream, Events: c.events})
			if !errors.Is(err, c.is) || err.Error() != want {
				t.Errorf("AppendAll = %v\nwant %s", err, want)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
}
