package eventstoretest

import (
	"context"
	"encoding/json"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var (
	stream  = order("o-1")
	another = order("o-2")
)

func order(id string) event.Stream { return event.Stream{Category: "order", ID: id} }

// note is an event whose payload is the JSON of v.
func note(v any) event.Raw {
	payload, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: payload}
}

// notes are n events with ids, whose payloads count up.
func notes(from, n int) []event.Raw {
	out := make([]event.Raw, n)
	for i := range out {
		out[i] = note(from + i)
		out[i].Metadata.ID = event.NewID()
	}
	return out
}

// large are n events of the greatest payload.
func large(n int) []event.Raw {
	out := notes(1, n)
	for i := range out {
		out[i].Payload = make([]byte, eventstore.MaxPayloadBytes)
		out[i].Payload[0] = byte(i)
	}
	return out
}

// closing makes the last of the events close the stream.
func closing(events ...event.Raw) []event.Raw {
	events[len(events)-1].Closes = true
	return events
}

// bounded gives each test a deadline: a store that hangs fails, not the suite.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustAppend(t *testing.T, s eventstore.Store, st event.Stream, expect eventstore.Expect, events ...event.Raw) eventstore.Result {
	t.Helper()
	res, err := s.Append(bounded(t), st, expect, events...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func readStream(t *testing.T, s eventstore.Store, st event.Stream, q eventstore.StreamQuery) []event.Recorded {
	t.Helper()
	var out []event.Recorded
	for r, err := range s.ReadStream(bounded(t), st, q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// readLog reads everything, in pages of that many events.
func readLog(t *testing.T, l eventstore.Log, page int) []event.Recorded {
	t.Helper()
	return readPages(t, l, eventstore.LogQuery{Limit: page})
}

// readPages reads everything that the query selects, and holds each page
// against what the port says about cursors.
func readPages(t *testing.T, l eventstore.Log, q eventstore.LogQuery) []event.Recorded {
	t.Helper()
	var out []event.Recorded
	for {
		page := readPage(t, l, q)
		out = append(out, page.Events...)
		if page.Next == q.After {
			return out
		}
		q.After = page.Next
	}
}

func readPage(t *testing.T, l eventstore.Log, q eventstore.LogQuery) eventstore.Page {
	t.Helper()
	page, err := l.ReadLog(bounded(t), q)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "after of a page", page.After, q.After)
	if len(page.Events) > q.Limit && q.Limit > 0 {
		t.Fatalf("page of %d events, asked for %d", len(page.Events), q.Limit)
	}
	last := q.After
	for _, e := range page.Events {
		if e.Position <= last {
			t.Fatalf("%s comes after position %d", e, last)
		}
		last = e.Position
	}
	if page.Next < last {
		t.Fatalf("the page ends at position %d, and the next one begins after %d", last, page.Next)
	}
	return page
}

func head(t *testing.T, l eventstore.Log) event.Position {
	t.Helper()
	p, err := l.Head(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tail reads the log from its beginning until the writers have finished and
// everything has been read, as a subscription does, and returns what it was
// given.
func tail(t *testing.T, l eventstore.Log, q eventstore.LogQuery, writers *sync.WaitGroup) []event.Recorded {
	t.Helper()
	finished := make(chan struct{})
	go func() { writers.Wait(); close(finished) }()
	var out []event.Recorded
	for last := false; ; {
		page := readPage(t, l, q)
		out = append(out, page.Events...)
		if page.Next != q.After {
			q.After = page.Next
			continue
		}
		if last {
			return out
		}
		select {
		case <-finished:
			last = true // what they have written before is in the next page
		default:
		}
	}
}

func versions(rs []event.Recorded) []int {
	out := []int{}
	for _, r := range rs {
		out = append(out, int(r.Version))
	}
	return out
}

func positions(rs []event.Recorded) []event.Position {
	out := []event.Position{}
	for _, r := range rs {
		out = append(out, r.Position)
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// checkOrder holds every event of a log against P4: positions grow, versions of
// each stream are 1, 2, 3 and so on.
func checkOrder(t *testing.T, log []event.Recorded) {
	t.Helper()
	last := event.Position(0)
	at := map[event.Stream]event.Version{}
	for _, r := range log {
		if r.Position <= last {
			t.Errorf("%s comes after position %d", r, last)
		}
		last = r.Position
		if r.Version != at[r.Stream]+1 {
			t.Errorf("%s comes after version %d", r, at[r.Stream])
		}
		at[r.Stream] = r.Version
	}
}
