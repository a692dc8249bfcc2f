package postgres_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// lengths is what notes are in the next release: with the same fields, which mean
// something else.
type lengths struct {
	Count int
	Last  string
	Seen  map[string]int
}

func (n lengths) Evolve(e noted) lengths {
	n.Count += len(e.Text)
	n.Last = e.Text
	return n
}

// The snapshots of one release decode as the state of the next, and are wrong
// there. Both run side by side, and neither uses those of the other.
func TestFaultSnapshotOfAnotherProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := postgres.New(postgrestest.Pool(t))
	addNotes(ctx, t, db, "a", texts(200)...)
	k := keep(db)
	k.run(t)
	k.save(ctx, t, "a")
	next := aggregate.New[lengths](db, "order", noteCodec)
	want, err := next.Load(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[lengths]())
	got, err := next.WithSnapshots(s).Load(ctx, "a")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("with the snapshot of the release before: %v\n%s", err, diff)
	}
	other := keep(db, aggregate.WithEdition("2"))
	if _, err := other.Load(ctx, "a"); err != nil || len(other.loaded) > 0 || other.ignored[aggregate.Stale] != 1 {
		t.Errorf("another edition: %v, %d loads from snapshots, ignored %v, want one that is stale", err, len(other.loaded), other.ignored)
	}
}

// A stream of two million events with a snapshot near its end: a load touches
// what lies behind the snapshot, and memory does not grow, with one and without.
func TestFaultSnapshotOfALongStream(t *testing.T) {
	s := planScript(t) // alone: it measures the process
	const events, behind, most = 2_000_000, 50, 64 << 20
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Minute)
	defer cancel()
	s.ctx = ctx
	for id, n := range map[string]int{"long": events - behind, "short": 1000 - behind} {
		s.exec(`
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', $1::text, n, gen_random_uuid(), 'order.noted', 1, 'application/json', convert_to('{"Text":"note ' || n % 7 || '"}', 'UTF8'), '{}'
FROM generate_series(1, $2::bigint) n`, id, n)
	}
	s.exec(`VACUUM ANALYZE annals.events`)
	k := keep(s.db, aggregate.WithSlowLoad(0)) // so that no slow machine makes another one
	k.run(t)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := watchHeap(t)
	got := map[string]work{}
	for id, n := range map[string]event.Version{"short": 1000, "long": events} {
		begin := time.Now()
		if at := k.save(ctx, t, id); at != n-behind {
			t.Fatalf("%s: snapshot at %d, want %d", id, at, n-behind)
		}
		all := time.Since(begin)
		addNotes(ctx, t, s.db, id, texts(behind)...)
		_, err := k.Load(ctx, id) // the first one may plan
		s.end(err)
		k.loaded, k.folded = nil, 0
		var loaded aggregate.Loaded[notes]
		begin = time.Now()
		got[id] = s.touched(func() { loaded, err = k.Load(ctx, id) })
		s.end(err)
		t.Logf("%s: %d events: %v without a snapshot, %v with one %d before the end (counters included), which touches %+v", id, n, all, time.Since(begin), behind, got[id])
		if loaded.Version != n || loaded.State.Count != int(n) || loaded.State.Last != texts(behind)[behind-1] {
			t.Errorf("%s: loaded %+v, want version %d", id, loaded, n)
		}
		if !slices.Equal(k.loaded, []event.Version{n - behind}) || k.folded != behind {
			t.Errorf("%s: loads from snapshots %v folded %d events, want %d", id, k.loaded, k.folded, behind)
		}
		if w := got[id]; w.scans > 0 || w.rows >= 100 || w.entries >= 100 {
			t.Errorf("%s: the load touches %+v, want less than 100 rows and no scan", id, w)
		}
	}
	if diff := got["long"].rows - got["short"].rows; diff != 0 {
		t.Errorf("the long stream costs %d rows more than the short one", diff)
	}
	runtime.ReadMemStats(&now)
	if grown := peak() - int64(before.HeapInuse); grown > most {
		t.Errorf("%d MiB more at the most, want at most %d", grown>>20, most>>20)
	}
}

// watchHeap looks at the heap until the test ends; peak returns the most it saw.
func watchHeap(t *testing.T) (peak func() int64) {
	t.Helper()
	var (
		mu   sync.Mutex
		most int64
	)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			mu.Lock()
			most = max(most, int64(now.HeapInuse))
			mu.Unlock()
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
	return func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return most
	}
}
