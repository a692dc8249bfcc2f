package oracle

import (
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// A store that was set back: what was lost, and who saw it, is out of the history,
// and everything else is still judged.
func TestLose(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	common := r.append(writeTo(orders, eventstore.None(), 2))
	kept := r.store
	r.store = memory.New() // the old one's life goes on elsewhere
	if _, err := r.store.Append(t.Context(), orders, eventstore.None(), common...); err != nil {
		t.Fatal(err)
	}
	lost := map[event.ID]bool{}
	for _, e := range r.append(writeTo(orders, eventstore.Exactly(2), 3)) {
		lost[e.Metadata.ID] = true
	}
	r.append(writeTo(orders, eventstore.Exactly(2), 1)) // a conflict with what is lost
	if err := r.ReadStream(t.Context(), r.store, orders); err != nil {
		t.Fatal(err)
	}
	r.store = kept
	r.append(writeTo(orders, eventstore.Exactly(2), 2)) // in the place of it
	if got := r.Check(r.committed()); len(got) == 0 {
		t.Error("nothing is found in a history that has lost events")
	}
	if got := r.Lose(func(id event.ID) bool { return lost[id] }); got != 3 {
		t.Errorf("Lose = %d, want 3", got)
	}
	r.want(r.committed())
	if got := r.Lose(func(id event.ID) bool { return lost[id] }); got != 0 {
		t.Errorf("Lose again = %d, want 0", got)
	}
	r.want(nil, Lost)
}
