package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var boundedTests = map[string]func(*testing.T, Target){
	"what exceeds a limit is refused whole": func(t *testing.T, target Target) {
		with := func(f func(e *event.Raw)) []event.Raw {
			es := notes(1, 2)
			f(&es[1])
			return es
		}
		extra := map[string]string{}
		for i := range eventstore.MaxExtraKeys + 1 {
			extra[fmt.Sprint(i)] = ""
		}
		twice := notes(1, 2)
		twice[1].Metadata.ID = twice[0].Metadata.ID
		for want, c := range map[string]struct {
			is     error
			events []event.Raw
		}{
			"append order-o-1: no events":                                     {eventstore.ErrNoEvents, nil},
			"append order-o-1: events: 1001, at most 1000":                    {eventstore.ErrLimit, notes(1, 1001)},
			"append order-o-1: bytes of all events: 9216020, at most 8388608": {eventstore.ErrLimit, large(10)},
			"append order-o-1: payload bytes of order.noted: 921601, at most 921600": {eventstore.ErrLimit,
				with(func(e *event.Raw) { e.Payload = make([]byte, eventstore.MaxPayloadBytes+1) })},
			"append order-o-1: metadata bytes of order.noted: 16396, at most 16384": {eventstore.ErrLimit,
				with(func(e *event.Raw) { e.Metadata.Actor = strings.Repeat("x", eventstore.MaxMetadataBytes) })},
			"append order-o-1: extra metadata keys of order.noted: 65, at most 64": {eventstore.ErrLimit,
				with(func(e *event.Raw) { e.Metadata.Extra = extra })},
			"append order-o-1: schema version of order.noted, from 1: 0, at most 32767": {eventstore.ErrLimit,
				with(func(e *event.Raw) { e.Schema = 0 })},
			"append order-o-1: events 1 and 2 have the same id " + twice[0].Metadata.ID.String() + ": event id reused": {eventstore.ErrIDReused, twice},
		} {
			_, err := target.Store.Append(bounded(t), stream, eventstore.Any(), c.events...)
			if !errors.Is(err, c.is) || err.Error() != want {
				t.Errorf("Append = %v\nwant %s", err, want)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
		mustAppend(t, target.Store, stream, eventstore.None(), note("the stream is still usable"))
	},
	"the limits hold for all writes together": func(t *testing.T, target Target) {
		write := func(id string, events ...event.Raw) eventstore.Write {
			return eventstore.Write{Stream: order(id), Events: events}
		}
		var many []eventstore.Write
		for i := range eventstore.MaxWrites + 1 {
			many = append(many, write(fmt.Sprint(i), notes(i, 1)...))
		}
		for want, c := range map[string]struct {
			is     error
			writes []eventstore.Write
		}{
			"append all: no events":                                     {eventstore.ErrNoEvents, nil},
			"append order-b: no events":                                 {eventstore.ErrNoEvents, []eventstore.Write{write("a", notes(1, 1)...), write("b")}},
			"append all: streams: 101, at most 100":                     {eventstore.ErrLimit, many},
			"append all: events: 1001, at most 1000":                    {eventstore.ErrLimit, []eventstore.Write{write("a", notes(1, 500)...), write("b", notes(1, 501)...)}},
			"append all: bytes of all events: 9216020, at most 8388608": {eventstore.ErrLimit, []eventstore.Write{write("a", large(5)...), write("b", large(5)...)}},
			"append order-b: more than one write to the stream":         {eventstore.ErrStreamTwice, []eventstore.Write{write("b", notes(1, 1)...), write("a", notes(1, 1)...), write("b", notes(2, 1)...)}},
		} {
			_, err := target.Store.AppendAll(bounded(t), c.writes...)
			if !errors.Is(err, c.is) || err.Error() != want {
				t.Errorf("AppendAll = %v\nwant %s", err, want)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
		if _, err := target.Store.AppendAll(bounded(t), many[1:]...); err != nil {
			t.Errorf("AppendAll at the limit = %v", err)
		}
	},
	"what is at a limit is accepted": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, eventstore.MaxEvents)...)
		mustAppend(t, target.Store, stream, eventstore.Exactly(eventstore.MaxEvents), large(1)...)
	},
	"pages are bounded in bytes": func(t *testing.T, target Target) {
		const appends, each = 3, 9 // 9 are the most that one append may hold
		for i := range appends {
			mustAppend(t, target.Store, stream, eventstore.Exactly(event.Version(i*each)), large(each)...)
		}
		for _, q := range []eventstore.LogQuery{{Limit: 1000}, {Limit: 1000, Names: []string{"order.noted"}}} {
			got := 0
			for pages := 1; ; pages++ {
				page := readPage(t, target.Store, q)
				if page.Next == q.After {
					break
				}
				bytes := 0
				for _, r := range page.Events {
					got++
					bytes += len(r.Payload)
					equal(t, "version", r.Version, event.Version(got))
					equal(t, "first byte", int(r.Payload[0]), (got-1)%each)
				}
				if most := eventstore.PageBytes + eventstore.MaxPayloadBytes; bytes > most {
					t.Errorf("page %d holds %d bytes, want at most %d", pages, bytes, most)
				}
				q.After = page.Next
			}
			equal(t, "events of all pages", got, appends*each)
		}
		equal(t, "stream", len(readStream(t, target.Store, stream, eventstore.StreamQuery{})), appends*each)
		equal(t, "stream, backward", versions(readStream(t, target.Store, stream, eventstore.StreamQuery{Backward: true, Limit: 12}))[11], appends*each-11)
	},
	"a query without a limit has the default": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, eventstore.DefaultPage+1)...)
		for _, q := range []eventstore.LogQuery{{}, {Limit: -1}, {Categories: []string{"order"}}} {
			equal(t, "events of a page", len(readPage(t, target.Store, q).Events), eventstore.DefaultPage)
		}
	},
	"a call ends with its context": func(t *testing.T, target Target) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := target.Store.Append(ctx, stream, eventstore.Any(), note(1))
		calls := map[string]error{"Append": err, "Wait": target.Store.Wait(ctx, 0)}
		_, calls["AppendAll"] = target.Store.AppendAll(ctx, eventstore.Write{Stream: stream, Events: notes(1, 1)}, eventstore.Write{Stream: another, Events: notes(1, 1)})
		for _, err := range target.Store.ReadStream(ctx, stream, eventstore.StreamQuery{}) {
			calls["ReadStream"] = err
		}
		_, calls["ReadLog"] = target.Store.ReadLog(ctx, eventstore.LogQuery{})
		_, calls["ReadLog with a selection"] = target.Store.ReadLog(ctx, eventstore.LogQuery{Names: []string{"order.noted"}})
		_, calls["Head"] = target.Store.Head(ctx)
		_, calls["PositionBefore"] = target.Store.PositionBefore(ctx, time.Now())
		for name, err := range calls {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v, want context.Canceled", name, err)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
}
