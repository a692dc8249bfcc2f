package eventstoretest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var limitTests = map[string]func(*testing.T, Target){
	"P12 what exceeds a limit is refused whole": func(t *testing.T, target Target) {
		with := func(f func(e *event.Raw)) []event.Raw {
			es := notes(1, 2)
			f(&es[1])
			return es
		}
		extra := map[string]string{}
		for i := range eventstore.MaxExtraKeys + 1 {
			extra[fmt.Sprint(i)] = ""
		}
		big := make([]event.Raw, 10)
		for i := range big {
			big[i] = note(i)
			big[i].Payload = make([]byte, eventstore.MaxPayloadBytes)
		}
		twice := notes(1, 2)
		twice[1].Metadata.ID = twice[0].Metadata.ID
		for want, c := range map[string]struct {
			is     error
			stream event.Stream
			events []event.Raw
		}{
			"append order-o-1: no events":                                     {eventstore.ErrNoEvents, stream, nil},
			"append order-o-1: events: 1001, at most 1000":                    {eventstore.ErrLimit, stream, notes(1, 1001)},
			"append order-o-1: bytes of all events: 9216020, at most 8388608": {eventstore.ErrLimit, stream, big},
			"append order-o-1: payload bytes of order.noted: 921601, at most 921600": {eventstore.ErrLimit, stream,
				with(func(e *event.Raw) { e.Payload = make([]byte, eventstore.MaxPayloadBytes+1) })},
			"append order-o-1: metadata bytes of order.noted: 16396, at most 16384": {eventstore.ErrLimit, stream,
				with(func(e *event.Raw) { e.Metadata.Actor = strings.Repeat("x", eventstore.MaxMetadataBytes) })},
			"append order-o-1: extra metadata keys of order.noted: 65, at most 64": {eventstore.ErrLimit, stream,
				with(func(e *event.Raw) { e.Metadata.Extra = extra })},
			"append order-o-1: schema version of order.noted, from 1: 0, at most 32767": {eventstore.ErrLimit, stream,
				with(func(e *event.Raw) { e.Schema = 0 })},
			"append order-o-1: metadata of order.noted: text is not valid UTF-8": {eventstore.ErrMetadataText, stream,
				with(func(e *event.Raw) { e.Metadata.Tenant = "\xff" })},
			"append order-o-1: metadata of order.noted: event time is not in the years 0 to 9999": {eventstore.ErrMetadataTime, stream,
				with(func(e *event.Raw) { e.Metadata.EventTime = time.Unix(1<<40, 0) })},
			`append order-o-1: invalid event name "noted": want family.fact, such as order.placed`: {event.ErrInvalidName, stream,
				with(func(e *event.Raw) { e.Name = "noted" })},
			`append order-o-1: invalid content type "a\nb": want 1 to 128 printable ASCII characters`: {event.ErrInvalidName, stream,
				with(func(e *event.Raw) { e.ContentType = "a\nb" })},
			`append: invalid stream id "a\x00'; DROP": character U+0000 is not printable`: {event.ErrInvalidName,
				event.Stream{Category: "order", ID: "a\x00'; DROP"}, notes(1, 1)},
			"append order-o-1: events 1 and 2 have the same id " + twice[0].Metadata.ID.String() + ": event id reused": {eventstore.ErrIDReused, stream, twice},
		} {
			_, err := target.Store.Append(bounded(t), c.stream, eventstore.Any(), c.events...)
			if !errors.Is(err, c.is) || err.Error() != want {
				t.Errorf("Append = %v\nwant %s", err, want)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
		mustAppend(t, target.Store, stream, eventstore.None(), note("the stream is still usable"))
	},
	"P12 what is at a limit is accepted": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, eventstore.MaxEvents)...)
		e := note(1)
		e.Payload = make([]byte, eventstore.MaxPayloadBytes)
		mustAppend(t, target.Store, stream, eventstore.Exactly(eventstore.MaxEvents), e)
	},
	"P16 names are data": func(t *testing.T, target Target) {
		for _, id := range []string{`'; DROP TABLE events; --`, `"$$%_\`, `{}[],"`, "\u65e5\u672c\u8a9e", "NULL", "a b"} {
			st := event.Stream{Category: "order", ID: id}
			e := note(id)
			e.Metadata.Actor = id
			mustAppend(t, target.Store, st, eventstore.None(), e)
			got := readStream(t, target.Store, st, eventstore.StreamQuery{})
			if len(got) != 1 || got[0].Stream != st || got[0].Metadata.Actor != id {
				t.Errorf("%q is read back as %+v", id, got)
			}
		}
	},
}
