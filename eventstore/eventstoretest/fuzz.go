package eventstoretest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// oddTexts, beyond those that mean something to SQL or JSON, are texts that have broken stores, logs and terminals.
var oddTexts = []string{
	"", " ", "o-1", "'; DROP TABLE events; --", `"$$%_\`, "$1", "{NULL,\"}", `\x00ff`, "\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80", "\u202egnp.exe",
	"\u200b", "\r\nSet-Cookie: a=b", "\x1b[31m", "${jndi:ldap://x}", "../../etc/passwd", "NULL", "\ufeff", "\u2028", "Zo\u00eb", "Zoe\u0308",
	"\U0001f600", strings.Repeat("x", 64), strings.Repeat("x", 193), strings.Repeat("\u65e5", 64), "<script>&amp;</script>", "-", "-1",
}

// FuzzAppend appends events with any texts, bytes and times. Either Prepare
// refuses one with an error that has a type, and the store with the same, or
// the store gives it back unchanged. The store is used for all inputs.
//
//	func FuzzAppend(f *testing.F) { eventstoretest.FuzzAppend(f, eventstoretest.Target{Store: memory.New()}) }
func FuzzAppend(f *testing.F, target Target) {
	for i, text := range oddTexts {
		other := oddTexts[(i+7)%len(oddTexts)]
		f.Add("order", text, "order.noted", "text/plain", text, other, text, []byte(text), int64(i)*1e8, i*977, 1)
		f.Add(text, "o-1", "order.noted", text, "", "", "", []byte(nil), int64(0), 0, i-3)
		f.Add("order", "o-1", text, "application/json", text, text, other, []byte(other), int64(-1)<<uint(i), 0, 1<<i)
	}
	f.Fuzz(func(t *testing.T, category, id, name, contentType, text, key, value string, payload []byte, seconds int64, zone, schema int) {
		e := event.Raw{Name: name, Schema: schema, ContentType: contentType, Payload: payload}
		e.Metadata = event.Metadata{
			ID: event.NewID(), Correlation: text, Causation: value, Actor: text, Tenant: text, TraceParent: value, TraceState: text,
			EventTime: time.Unix(seconds, seconds&(1<<29-1)).In(time.FixedZone("", zone)),
			Extra:     map[string]string{key: value},
		}
		s := event.Stream{Category: category, ID: id}
		_, refusal := eventstore.Prepare(s, []event.Raw{e})
		res, err := target.Store.Append(bounded(t), s, eventstore.Any(), e)
		if refusal != nil {
			if err == nil || err.Error() != refusal.Error() {
				t.Fatalf("Append = %v, want what Prepare says: %v", err, refusal)
			}
			if !typed(refusal) {
				t.Fatalf("%v has no type that callers know", refusal)
			}
			return
		}
		if err != nil {
			t.Fatalf("Append = %v, although Prepare allows it", err)
		}
		got := readStream(t, target.Store, s, eventstore.StreamQuery{From: res.Version})
		if len(got) != 1 {
			t.Fatalf("%d events from version %d on, want 1", len(got), res.Version)
		}
		unchanged(t, got[0], s, e, res)
		page, err := target.Store.ReadLog(bounded(t), eventstore.LogQuery{After: res.Position - 1, Categories: []string{category}, Names: []string{name}})
		if err != nil || len(page.Events) == 0 {
			t.Fatalf("ReadLog = %+v, %v, want the event", page, err)
		}
		unchanged(t, page.Events[0], s, e, res)
	})
}

func unchanged(t *testing.T, got event.Recorded, s event.Stream, want event.Raw, res eventstore.Result) {
	t.Helper()
	same := got.Stream == s && got.Version == res.Version && got.Position == res.Position &&
		got.Name == want.Name && got.Schema == want.Schema && got.ContentType == want.ContentType && bytes.Equal(got.Payload, want.Payload)
	g, w := got.Metadata, want.Metadata
	same = same && g.EventTime.Equal(w.EventTime) && maps.Equal(g.Extra, w.Extra)
	g.EventTime, w.EventTime, g.Extra, w.Extra = time.Time{}, time.Time{}, nil, nil
	if !same || g.ID != w.ID || g.Correlation != w.Correlation || g.Causation != w.Causation || g.Actor != w.Actor || g.Tenant != w.Tenant ||
		g.TraceParent != w.TraceParent || g.TraceState != w.TraceState {
		t.Errorf("\ngot  %+v\nwant %+v in %s at %+v", got, want, s, res)
	}
}

// typed reports an error of those that the port names for a bad event.
func typed(err error) bool {
	for _, known := range []error{event.ErrInvalidName, eventstore.ErrLimit, eventstore.ErrMetadataText, eventstore.ErrMetadataTime} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// FuzzRead reads with any cursor, limit, version and selection. There is no
// error but that of a bad name, and no event at or before a cursor; everything
// up to the next cursor is there. The store must be empty.
func FuzzRead(f *testing.F, target Target) {
	const streams, each = 3, 7
	var all []event.Recorded
	names := []string{"order.noted", "order.left"}
	for v := range each {
		for i := range streams {
			s := event.Stream{Category: []string{"order", "cart", "order"}[i], ID: string(rune('a' + i))}
			e := note(v)
			e.Name = names[(v+i)%2]
			res, err := target.Store.Append(f.Context(), s, eventstore.Any(), e)
			if err != nil {
				f.Fatal(err)
			}
			all = append(all, event.Recorded{Raw: e, Stream: s, Version: res.Version, Position: res.Position})
		}
	}
	edges := []int64{0, 1, -1, 2, 7, 8, 20, 21, 22, 1 << 31, 1<<31 - 1, -1 << 31, 1 << 32, 1<<48 - 1, 1 << 48, 1<<63 - 1, -1 << 63}
	for i, n := range edges {
		m := edges[(i+5)%len(edges)]
		f.Add(n, int(m), "", "", n, int(m), i%2 == 0)
		f.Add(n, 3, "order", "", m, 2, i%2 == 1)
		f.Add(m, int(n), "cart", "order.noted", n, 0, true)
		f.Add(m, 0, oddTexts[i], oddTexts[i+5], n, -1, false)
	}
	f.Fuzz(func(t *testing.T, after int64, limit int, category, name string, from int64, most int, backward bool) {
		q := eventstore.LogQuery{After: event.Position(after), Limit: limit}
		if category != "" {
			q.Categories = []string{category}
		}
		if name != "" {
			q.Names = []string{name}
		}
		page, err := target.Store.ReadLog(bounded(t), q)
		if bad := q.Validate(); bad != nil {
			if !errors.Is(err, event.ErrInvalidName) || page.Next != q.After {
				t.Fatalf("ReadLog = %+v, %v, want %v", page, err, bad)
			}
			return
		}
		if err != nil || page.After != q.After || page.Next < q.After {
			t.Fatalf("ReadLog of %+v = %+v, %v", q, page, err)
		}
		var want []event.Recorded
		for _, e := range all {
			selected := (category == "" || e.Stream.Category == category) && (name == "" || e.Name == name)
			if selected && e.Position > q.After && e.Position <= page.Next {
				want = append(want, e)
			}
		}
		places(t, page.Events, want)
		if limit > 0 && len(page.Events) > limit {
			t.Errorf("%d events, want at most %d", len(page.Events), limit)
		}
		if last := all[len(all)-1].Position; q.After < last && page.Next == q.After {
			t.Errorf("the reader stands still at %d of %d", q.After, last)
		}

		sq := eventstore.StreamQuery{From: event.Version(from), Limit: most, Backward: backward}
		s := all[0].Stream
		want = nil
		for _, e := range all {
			if e.Stream == s && (from <= 0 || !backward && e.Version >= sq.From || backward && e.Version <= sq.From) {
				want = append(want, e)
			}
		}
		if backward {
			slices.Reverse(want)
		}
		if most > 0 {
			want = want[:min(most, len(want))]
		}
		places(t, readStream(t, target.Store, s, sq), want)
	})
}

func places(t *testing.T, got, want []event.Recorded) {
	t.Helper()
	same := slices.EqualFunc(got, want, func(a, b event.Recorded) bool {
		return a.Stream == b.Stream && a.Version == b.Version && a.Position == b.Position && bytes.Equal(a.Payload, b.Payload)
	})
	if !same {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
}
