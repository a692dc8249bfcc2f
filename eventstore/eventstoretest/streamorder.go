package eventstoretest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var streamOrderTests = map[string]func(*testing.T, Target){
	"versions are dense, and the log keeps their order": func(t *testing.T, target Target) {
		const writers, each, streams = 8, 25, 3
		atOnce(writers, func(w int) {
			for n := range each {
				st := order(fmt.Sprint((w + n) % streams))
				if w%2 == 0 {
					if _, err := target.Store.Append(bounded(t), st, eventstore.Any(), notes(n, 1+n%3)...); err != nil {
						t.Errorf("append: %v", err)
					}
					continue
				}
				if err := decide(t, target.Store, st, notes(n, 1+n%3)); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
		want := 0
		for n := range each {
			want += writers * (1 + n%3)
		}
		log := readLog(t, target.Store, 7)
		equal(t, "events", len(log), want)
		checkOrder(t, log)
		for i := range streams {
			st := order(fmt.Sprint(i))
			var inLog []event.Recorded
			for _, r := range log {
				if r.Stream == st {
					inLog = append(inLog, r)
				}
			}
			equal(t, "stream as the log has it", inLog, readStream(t, target.Store, st, eventstore.StreamQuery{}))
		}
	},
	"the events of an append have the order given": func(t *testing.T, target Target) {
		events := notes(1, 100)
		mustAppend(t, target.Store, stream, eventstore.None(), events...)
		for i, r := range readLog(t, target.Store, 30) {
			equal(t, "id", r.Metadata.ID, events[i].Metadata.ID)
			equal(t, "version", r.Version, event.Version(i+1))
		}
	},
}

// decide appends behind the version that it has read, as an aggregate does, and
// tries again after a conflict.
func decide(t *testing.T, s eventstore.Store, st event.Stream, events []event.Raw) error {
	for range 1000 {
		at := event.Version(0)
		for r, err := range s.ReadStream(bounded(t), st, eventstore.StreamQuery{Backward: true, Limit: 1}) {
			if err != nil {
				return err
			}
			at = r.Version
		}
		if _, err := s.Append(bounded(t), st, eventstore.Exactly(at), events...); !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
	return errors.New("lost 1000 races")
}
