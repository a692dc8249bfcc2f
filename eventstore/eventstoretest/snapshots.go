package eventstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// keepsSnapshots reports whether the store is a Snapshots too.
func keepsSnapshots(target Target) bool {
	_, ok := target.Store.(eventstore.Snapshots)
	return ok
}

// snapshotOf is a snapshot as it is made.
func snapshotOf(s event.Stream, v event.Version, fingerprint byte) eventstore.Snapshot {
	out := eventstore.Snapshot{
		Format: eventstore.SnapshotFormat, Stream: s, Version: v, Position: event.Position(10 * v), EventID: event.NewID(),
		Fingerprint: eventstore.Fingerprint{fingerprint}, ContentType: "application/json", State: fmt.Appendf(nil, `{"at":%d,"odd":"\x00\xff"}`, v),
	}
	out.Checksum = out.Sum()
	return out
}

func save(t *testing.T, s eventstore.Snapshots, want bool, snaps ...eventstore.Snapshot) {
	t.Helper()
	for _, snap := range snaps {
		saved, err := s.SaveSnapshot(bounded(t), snap)
		if err != nil || saved != want {
			t.Fatalf("save snapshot of %s@%d = %t, %v, want %t", snap.Stream, snap.Version, saved, err, want)
		}
	}
}

// has checks what the store has of a stream for a fingerprint.
func has(t *testing.T, r eventstore.SnapshotReader, s event.Stream, fingerprint byte, want eventstore.Snapshot, wantOthers bool) {
	t.Helper()
	got, others, err := r.LoadSnapshot(bounded(t), s, eventstore.Fingerprint{fingerprint})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, fmt.Sprintf("snapshot of %s for %d", s, fingerprint), got, want)
	equal(t, fmt.Sprintf("other snapshots of %s", s), others, wantOthers)
	if got.Version > 0 && got.Sum() != got.Checksum {
		t.Errorf("snapshot of %s: the checksum does not match", s)
	}
}

func deleteSnapshots(t *testing.T, s eventstore.Snapshots, q eventstore.SnapshotQuery, want int) {
	t.Helper()
	n, err := s.DeleteSnapshots(bounded(t), q)
	if err != nil || n != want {
		t.Errorf("delete %+v = %d, %v, want %d", q, n, err, want)
	}
}

var none eventstore.Snapshot

var snapshotTests = map[string]func(*testing.T, Target){
	"the newest stays, whoever comes last": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		has(t, db, stream, 1, none, false)
		first, second := snapshotOf(stream, 5, 1), snapshotOf(stream, 9, 1)
		save(t, db, true, first)
		has(t, db, stream, 1, first, false)
		save(t, db, false, snapshotOf(stream, 5, 1))
		save(t, db, true, second)
		save(t, db, false, first, snapshotOf(stream, 8, 1))
		has(t, db, stream, 1, second, false)
	},
	"fingerprints and streams are apart": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		mine := snapshotOf(stream, 5, 1)
		save(t, db, true, mine)
		has(t, db, stream, 2, none, true)
		has(t, db, another, 1, none, false)
		theirs, other := snapshotOf(stream, 3, 2), snapshotOf(another, 1, 1)
		save(t, db, true, theirs, other)
		has(t, db, stream, 1, mine, false)
		has(t, db, stream, 2, theirs, false)
		has(t, db, another, 1, other, false)
	},
	"everything comes back as it was": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		odd := snapshotOf(order(`quotes ' " \ %s`), 1<<62, 1)
		odd.Format, odd.Position, odd.ContentType, odd.State = 1<<15-1, -1, "a/b;c='\"\\", make([]byte, 256)
		for i := range odd.State {
			odd.State[i] = byte(i)
		}
		odd.Checksum = [32]byte{1, 2, 3}
		save(t, db, true, odd)
		got, _, err := db.LoadSnapshot(bounded(t), odd.Stream, odd.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "snapshot", got, odd)
	},
	"bounds": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		most := snapshotOf(stream, 1, 1)
		most.State = bytes.Repeat([]byte{0xA5}, eventstore.MaxSnapshotBytes)
		most.Checksum = most.Sum()
		save(t, db, true, most)
		has(t, db, stream, 1, most, false)
		over, empty, nowhere := most, snapshotOf(stream, 2, 1), snapshotOf(event.Stream{}, 1, 1)
		over.State, over.Version = append(over.State, 0), 2
		_, err := db.SaveSnapshot(bounded(t), over)
		var size *eventstore.SnapshotSizeError
		if want := "save snapshot of order-o-1: state of 8388609 bytes, at most 8388608"; !errors.As(err, &size) || !errors.Is(err, eventstore.ErrLimit) || err.Error() != want {
			t.Errorf("save = %v, want %s", err, want)
		}
		if _, err = db.SaveSnapshot(bounded(t), nowhere); !errors.Is(err, event.ErrInvalidName) {
			t.Errorf("save = %v, want %v", err, event.ErrInvalidName)
		}
		if _, _, err = db.LoadSnapshot(bounded(t), event.Stream{}, eventstore.Fingerprint{}); !errors.Is(err, event.ErrInvalidName) {
			t.Errorf("load = %v, want %v", err, event.ErrInvalidName)
		}
		if _, err = db.DeleteSnapshots(bounded(t), eventstore.SnapshotQuery{Category: "a-b"}); !errors.Is(err, event.ErrInvalidName) {
			t.Errorf("delete = %v, want %v", err, event.ErrInvalidName)
		}
		empty.State = nil
		save(t, db, true, empty)
		if got, _, err := db.LoadSnapshot(bounded(t), stream, empty.Fingerprint); err != nil || got.Version != 2 || len(got.State) != 0 {
			t.Errorf("load = %+v, %v, want no bytes at version 2", got, err)
		}
	},
	"drop takes only what was seen": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		seen, newer := snapshotOf(stream, 5, 1), snapshotOf(stream, 6, 1)
		drop := func(s eventstore.Snapshot, want bool) {
			t.Helper()
			if dropped, err := db.DropSnapshot(bounded(t), s); err != nil || dropped != want {
				t.Errorf("drop %s@%d = %t, %v, want %t", s.Stream, s.Version, dropped, err, want)
			}
		}
		drop(seen, false)
		save(t, db, true, seen)
		again := seen
		again.Checksum[0]++
		drop(again, false)
		save(t, db, true, newer)
		drop(seen, false)
		has(t, db, stream, 1, newer, false)
		drop(newer, true)
		has(t, db, stream, 1, none, false)
		save(t, db, true, seen) // an older one, which is the newest now
	},
	"two writers race": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		var wg sync.WaitGroup
		for writer := range 2 {
			wg.Go(func() {
				for v := 1 + writer; v <= 100; v += 2 {
					if _, err := db.SaveSnapshot(bounded(t), snapshotOf(stream, event.Version(v), 1)); err != nil {
						t.Error(err)
					}
					if _, err := db.SaveSnapshot(bounded(t), snapshotOf(stream, event.Version(101-v), 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got, _, err := db.LoadSnapshot(bounded(t), stream, eventstore.Fingerprint{1})
		if err != nil || got.Version != 100 || got.Sum() != got.Checksum {
			t.Errorf("load = version %d, %v, want 100", got.Version, err)
		}
	},
	"delete selects": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		refund := event.Stream{Category: "refund", ID: "r"}
		fill := func() {
			for _, s := range []event.Stream{stream, another, refund} {
				for f := range byte(3) {
					_, err := db.SaveSnapshot(bounded(t), snapshotOf(s, 1, f))
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		fill()
		one, two := eventstore.Fingerprint{1}, eventstore.Fingerprint{2}
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Before: time.Now().Add(-time.Hour)}, 0)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Category: "order", Except: []eventstore.Fingerprint{one, two}}, 2)
		has(t, db, stream, 0, none, true)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Except: []eventstore.Fingerprint{one}}, 4)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Stream: another}, 1)
		has(t, db, another, 1, none, false)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Category: "refund", Before: time.Now().Add(time.Hour)}, 1)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{}, 1)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{}, 0)
		fill()
		deleteSnapshots(t, db, eventstore.SnapshotQuery{}, 9)
	},
	"delete passes over what is kept": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		const kept = 10_000
		var wg sync.WaitGroup
		for _, ids := range slices.Collect(slices.Chunk(slices.Collect(func(yield func(int) bool) {
			for i := range kept {
				if !yield(i) {
					return
				}
			}
		}), kept/8)) {
			wg.Go(func() {
				for _, i := range ids {
					if _, err := db.SaveSnapshot(bounded(t), snapshotOf(order(fmt.Sprintf("a%05d", i)), 1, 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		last := order("b")
		save(t, db, true, snapshotOf(last, 1, 2), snapshotOf(event.Stream{Category: "refund", ID: "a"}, 1, 2))
		q := eventstore.SnapshotQuery{Category: "order", Except: []eventstore.Fingerprint{{1}}}
		deleteSnapshots(t, db, q, 1)
		has(t, db, last, 2, none, false)
		q.Category = ""
		deleteSnapshots(t, db, q, 1)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Stream: order("a05000")}, 1)
		deleteSnapshots(t, db, eventstore.SnapshotQuery{Category: "order"}, kept-1)
	},
	"read within a transaction": func(t *testing.T, target Target) {
		if target.Begin == nil {
			return
		}
		db := target.Store.(eventstore.Snapshots)
		snap := snapshotOf(stream, 5, 1)
		save(t, db, true, snap)
		tx := begin(t, target)
		if _, writes := tx.Store.(eventstore.Snapshots); writes {
			t.Error("a store within a transaction is no Snapshots")
		}
		reader, ok := tx.Store.(eventstore.SnapshotReader)
		if !ok {
			t.Fatal("the store within a transaction reads no snapshots")
		}
		has(t, reader, stream, 1, snap, false)
		has(t, reader, stream, 2, none, true)
		done(t, func() error { return tx.Commit(bounded(t)) })
	},
	"ended contexts": func(t *testing.T, target Target) {
		db := target.Store.(eventstore.Snapshots)
		ctx, cancel := context.WithCancel(bounded(t))
		cancel()
		snap := snapshotOf(stream, 5, 1)
		_, saveErr := db.SaveSnapshot(ctx, snap)
		_, _, loadErr := db.LoadSnapshot(ctx, stream, snap.Fingerprint)
		_, dropErr := db.DropSnapshot(ctx, snap)
		_, deleteErr := db.DeleteSnapshots(ctx, eventstore.SnapshotQuery{})
		for _, err := range []error{saveErr, loadErr, dropErr, deleteErr} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
		}
		has(t, db, stream, 1, none, false)
	},
}
