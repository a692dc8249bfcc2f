package eventstoretest

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var atomicTests = map[string]func(*testing.T, Target){
	"the events of an append are next to each other": func(t *testing.T, target Target) {
		const rivals, each = 16, 10
		atOnce(rivals, func(i int) {
			for n := range each {
				if _, err := target.Store.Append(bounded(t), stream, eventstore.Any(), notes(1000*i+10*n, 3)...); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
		all := readStream(t, target.Store, stream, eventstore.StreamQuery{})
		equal(t, "events", len(all), 3*rivals*each)
		for three := range slices.Chunk(all, 3) {
			var n [3]int
			for i, r := range three {
				n[i], _ = strconv.Atoi(string(r.Payload))
			}
			if n[1] != n[0]+1 || n[2] != n[0]+2 {
				t.Fatalf("versions from %d on hold events of different appends: %v", three[0].Version, n)
			}
		}
	},
	"a reader of the stream never sees a part": func(t *testing.T, target Target) {
		const size = 5
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for n := range 20 {
					if _, err := target.Store.Append(bounded(t), stream, eventstore.Any(), notes(n, size)...); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
		whileThey(&writers, func() {
			if n := len(readStream(t, target.Store, stream, eventstore.StreamQuery{})); n%size != 0 {
				t.Errorf("the stream shows %d events, of appends of %d", n, size)
			}
		})
		equal(t, "events", len(readStream(t, target.Store, stream, eventstore.StreamQuery{})), 4*20*size)
	},
	"a reader of the log never sees a part of what the streams show": func(t *testing.T, target Target) {
		const size = 3
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for n := range 20 {
					if _, err := target.Store.Append(bounded(t), order(fmt.Sprint(w)), eventstore.Any(), notes(n, size)...); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
		// A page may end within an append. What its last event came with can be
		// read from the stream all the same.
		q := eventstore.LogQuery{Limit: 4}
		whileThey(&writers, func() {
			page := readPage(t, target.Store, q)
			q.After = page.Next
			for _, r := range page.Events {
				last := (r.Version + size - 1) / size * size
				if got := readStream(t, target.Store, r.Stream, eventstore.StreamQuery{From: last, Limit: 1}); len(got) != 1 {
					t.Errorf("the log has %s, and the stream lacks version %d of the same append", r, last)
				}
			}
		})
	},
	"several streams: no reader sees a part": func(t *testing.T, target Target) {
		streams := []event.Stream{order("a"), order("b"), order("c")}
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for n := range 20 {
					writes := make([]eventstore.Write, len(streams))
					for i, st := range streams {
						writes[i] = eventstore.Write{Stream: st, Events: notes(n, 2)}
					}
					if _, err := target.Store.AppendAll(bounded(t), writes...); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
		at := func(st event.Stream) event.Version {
			got := readStream(t, target.Store, st, eventstore.StreamQuery{Backward: true, Limit: 1})
			if len(got) == 0 {
				return 0
			}
			return got[0].Version
		}
		q, round := eventstore.LogQuery{Limit: 5}, 0
		whileThey(&writers, func() {
			// Read one after the other, each has at least what the one before had.
			first, second := streams[round%3], streams[(round+1)%3]
			round++
			if a, b := at(first), at(second); a%2 != 0 || b%2 != 0 || b < a {
				t.Errorf("%s is at %d, and later %s is at %d", first, a, second, b)
			}
			page := readPage(t, target.Store, q)
			q.After = page.Next
			if len(page.Events) == 0 {
				return
			}
			r := page.Events[len(page.Events)-1]
			for _, st := range streams {
				if v := at(st); v < r.Version {
					t.Errorf("the log has %s, and %s is at %d", r, st, v)
				}
			}
		})
		for _, st := range streams {
			equal(t, "version of "+st.String(), at(st), event.Version(4*20*2))
		}
		checkOrder(t, readLog(t, target.Store, 7))
	},
}

// whileThey calls fn again and again until the writers have finished, and once
// more then.
func whileThey(writers *sync.WaitGroup, fn func()) {
	finished := make(chan struct{})
	go func() { writers.Wait(); close(finished) }()
	for {
		select {
		case <-finished:
			fn()
			return
		default:
			fn()
		}
	}
}
