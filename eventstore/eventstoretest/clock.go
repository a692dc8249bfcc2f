package eventstoretest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var clockTests = map[string]func(*testing.T, Target){
	"ids and event times do not order": func(t *testing.T, target Target) {
		const n = 20
		for i := range n {
			e := backward(i)
			mustAppend(t, target.Store, []event.Stream{stream, another}[i%2], eventstore.Exactly(event.Version(i/2)), e)
		}
		for _, q := range []eventstore.LogQuery{{Limit: 3}, {Limit: 3, Names: []string{"order.noted"}}} {
			log := readPages(t, target.Store, q)
			equal(t, "events", len(log), n)
			checkOrder(t, log)
			for i, r := range log {
				equal(t, "payload", string(r.Payload), fmt.Sprint(i))
			}
		}
	},
	"an append in descending order of its ids": func(t *testing.T, target Target) {
		events := []event.Raw{backward(0), backward(1), backward(2)}
		first := mustAppend(t, target.Store, stream, eventstore.None(), events...)
		for i, r := range readStream(t, target.Store, stream, eventstore.StreamQuery{}) {
			equal(t, "payload", string(r.Payload), fmt.Sprint(i))
		}
		first.Repeated = true
		equal(t, "repeat", mustAppend(t, target.Store, stream, eventstore.None(), events...), first)
	},
	"a clock that is set back loses nothing": func(t *testing.T, target Target) {
		if target.SetClock == nil {
			return
		}
		var tailed []event.Recorded
		plain := eventstore.LogQuery{Limit: 2}
		selected := eventstore.LogQuery{Limit: 2, Categories: []string{"order"}}
		for _, offset := range []time.Duration{0, -time.Hour, -48 * time.Hour, 24 * time.Hour, -time.Minute} {
			target.SetClock(t, offset)
			told := acks{at: map[event.Position]ack{}}
			var writers sync.WaitGroup
			told.write(t, &writers, target.Store, 8)
			events := tail(t, target.Store, plain, &writers)
			told.check(t, fmt.Sprintf("with the clock at %s a reader was given", offset), events)
			if len(events) == 0 {
				t.Fatal("nothing to read")
			}
			tailed = append(tailed, events...)
			plain.After = events[len(events)-1].Position
			equal(t, "events of a reader that selects", positions(readPages(t, target.Store, selected)), positions(events))
			selected.After = plain.After
			if off := time.Until(events[0].RecordedTime) - offset; off.Abs() > 30*time.Minute {
				t.Errorf("recorded time %s, want it %s from now: the clock was not set", events[0].RecordedTime, offset)
			}
		}
		checkOrder(t, tailed)
		equal(t, "whole log", positions(readLog(t, target.Store, 1000)), positions(tailed))
		for _, st := range []event.Stream{stream, order("a")} {
			for i, r := range readStream(t, target.Store, st, eventstore.StreamQuery{}) {
				equal(t, "version", r.Version, event.Version(i+1))
			}
		}
	},
}

// backward is an event whose id and event time are the earlier, the greater n is.
func backward(n int) event.Raw {
	e := note(n)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Duration(n) * time.Hour)
	e.Metadata.EventTime = at
	id := event.NewID() // a UUIDv7 begins with its time: 48 bits of milliseconds
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(at.UnixMilli()))
	copy(id[:6], stamp[2:])
	e.Metadata.ID = id
	return e
}
