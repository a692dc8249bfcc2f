package aggregate_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// brokenSnapshots fails as it is told to.
type brokenSnapshots struct {
	eventstore.Snapshots
	load, save error
}

func (s brokenSnapshots) LoadSnapshot(ctx context.Context, st event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	if err := errors.Join(s.load, ctx.Err()); err != nil {
		return eventstore.Snapshot{}, false, err
	}
	return s.Snapshots.LoadSnapshot(ctx, st, f)
}

func (s brokenSnapshots) SaveSnapshot(ctx context.Context, snap eventstore.Snapshot) (bool, error) {
	if s.save != nil {
		return false, s.save
	}
	return s.Snapshots.SaveSnapshot(ctx, snap)
}

func TestErrorsOfTheSnapshotStore(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(brokenSnapshots{db, errBroken, errBroken}, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(5))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", amounts(10)...)
	for range 2 {
		stop := running(t, s)
		load(t, ledgers, db, "a")
		if _, err := ledgers.Update(t.Context(), "a", func(Ledger) ([]Event, error) { return []Event{Paid{}}, nil }); err != nil {
			t.Error(err)
		}
		stop()
	}
	if saw.ignored[aggregate.Unavailable] != 4 || len(saw.failed) == 0 || len(saw.saved) != 0 {
		t.Errorf("ignored %v, failed %v, saved %v", saw.ignored, saw.failed, saw.saved)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ledgers.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v, want %v", err, context.Canceled)
	}
	if saw.ignored[aggregate.Unavailable] != 4 {
		t.Error("an ended context is no reason to fold all events")
	}
}

// cut is a store from which events were removed.
type cut struct {
	eventstore.Store
	gone func(event.Version) bool
}

func (s cut) ReadStream(ctx context.Context, st event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) {
		for r, err := range s.Store.ReadStream(ctx, st, q) {
			if err == nil && s.gone(r.Version) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// A state of a part of the events is never returned.
func TestIncompleteStreams(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(20))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	snap := sound(t, db, ledgers, s)
	pay(t, db, "a", amounts(5)...)
	for _, test := range []struct {
		gone func(event.Version) bool
		want string
	}{
		{func(v event.Version) bool { return v <= 10 }, "load account-a: stream is incomplete: version 1 is missing, the next one is 11"},
		{func(v event.Version) bool { return v <= 30 }, "load account-a: stream is incomplete: version 1 is missing, the next one is 31"},
		{func(v event.Version) bool { return v == 32 }, "load account-a: stream is incomplete: version 32 is missing, the next one is 33"},
	} {
		rest := cut{db, test.gone}
		for _, r := range []*aggregate.Repository[Ledger, Event]{
			aggregate.New[Ledger](rest, "account", Codec),
			aggregate.New[Ledger](rest, "account", Codec).WithSnapshots(s), // has none
		} {
			_, err := r.Load(t.Context(), "a")
			var incomplete *aggregate.IncompleteError
			if !errors.As(err, &incomplete) || !errors.Is(err, aggregate.ErrIncomplete) || err.Error() != test.want {
				t.Errorf("Load = %v, want %s", err, test.want)
			}
		}
	}
	archived := aggregate.New[Ledger](cut{db, func(v event.Version) bool { return v <= 10 }}, "account", Codec).WithSnapshots(s)
	if _, err := db.SaveSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	load(t, archived, db, "a") // a sound snapshot stands for what is gone
	snap.Version, snap.State = snap.Version+1, []byte("{")
	if _, err := db.SaveSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	if _, err := archived.Load(t.Context(), "a"); !errors.Is(err, aggregate.ErrIncomplete) {
		t.Errorf("Load = %v, want %v", err, aggregate.ErrIncomplete)
	}
	holed := aggregate.New[Ledger](cut{db, func(v event.Version) bool { return v == 33 }}, "account", Codec).WithSnapshots(s)
	snap.Version, snap.State = 30, []byte("{}")
	if _, err := db.DeleteSnapshots(t.Context(), eventstore.SnapshotQuery{}); err != nil {
		t.Fatal(err)
	}
	snap.Checksum = snap.Sum()
	if _, err := db.SaveSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	if _, err := holed.Load(t.Context(), "a"); !errors.Is(err, aggregate.ErrIncomplete) {
		t.Errorf("Load = %v, want %v", err, aggregate.ErrIncomplete)
	}
}
