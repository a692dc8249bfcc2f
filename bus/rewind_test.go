package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func TestRewindRefusesARelayThatRuns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db := memory.New(memory.WithClock(func() time.Time { return now }))
	if _, err := db.Claim(t.Context(), worker.Claiming{Name: "relay/main", Holder: "host/1", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	relay := bus.NewRelay(db, memory.NewBroker(2), silent)
	_, err := relay.Rewind(t.Context(), false)
	want := `rewind relay/main: relay/main runs: host/1 holds segment "" until 2026-03-01T12:01:00Z: stop it, or force it if you know that it has ended`
	if !errors.Is(err, worker.ErrRunning) || err.Error() != want {
		t.Errorf("Rewind = %v, want %s", err, want)
	}
	if _, err := relay.Rewind(t.Context(), true); err != nil {
		t.Errorf("Rewind by force = %v", err)
	}
}

// altered is an outbox whose mark of the log was changed by other means.
type altered struct {
	*outbox
	mended bool
}

func (a *altered) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	c, err := a.outbox.Checkpoint(ctx, name)
	if !a.mended {
		return nil, &worker.AlteredError{Name: name, Mark: c[""]}
	}
	return c, err
}

func (a *altered) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	a.mended = true
	return a.outbox.Save(ctx, name, term, w)
}

// A mark of the log that jumped ahead: after a rewind topics are sent what they lack,
// and nothing again, in the same incarnation.
func TestRewindMendsARelayWhoseMarkWasAltered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o, broker := newOutbox(), memory.NewBroker(1)
	notesOf(t, o, "order-1", 3)
	drain(t, bus.NewRelay(o, broker, silent))
	notesOf(t, o, "order-1", 2)
	m := o.marks[""]
	l, err := eventstore.ParseLineage(m.Lineage)
	if err != nil {
		t.Fatal(err)
	}
	lineage := append(l, eventstore.Generation{Incarnation: event.NewID(), Since: 2}).String() // as after a rewind
	m.Position, m.Lineage = 5, lineage
	o.marks[""] = m
	store := &altered{outbox: o}
	relay := bus.NewRelay(store, broker, silent)
	if err := relay.Run(ctx); !errors.Is(err, worker.ErrAltered) {
		t.Errorf("Run = %v, want ErrAltered", err)
	}
	if _, err := relay.Rewind(ctx, false); !errors.Is(err, worker.ErrAltered) {
		t.Errorf("Rewind = %v, want ErrAltered", err)
	}
	if to, err := relay.Rewind(ctx, true); err != nil || to != 0 {
		t.Fatalf("Rewind by force = %d, %v, want 0", to, err)
	}
	drain(t, relay)
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5}, positions(t, broker, "annals.order")); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if got, err := relay.Lineage(ctx); err != nil || got != lineage {
		t.Errorf("Lineage = %q, %v, want %q", got, err, lineage)
	}
}
