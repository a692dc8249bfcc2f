package eventstoretest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var logTests = map[string]func(*testing.T, Target){
	"empty": func(t *testing.T, target Target) {
		equal(t, "head", head(t, target.Store), event.Position(0))
		for _, q := range []eventstore.LogQuery{{}, {After: 7}, {Names: []string{"order.noted"}}, {After: 7, Categories: []string{"order"}}} {
			page := readPage(t, target.Store, q)
			equal(t, "page", page, eventstore.Page{After: q.After, Events: page.Events[:0], Next: q.After})
		}
		if p, err := target.Store.PositionBefore(bounded(t), time.Now()); err != nil || p != 0 {
			t.Errorf("PositionBefore = %d, %v, want 0", p, err)
		}
	},
	"pages": func(t *testing.T, target Target) {
		for i := range 4 {
			mustAppend(t, target.Store, []event.Stream{stream, another}[i%2], eventstore.Any(), notes(i, 1+i)...)
		}
		all := readLog(t, target.Store, 100)
		equal(t, "events", len(all), 10)
		equal(t, "head", head(t, target.Store), all[9].Position)
		for _, limit := range []int{1, 3, 9, 10, 11} {
			equal(t, "events in pages", readLog(t, target.Store, limit), all)
		}
		for i, r := range all {
			equal(t, "after an event", positions(readPage(t, target.Store, eventstore.LogQuery{After: r.Position, Limit: 100}).Events), positions(all[i+1:]))
		}
		beyond := readPage(t, target.Store, eventstore.LogQuery{After: all[9].Position + 100})
		if len(beyond.Events) != 0 || beyond.Next != beyond.After {
			t.Errorf("a page after the end is %+v", beyond)
		}
	},
	"all yields every page": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 10)...)
		var got []event.Recorded
		for e, err := range eventstore.All(bounded(t), target.Store, eventstore.LogQuery{Limit: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		all := readLog(t, target.Store, 100)
		equal(t, "events", got, all)

		var rest []event.Recorded
		for e, err := range eventstore.All(bounded(t), target.Store, eventstore.LogQuery{After: all[3].Position, Limit: 2}) {
			if err != nil || len(rest) == 3 {
				break
			}
			rest = append(rest, e)
		}
		equal(t, "events from a cursor, ended early", rest, all[4:7])
	},
	"all yields an error, and no more": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 4)...)
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		var events, failures int
		for _, err := range eventstore.All(ctx, target.Store, eventstore.LogQuery{Limit: 2}) {
			if err == nil {
				events++
				cancel() // the next page fails
				continue
			}
			failures++
			if !errors.Is(err, context.Canceled) {
				t.Errorf("All yields %v, want context.Canceled", err)
			}
		}
		equal(t, "events of the page in hand, and errors", []int{events, failures}, []int{2, 1})
	},
	"position before a time": func(t *testing.T, target Target) {
		// Several events of one append may have one time.
		for i := range 12 {
			mustAppend(t, target.Store, []event.Stream{stream, another}[i%2], eventstore.Any(), notes(i, 1+i%4)...)
		}
		all := readLog(t, target.Store, 100)
		probes := map[time.Time]bool{
			all[0].RecordedTime.Add(-time.Hour):         true,
			all[len(all)-1].RecordedTime.Add(time.Hour): true,
			{}: true,
		}
		for _, r := range all {
			for _, d := range []time.Duration{-time.Microsecond, 0, time.Microsecond} {
				probes[r.RecordedTime.Add(d)] = true
			}
		}
		for probe := range probes {
			want := event.Position(0) // of the last event before the time
			for _, r := range all {
				if r.RecordedTime.Before(probe) {
					want = r.Position
				}
			}
			got, err := target.Store.PositionBefore(bounded(t), probe)
			if err != nil || got != want {
				t.Errorf("PositionBefore(%s) = %d, %v, want %d", probe, got, err, want)
			}
			// A time in another zone is the same time.
			got, err = target.Store.PositionBefore(bounded(t), probe.In(time.FixedZone("east", 3600)))
			if err != nil || got != want {
				t.Errorf("PositionBefore(%s, east) = %d, %v, want %d", probe, got, err, want)
			}
		}
		got, err := target.Store.PositionBefore(bounded(t), all[len(all)-1].RecordedTime.Add(time.Hour))
		if err != nil || got != head(t, target.Store) {
			t.Errorf("PositionBefore(after everything) = %d, %v, want the head", got, err)
		}
	},
}
