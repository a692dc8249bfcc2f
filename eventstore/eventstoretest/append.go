package eventstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var appendTests = map[string]func(*testing.T, Target){
	"P1 what was appended is read back byte for byte": func(t *testing.T, target Target) {
		s := target.Store
		big := bytes.Repeat([]byte{0, 0xff}, 1<<17)
		events := []event.Raw{
			{Name: "order.placed", Schema: 3, ContentType: "application/json", Payload: []byte(`{"b":1,"a":2, "a":3,"nul":"\u0000"}`)},
			{Name: "order.scanned", Schema: 1, ContentType: "application/octet-stream", Payload: big},
			{Name: "order.touched", Schema: 1, ContentType: "application/json", Payload: []byte{}},
		}
		events[0].Metadata = event.Metadata{
			ID: event.NewID(), Correlation: "c", Causation: "k", Actor: "Zo\u00eb\x00", Tenant: "t",
			EventTime:   time.Date(2010, 12, 1, 8, 26, 0, 123456000, time.UTC),
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "a=b",
			Extra: map[string]string{"channel": "web"},
		}
		res := mustAppend(t, s, stream, eventstore.None(), events...)
		got := readStream(t, s, stream, eventstore.StreamQuery{})
		if len(got) != 3 {
			t.Fatalf("%d events, want 3", len(got))
		}
		for i, r := range got {
			equal(t, "stream", r.Stream, stream)
			equal(t, "version", r.Version, event.Version(i+1))
			equal(t, "name", r.Name, events[i].Name)
			equal(t, "schema", r.Schema, events[i].Schema)
			equal(t, "content type", r.ContentType, events[i].ContentType)
			if !bytes.Equal(r.Payload, events[i].Payload) {
				t.Errorf("payload of %s differs", r)
			}
			if r.RecordedTime.IsZero() || r.RecordedTime.Location() != time.UTC {
				t.Errorf("recorded time of %s is %v", r, r.RecordedTime)
			}
		}
		equal(t, "metadata", got[0].Metadata, events[0].Metadata)
		if got[1].Metadata.ID == (event.ID{}) || got[1].Metadata.ID == got[2].Metadata.ID {
			t.Errorf("ids drawn by the store: %s, %s", got[1].Metadata.ID, got[2].Metadata.ID)
		}
		equal(t, "result", res, eventstore.Result{Version: 3, Position: got[2].Position})
		equal(t, "log", readLog(t, s, 2), got)
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
	"expectations": func(t *testing.T, target Target) {
		for i, c := range []struct {
			expect      eventstore.Expect
			empty, full bool // whether it allows no event, and two
			text        string
		}{
			{eventstore.Any(), true, true, ""},
			{eventstore.None(), true, false, "append order-full2: expected no event, stream is at 2"},
			{eventstore.Exists(), false, true, "append order-empty3: expected at least one event, stream is at 0"},
			{eventstore.Exactly(0), true, false, "append order-full4: expected no event, stream is at 2"},
			{eventstore.Exactly(1), false, false, "append order-full5: expected version 1, stream is at 2"},
			{eventstore.Exactly(2), false, true, "append order-empty6: expected version 2, stream is at 0"},
			{eventstore.Exactly(3), false, false, "append order-full7: expected version 3, stream is at 2"},
		} {
			empty := event.Stream{Category: "order", ID: fmt.Sprint("empty", i+1)}
			full := event.Stream{Category: "order", ID: fmt.Sprint("full", i+1)}
			mustAppend(t, target.Store, full, eventstore.None(), notes(1, 2)...)
			for st, want := range map[event.Stream]bool{empty: c.empty, full: c.full} {
				before := len(readStream(t, target.Store, st, eventstore.StreamQuery{}))
				_, err := target.Store.Append(bounded(t), st, c.expect, note("x"))
				if (err == nil) != want {
					t.Errorf("append to %s expecting %s: %v, want allowed: %v", st, c.expect, err, want)
				}
				if want {
					continue
				}
				var conflict *eventstore.ConflictError
				if !errors.Is(err, eventstore.ErrConflict) || !errors.As(err, &conflict) {
					t.Errorf("append to %s expecting %s: %v, want a *ConflictError", st, c.expect, err)
					continue
				}
				equal(t, "conflict", *conflict, eventstore.ConflictError{Stream: st, Expected: c.expect, Actual: event.Version(before)})
				if strings.Contains(c.text, st.ID) {
					equal(t, "text", err.Error(), c.text)
				}
				equal(t, "events after a conflict", len(readStream(t, target.Store, st, eventstore.StreamQuery{})), before)
			}
		}
	},
	"ended context": func(t *testing.T, target Target) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := target.Store.Append(ctx, stream, eventstore.Any(), note(1))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Append = %v, want context.Canceled", err)
		}
		for _, err := range target.Store.ReadStream(ctx, stream, eventstore.StreamQuery{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("ReadStream = %v, want context.Canceled", err)
			}
		}
		if _, err := target.Store.ReadLog(ctx, eventstore.LogQuery{}); !errors.Is(err, context.Canceled) {
			t.Errorf("ReadLog = %v, want context.Canceled", err)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
}

var rivalTests = map[string]func(*testing.T, Target){
	"two rivals at one version: one wins": func(t *testing.T, target Target) {
		const rivals, rounds = 8, 20
		for round := range rounds {
			start := make(chan struct{})
			var wg sync.WaitGroup
			errs := make([]error, rivals)
			for i := range rivals {
				wg.Go(func() {
					<-start
					_, errs[i] = target.Store.Append(bounded(t), stream, eventstore.Exactly(event.Version(2*round)), notes(100*round+10*i, 2)...)
				})
			}
			close(start)
			wg.Wait()
			won := 0
			for _, err := range errs {
				var conflict *eventstore.ConflictError
				switch {
				case err == nil:
					won++
				case !errors.As(err, &conflict):
					t.Errorf("the loser gets %v, want a *ConflictError", err)
				case conflict.Actual != event.Version(2*round+2):
					t.Errorf("%v, want the stream at %d", err, 2*round+2)
				}
			}
			if won != 1 {
				t.Fatalf("round %d: %d of %d rivals won", round, won, rivals)
			}
		}
		all := readStream(t, target.Store, stream, eventstore.StreamQuery{})
		if len(all) != 2*rounds {
			t.Errorf("%d events, want %d: P3, the pairs of the winners alone", len(all), 2*rounds)
		}
		checkOrder(t, readLog(t, target.Store, 7))
	},
	"any: every one of them wins": func(t *testing.T, target Target) {
		const rivals, each = 16, 10
		var wg sync.WaitGroup
		for i := range rivals {
			wg.Go(func() {
				for n := range each {
					if _, err := target.Store.Append(bounded(t), stream, eventstore.Any(), notes(1000*i+n, 3)...); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
		wg.Wait()
		all := readStream(t, target.Store, stream, eventstore.StreamQuery{})
		if len(all) != 3*rivals*each {
			t.Errorf("%d events, want %d: P1, what was answered OK is there", len(all), 3*rivals*each)
		}
		checkOrder(t, readLog(t, target.Store, 7))
		for i := 0; i+2 < len(all); i += 3 {
			var n [3]int
			for j := range n {
				_, _ = fmt.Sscan(string(all[i+j].Payload), &n[j])
			}
			if n[1] != n[0]+1 || n[2] != n[0]+2 {
				t.Fatalf("P3: versions %d to %d hold events of different appends: %v", i+1, i+3, n)
			}
		}
	},
}
