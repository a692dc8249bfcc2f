package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// Every so many events, or when a load was slow, whichever is first.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options []aggregate.SnapshotOption
		took    time.Duration
		events  []int // appended before each load
		want    []event.Version
	}{
		"every 10":                    {[]aggregate.SnapshotOption{aggregate.WithEvery(10)}, 0, []int{9, 1, 5, 4, 1, 30}, []event.Version{10, 20, 50}},
		"default":                     {nil, time.Millisecond, []int{99, 1, 99, 1}, []event.Version{100, 200}},
		"slow":                        {nil, 50 * time.Millisecond, []int{9, 1, 1, 9, 100}, []event.Version{10, 20, 120}},
		"slow, but not asked for":     {[]aggregate.SnapshotOption{aggregate.WithSlowLoad(0)}, time.Hour, []int{99, 1}, []event.Version{100}},
		"not slow enough":             {[]aggregate.SnapshotOption{aggregate.WithSlowLoad(time.Second)}, time.Second - 1, []int{99, 1}, []event.Version{100}},
		"every event":                 {[]aggregate.SnapshotOption{aggregate.WithEvery(1)}, 0, []int{1, 0, 1, 0}, []event.Version{1, 2}},
		"a stream that has no events": {[]aggregate.SnapshotOption{aggregate.WithEvery(1)}, time.Hour, []int{0, 0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, now := memory.New(), time.Time{}
			var saw seen
			clock := aggregate.WithLoadClock(func() time.Time { now = now.Add(test.took); return now })
			s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), append(test.options, clock, saw.hooks())...)
			ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
			for _, n := range test.events {
				pay(t, db, "a", amounts(n)...)
				stop := running(t, s)
				load(t, ledgers, db, "a")
				stop()
			}
			if !slices.Equal(saw.saved, test.want) {
				t.Errorf("saved at %v, want %v", saw.saved, test.want)
			}
		})
	}
}

func TestWithoutRunNothingIsKept(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(10))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", amounts(10)...)
	load(t, ledgers, db, "a")
	running(t, s)()
	load(t, ledgers, db, "a")
	if n, _ := s.Waiting(); n != 0 || saw.dropped != 2 || len(saw.saved) != 0 {
		t.Errorf("%d wait, %d dropped, saved %v, want 2 dropped", n, saw.dropped, saw.saved)
	}
}

// slowSnapshots saves when it is told to, or returns when ctx ends.
type slowSnapshots struct {
	eventstore.Snapshots
	begun chan struct{}
	next  chan struct{}
}

func (s slowSnapshots) SaveSnapshot(ctx context.Context, snap eventstore.Snapshot) (bool, error) {
	s.begun <- struct{}{}
	select {
	case <-s.next:
		return s.Snapshots.SaveSnapshot(ctx, snap)
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// What does not fit is dropped and counted; the newest of a stream takes the
// place of the one before; a load is never held up.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		slow := slowSnapshots{db, make(chan struct{}, 100), make(chan struct{})}
		var saw seen
		s := aggregate.NewSnapshotter(slow, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(10), aggregate.WithQueue(2, 1<<20), aggregate.WithSaveDeadline(time.Hour))
		ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
		stop := running(t, s)
		at := func(id string) {
			pay(t, db, id, amounts(10)...)
			load(t, ledgers, db, id)
		}
		at("a")
		<-slow.begun // it is being written, and the queue is empty
		at("b")
		at("c")
		at("d")
		if n, _ := s.Waiting(); n != 2 || saw.dropped != 1 {
			t.Errorf("%d wait, %d dropped, want 2 and 1", n, saw.dropped)
		}
		at("b") // the newer one
		load(t, ledgers, db, "b")
		at("a") // is being written: no place
		if n, _ := s.Waiting(); n != 2 || saw.dropped != 2 {
			t.Errorf("%d wait, %d dropped, want 2 and 2", n, saw.dropped)
		}
		close(slow.next)
		synctest.Wait()
		if want := []event.Version{10, 20, 10}; !slices.Equal(saw.saved, want) {
			t.Errorf("saved %v, want %v", saw.saved, want)
		}
		if n, held := s.Waiting(); n != 0 || held != 0 {
			t.Errorf("%d wait with %d bytes, want none", n, held)
		}
		at("d")
		synctest.Wait()
		if got := saw.saved[3:]; !slices.Equal(got, []event.Version{20}) {
			t.Errorf("saved %v, want 20", got)
		}
		stop()
	})
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(10), aggregate.WithQueue(10, 16))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", amounts(10)...)
	stop := running(t, s)
	load(t, ledgers, db, "a")
	stop()
	if saw.dropped != 1 || len(saw.saved) != 0 {
		t.Errorf("%d dropped, saved %v, want one dropped", saw.dropped, saw.saved)
	}
}

// Run returns when its context has ended and what was queued is stored, or its
// deadline is over.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		slow := slowSnapshots{db, make(chan struct{}, 100), make(chan struct{})}
		var saw seen
		s := aggregate.NewSnapshotter(slow, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(10), aggregate.WithSaveDeadline(time.Second))
		ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
		stop := running(t, s)
		for _, id := range []string{"a", "b", "c", "d"} {
			pay(t, db, id, amounts(10)...)
			load(t, ledgers, db, id)
		}
		<-slow.begun
		before := time.Now()
		go func() {
			<-slow.begun
			slow.next <- struct{}{} // b, while Run drains
		}()
		stop() // a takes its second; then the rest has another one
		if took := time.Since(before); took != 2*time.Second {
			t.Errorf("Run took %v to end, want 2s", took)
		}
		if !slices.Equal(saw.saved, []event.Version{10}) || len(saw.failed)+saw.dropped != 3 {
			t.Errorf("saved %v, failed %v, %d dropped, want 1, and 3 of the others", saw.saved, saw.failed, saw.dropped)
		}
		if !errors.Is(saw.failed[0], context.DeadlineExceeded) {
			t.Errorf("failed with %v", saw.failed[0])
		}
		synctest.Wait() // no goroutine is left, or the bubble does not end
	})
}

// Several Runs share the work.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(1))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	first, second, third := running(t, s), running(t, s), running(t, s)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			pay(t, db, fmt.Sprint(i), 1)
			load(t, ledgers, db, fmt.Sprint(i))
		})
	}
	wg.Wait()
	first()
	second()
	third()
	if n, _ := s.Waiting(); len(saw.saved) != 100 || n != 0 || s.Running() {
		t.Errorf("%d saved, %d wait, running %t, want 100", len(saw.saved), n, s.Running())
	}
}

// Commands of many goroutines, with snapshots made all the while.
func TestManyWritersWithSnapshots(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(3))
	ledgers := aggregate.New[Ledger](db, "account", Codec, aggregate.WithAttempts(1000), aggregate.WithBackoff(0, 0)).WithSnapshots(s)
	stop := running(t, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 25 {
				_, err := ledgers.Update(t.Context(), "a", func(l Ledger) ([]Event, error) { return []Event{Paid{Cents: l.Sum + int64(i)}}, nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stop()
	if got := load(t, ledgers, db, "a"); got.Version != 200 || saw.loaded == 0 || len(saw.ignored) > 0 {
		t.Errorf("version %d, %d loads from snapshots, ignored %v, want 200", got.Version, saw.loaded, saw.ignored)
	}
	if !slices.IsSorted(saw.saved) {
		t.Errorf("saved %v, want growing versions", saw.saved)
	}
}

// What a caller does with a state that it was given changes no snapshot.
func TestStatesBelongToTheCaller(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(10))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	raw, _ := Codec.Encode(Opened{Owner: "ada"})
	if _, err := db.Append(t.Context(), event.Stream{Category: "account", ID: "a"}, eventstore.None(), raw); err != nil {
		t.Fatal(err)
	}
	pay(t, db, "a", amounts(9)...)
	stop := running(t, s)
	mine, err := ledgers.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	mine.State.By[99], mine.State.Last[0] = 99, 99
	mine.State.Names["ada"].Times = 99
	stop()
	load(t, ledgers, db, "a")
	if saw.loaded != 1 {
		t.Errorf("%d loads from snapshots, want 1", saw.loaded)
	}
}

// spy counts what is written.
type spy struct {
	eventstore.Snapshots
	reads, writes int
}

func (s *spy) LoadSnapshot(ctx context.Context, st event.Stream, f eventstore.Fingerprint) (eventstore.Snapshot, bool, error) {
	s.reads++
	return s.Snapshots.LoadSnapshot(ctx, st, f)
}

func (s *spy) SaveSnapshot(ctx context.Context, snap eventstore.Snapshot) (bool, error) {
	s.writes++
	return s.Snapshots.SaveSnapshot(ctx, snap)
}

func (s *spy) DropSnapshot(ctx context.Context, snap eventstore.Snapshot) (bool, error) {
	s.writes++
	return s.Snapshots.DropSnapshot(ctx, snap)
}

// In a transaction of the caller snapshots are read, over its store, and none
// are made: it may be rolled back. That holds however the repository was bound.
func TestTransactionsMakeNoSnapshots(t *testing.T) {
	t.Parallel()
	db := memory.New()
	watched := &spy{Snapshots: db}
	var saw seen
	s := aggregate.NewSnapshotter(watched, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(10))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", amounts(30)...)
	stop := running(t, s)
	load(t, ledgers, db, "a")
	stop()
	watched.reads, watched.writes, saw.loaded = 0, 0, 0

	stop = running(t, s)
	tx := db.Begin()
	defer tx.Rollback()
	for i, both := range []*aggregate.Repository[Ledger, Event]{
		ledgers.With(db.Tx(tx)),
		aggregate.New[Ledger](db.Tx(tx), "account", Codec).WithSnapshots(s),
		aggregate.New[Ledger](db, "account", Codec).With(db.Tx(tx)).WithSnapshots(s),
	} {
		for range 20 {
			if _, err := both.Update(t.Context(), "a", func(Ledger) ([]Event, error) { return []Event{Paid{Cents: 7}}, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if got := load(t, both, db.Tx(tx), "a"); got.Version != event.Version(50+20*i) {
			t.Errorf("version %d, want %d", got.Version, 50+20*i)
		}
	}
	elsewhere := ledgers.With(struct{ eventstore.Store }{db.Tx(tx)}) // which cannot read snapshots
	load(t, elsewhere, db.Tx(tx), "a")
	tx.Rollback()
	stop()
	if watched.reads != 0 || watched.writes != 0 || saw.loaded != 63 {
		t.Errorf("%d reads and %d writes outside of the transaction, %d loads from snapshots in it, want 0, 0, 63", watched.reads, watched.writes, saw.loaded)
	}
	load(t, ledgers, db, "a")
}
