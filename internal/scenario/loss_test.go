package scenario_test

import (
	"errors"
	"slices"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// diverged waits until a reader stops, and checks what it says: the first
// difference is what was lost first.
func (w *world) diverged(name string, first, last event.Position) *worker.DivergedError {
	w.Helper()
	var err error
	select {
	case err = <-w.readers[name].ended:
		w.readers[name].ended <- err
	case <-time.After(10 * time.Second):
		w.Errorf("%s goes on, although it was given positions %d to %d, which the store has lost", name, first, last)
		return nil
	}
	var d *worker.DivergedError
	if !errors.As(err, &d) || d.From > first || d.To < first || d.To > last {
		w.Errorf("%s has stopped with: %v; want a DivergedError from %d, or a little before, to %d", name, err, first, last)
		return nil
	}
	w.Logf("%s: %v", name, err)
	return d
}

// published is what the topic has.
func (w *world) published() []place {
	w.Helper()
	var out []place
	err := kafka.NewPublisher(w.client).Newest(w.Context(), topic, func(_ int32, m bus.Message) bool {
		e, err := bus.EventOf(m)
		if err != nil {
			w.Error(err)
		}
		out = append(out, place{e.Position, e.Metadata.ID})
		return true
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// lostOf returns what is in one list and not in the other, in order, each once.
func lostOf(given, stored []place) []place {
	have := map[place]bool{}
	for _, p := range stored {
		have[p] = true
	}
	var out []place
	for _, p := range given {
		if !have[p] {
			have[p] = true
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b place) int { return int(a.Position - b.Position) })
	return out
}

// judged lets the oracle look: of what the writer was told, only the given events
// may be missing, and nothing else may be wrong.
func (w *world) judged(lost []place) {
	w.Helper()
	pool := connect(w.T, w.server.URL, 2)
	r := follower{log: w.db, reader: w.history.Reader("of everything, in the end", eventstore.LogQuery{})}
	if err := r.toHead(w.Context()); err != nil {
		w.Error(err)
	}
	missing := map[event.ID]bool{}
	for _, p := range lost {
		missing[p.ID] = true
	}
	if seen := w.history.Lose(func(id event.ID) bool { return missing[id] }); seen != len(missing) {
		w.Errorf("%d acknowledged events are lost, want %d", seen, len(missing))
	}
	for _, f := range w.history.Check(committed(w.T, pool)) {
		w.Errorf("the oracle says: %s", f)
	}
}
