package bus_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// choosy returns a mapper that fails for streams that are in the map.
func choosy(bad map[string]*atomic.Bool) bus.Option {
	return bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		if b := bad[r.Stream.ID]; b != nil && b.Load() {
			return bus.Message{}, false, worker.Permanent(errUnmapped)
		}
		return bus.TopicPerCategory("annals")(r)
	})
}

// parkedStore has a stream order-1 whose events 2, 4 and 5 are parked, and 1 is not.
func parkedStore(t *testing.T, broker *memory.Broker) (*memory.DB, *bus.Relay) {
	t.Helper()
	db := memory.New()
	bad := &atomic.Bool{}
	relay := bus.NewRelay(db, broker, silent, bus.WithBatch(2), choosy(map[string]*atomic.Bool{"1": bad}))
	appendNotes(t, db, "order-1", 1)
	drain(t, relay)
	bad.Store(true)
	appendNotes(t, db, "order-1", 1)
	appendNotes(t, db, "order-2", 1)
	appendNotes(t, db, "order-1", 2)
	appendNotes(t, db, "order-2", 1)
	if err := relay.Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
		t.Fatalf("Drain = %v, want ErrParked", err)
	}
	wantPositions(t, broker, "annals.order", 1, 3, 6)
	bad.Store(false)
	return db, relay
}

// What is parked has not been published, so it is no business of a replay, and the
// caller is told.
func TestReplayLeavesOutWhatIsParked(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"", "copy"} {
		synctest.Test(t, func(t *testing.T) {
			broker := memory.NewBroker(1)
			db, relay := parkedStore(t, broker)
			done, err := relay.Replay(t.Context(), bus.Replay{ID: "x", Topic: topic})
			want := "relay/main: 1 keys are parked: see annals parked; one of them: map order-1@2 (order.noted, position 2): no such customer"
			if !errors.Is(err, worker.ErrParked) || err.Error() != want {
				t.Errorf("Replay = %v, want %s", err, want)
			}
			if diff := cmp.Diff(bus.Replayed{ID: "x", After: 6, To: 6, Events: 3, Parked: map[event.Stream]event.Position{orderOne: 2}}, done); diff != "" {
				t.Error(diff)
			}
			if topic == "" {
				wantPositions(t, broker, "annals.order", 1, 3, 6, 1, 3, 6)
			} else {
				wantPositions(t, broker, "copy", 1, 3, 6)
			}
			retry(t, db, "order-1")
			drain(t, relay)
			replay(t, relay, bus.Replay{Topic: "again", Streams: []event.Stream{orderOne}, After: done.Parked[orderOne] - 1})
			wantPositions(t, broker, "again", 2, 4, 5)
		})
	}
}

// What was parked in the beginning, and was published meanwhile, is a repeat; but a
// stream that was left out once stays out, so that another topic has it in order.
func TestReplayWhileAParkedStreamDrains(t *testing.T) {
	t.Parallel()
	for drainedAfter, want := range map[event.Position][]int{1: {1, 2, 3, 4, 5, 6}, 2: {1, 3, 6}} {
		synctest.Test(t, func(t *testing.T) {
			broker := memory.NewBroker(1)
			db, relay := parkedStore(t, broker)
			slow := bus.NewRelay(db, broker, silent, bus.WithBatch(1))
			_, err := slow.Replay(t.Context(), bus.Replay{Topic: "copy", Progress: func(d bus.Replayed) {
				if d.After == drainedAfter {
					retry(t, db, "order-1")
					drain(t, relay)
				}
			}})
			if errors.Is(err, worker.ErrParked) != (drainedAfter == 2) || err != nil && drainedAfter != 2 {
				t.Errorf("drained after %d: Replay = %v", drainedAfter, err)
			}
			wantPositions(t, broker, "copy", want...)
		})
	}
}

// What somebody has given up was never published, and a replay does not publish it either.
func TestReplayLeavesOutWhatIsDiscarded(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]event.Position{"before": 0, "meanwhile": 1} {
		synctest.Test(t, func(t *testing.T) {
			broker := memory.NewBroker(1)
			db, relay := parkedStore(t, broker)
			discard := func() {
				a := worker.Amender{Store: db, Name: "relay/main", Actor: "ada"}
				if err := a.DiscardParked(t.Context(), worker.Key{Key: "order-1"}, 2, "a test order"); err != nil {
					t.Fatal(err)
				}
				for range 600 { // so that it is not among the newest
					if err := a.NoteParked(t.Context(), worker.Key{Key: "order-1"}, "x"); err != nil {
						t.Fatal(err)
					}
					if err := a.AssignParked(t.Context(), worker.Key{Key: "order-1"}, "ada"); err != nil {
						t.Fatal(err)
					}
				}
				drain(t, relay)
			}
			if when == 0 {
				discard()
			}
			slow := bus.NewRelay(db, broker, silent, bus.WithBatch(1))
			done := replay(t, slow, bus.Replay{Progress: func(d bus.Replayed) {
				if d.After == when {
					discard()
				}
			}})
			if done.Discarded != 1 || done.Events != 5 {
				t.Errorf("%s: %+v, want 1 discarded", name, done)
			}
			late := map[event.Position][]int{0: {4, 5, 1, 3, 4, 5, 6}, 1: {1, 4, 5, 3, 4, 5, 6}}[when]
			wantPositions(t, broker, "annals.order", append([]int{1, 3, 6}, late...)...)
		})
	}
}
