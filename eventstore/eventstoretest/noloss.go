package eventstoretest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var noLossTests = map[string]func(*testing.T, Target){
	"what was appended is read back byte for byte": func(t *testing.T, target Target) {
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
			equal(t, "closes", r.Closes, false)
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
	"any: every one of many rivals wins": func(t *testing.T, target Target) {
		const rivals, each = 16, 10
		atOnce(rivals, func(i int) {
			for n := range each {
				if _, err := target.Store.Append(bounded(t), stream, eventstore.Any(), notes(1000*i+n, 3)...); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
		equal(t, "events", len(readStream(t, target.Store, stream, eventstore.StreamQuery{})), 3*rivals*each)
		checkOrder(t, readLog(t, target.Store, 7))
	},
	"an append answered OK is where its result says": func(t *testing.T, target Target) {
		acked := acks{at: map[event.Position]ack{}}
		var writers sync.WaitGroup
		acked.write(t, &writers, target.Store, 40)
		tailed := tail(t, target.Store, eventstore.LogQuery{Limit: 5}, &writers)
		acked.check(t, "a tailing reader was given", tailed)
		var read []event.Recorded
		for _, st := range acked.streams() {
			read = append(read, readStream(t, target.Store, st, eventstore.StreamQuery{})...)
		}
		acked.check(t, "the streams have", read)
	},
	"an append answered OK is visible at once": func(t *testing.T, target Target) {
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				own := order(event.NewID().String())
				for n := range 20 {
					e := notes(n, 1)[0]
					res, err := target.Store.Append(bounded(t), own, eventstore.Any(), e)
					if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					for r, err := range target.Store.ReadStream(bounded(t), own, eventstore.StreamQuery{Backward: true, Limit: 1}) {
						if err != nil || r.Metadata.ID != e.Metadata.ID {
							t.Errorf("the last event of %s is %s, %v, want that of the append", own, r, err)
						}
					}
					if at, err := target.Store.Head(bounded(t)); err != nil || at < res.Position {
						t.Errorf("Head = %d, %v, want %d or more", at, err, res.Position)
					}
				}
			})
		}
		writers.Wait()
	},
}

// ack is the last event of an append that was answered OK.
type ack struct {
	id      event.ID
	stream  event.Stream
	version event.Version
}

// acks are what writers were told.
type acks struct {
	mu sync.Mutex
	at map[event.Position]ack // of the last event of each append
	n  int                    // events
}

// write starts writers. Each makes so many appends, of one to four events, to a
// stream of its own and to one that all of them share.
func (a *acks) write(t *testing.T, writers *sync.WaitGroup, s eventstore.Store, appends int) {
	for w := range 8 {
		writers.Go(func() {
			own := order(string(rune('a' + w)))
			for i := range appends {
				st := own
				if i%3 == 0 {
					st = stream
				}
				events := notes(1000*w+i, 1+i%4)
				events[len(events)-1].Name = []string{"order.placed", "order.paid"}[i%2]
				res, err := s.Append(bounded(t), st, eventstore.Any(), events...)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				a.mu.Lock()
				a.at[res.Position] = ack{events[len(events)-1].Metadata.ID, st, res.Version}
				a.n += len(events)
				a.mu.Unlock()
			}
		})
	}
}

func (a *acks) streams() []event.Stream {
	out := []event.Stream{}
	seen := map[event.Stream]bool{}
	for _, one := range a.at {
		if !seen[one.stream] {
			seen[one.stream] = true
			out = append(out, one.stream)
		}
	}
	return out
}

// check wants exactly what was answered OK, at the places that were answered.
func (a *acks) check(t *testing.T, what string, got []event.Recorded) {
	t.Helper()
	if len(got) != a.n {
		t.Errorf("%s %d events, want %d", what, len(got), a.n)
	}
	by := map[event.Position]event.Recorded{}
	for _, r := range got {
		by[r.Position] = r
	}
	for p, want := range a.at {
		r := by[p]
		if (ack{r.Metadata.ID, r.Stream, r.Version}) != want {
			t.Errorf("%s %s at position %d, want %+v", what, r, p, want)
		}
	}
}

// atOnce calls fn n times at the same time, and returns when all have returned.
func atOnce(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}
