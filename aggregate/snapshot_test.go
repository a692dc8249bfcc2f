package aggregate_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// Ledger is a state with everything that a snapshot can get wrong: maps and
// slices, empty and nil, and an order in which events came.
type Ledger struct {
	Open  bool             `json:"open"`
	Sum   int64            `json:"sum"`
	By    map[int64]int    `json:"by"`
	Last  []int64          `json:"last"`
	Names map[string]*Name `json:"names,omitzero"`
}

type Name struct {
	Text  string
	Times int
}

func (l Ledger) Evolve(e Event) Ledger {
	switch e := e.(type) {
	case Opened:
		l.Open = true
		if l.Names == nil {
			l.By, l.Names = map[int64]int{}, map[string]*Name{}
		}
		if l.Names[e.Owner] == nil {
			l.Names[e.Owner] = &Name{Text: e.Owner}
		}
		l.Names[e.Owner].Times++ // in place: the state is not the caller's yet
	case Paid:
		l.Sum = 3*l.Sum + e.Cents
		if l.By != nil {
			l.By[e.Cents%7]++
		}
		l.Last = append(l.Last[max(0, len(l.Last)-4):], e.Cents)
	}
	return l
}

// seen counts what the hooks of a Snapshotter are told.
type seen struct {
	mu      sync.Mutex
	ignored map[aggregate.Ignored]int
	loaded  int
	folded  int // behind snapshots
	saved   []event.Version
	dropped int
	failed  []error
}

func (s *seen) hooks() aggregate.SnapshotOption {
	s.ignored = map[aggregate.Ignored]int{}
	return aggregate.WithSnapshotHooks(aggregate.SnapshotHooks{
		Loaded: func(_ event.Stream, _ event.Version, folded int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.loaded++
			s.folded += folded
		},
		Ignored: func(_ event.Stream, why aggregate.Ignored, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ignored[why]++
			if (err != nil) != (why == aggregate.Damaged || why == aggregate.Unavailable) {
				s.failed = append(s.failed, fmt.Errorf("ignored as %s: %w", why, err))
			}
		},
		Saved: func(_ event.Stream, at event.Version, bytes int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if bytes > 0 {
				s.saved = append(s.saved, at)
			}
		},
		Dropped: func(event.Stream) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dropped++
		},
		Failed: func(_ event.Stream, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.failed = append(s.failed, err)
		},
	})
}

var quiet = aggregate.WithSnapshotLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))

// running runs a Snapshotter; what loads have queued before stop is stored when
// it returns.
func running[S any](t *testing.T, s *aggregate.Snapshotter[S]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for !s.Running() {
		runtime.Gosched()
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func pay(t *testing.T, db eventstore.Store, id string, cents ...int64) {
	t.Helper()
	for part := range slices.Chunk(cents, 500) {
		raws := make([]event.Raw, len(part))
		for i, c := range part {
			var err error
			if raws[i], err = Codec.Encode(Paid{Cents: c}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Append(t.Context(), event.Stream{Category: "account", ID: id}, eventstore.Any(), raws...); err != nil {
			t.Fatal(err)
		}
	}
}

func amounts(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// load loads with the repository, and holds the result against all events.
func load[S aggregate.State[S, Event]](t *testing.T, with *aggregate.Repository[S, Event], db eventstore.Store, id string) aggregate.Loaded[S] {
	t.Helper()
	got, err := with.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want, err := aggregate.New[S](db, "account", Codec).Load(t.Context(), id)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("with snapshots the state of %s differs (-events +snapshot): %v\n%s", id, err, diff)
	}
	return got
}

// The promise: a snapshot and the events behind it give what all events give,
// for random streams, shapes, policies, and writers beside the loads.
func TestSnapshotsChangeNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			db := memory.New()
			var saw seen
			s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), aggregate.WithEvery(1+r.IntN(20)), aggregate.WithSlowLoad(0))
			ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
			for range 3 {
				stop := running(t, s)
				for range 12 {
					id := fmt.Sprint(r.IntN(3))
					var writer sync.WaitGroup
					more := random(r, 1+r.IntN(12))
					writer.Go(func() {
						if _, err := db.Append(t.Context(), event.Stream{Category: "account", ID: id}, eventstore.Any(), more...); err != nil {
							t.Error(err)
						}
					})
					if _, err := ledgers.Load(t.Context(), id); err != nil { // somewhere beside the append
						t.Error(err)
					}
					writer.Wait()
					load(t, ledgers, db, id)
				}
				stop()
				for id := range 3 {
					load(t, ledgers, db, fmt.Sprint(id))
				}
			}
			if saw.loaded == 0 || len(saw.saved) == 0 || len(saw.ignored) > 0 || len(saw.failed) > 0 {
				t.Errorf("%d loads from snapshots, %d saved, ignored %v, failed %v", saw.loaded, len(saw.saved), saw.ignored, saw.failed)
			}
		})
	}
}

// random events, of old shapes too.
func random(r *rand.Rand, n int) []event.Raw {
	out := make([]event.Raw, n)
	for i := range out {
		switch r.IntN(4) {
		case 0:
			out[i], _ = Codec.Encode(Opened{Owner: []string{"", "ada", "Zo\u00eb \ufffd <&>"}[r.IntN(3)]})
		case 1:
			out[i] = event.Raw{Name: "account.paid", Schema: 1, ContentType: "application/json", Payload: fmt.Appendf(nil, `{"Euros":%d}`, r.IntN(9))}
		default:
			out[i], _ = Codec.Encode(Paid{Cents: r.Int64()})
		}
	}
	return out
}

// sound makes a stream with a snapshot at its end, and takes that out of the store.
func sound(t *testing.T, db *memory.DB, ledgers *aggregate.Repository[Ledger, Event], s *aggregate.Snapshotter[Ledger]) eventstore.Snapshot {
	t.Helper()
	pay(t, db, "a", amounts(30)...)
	stop := running(t, s)
	load(t, ledgers, db, "a")
	stop()
	snap, _, err := db.LoadSnapshot(t.Context(), event.Stream{Category: "account", ID: "a"}, ledgers.Fingerprint())
	if err != nil || snap.Version != 30 {
		t.Fatalf("the snapshot is at version %d, %v, want 30", snap.Version, err)
	}
	if dropped, err := db.DropSnapshot(t.Context(), snap); err != nil || !dropped {
		t.Fatal(dropped, err)
	}
	return snap
}

// Whatever is wrong with a snapshot, the state is right, the reason is counted,
// and the next load finds a sound one in its place.
func TestBadSnapshotsAreIgnoredAndReplaced(t *testing.T) {
	t.Parallel()
	flip := func(b []byte, i int) []byte { b = slices.Clone(b); b[i] ^= 1; return b }
	signed := func(change func(*eventstore.Snapshot)) func(*eventstore.Snapshot) {
		return func(s *eventstore.Snapshot) { change(s); s.Checksum = s.Sum() }
	}
	type bad struct {
		change func(*eventstore.Snapshot)
		want   aggregate.Ignored
	}
	tests := map[string]bad{
		"checksum":                   {func(s *eventstore.Snapshot) { s.Checksum[31] ^= 1 }, aggregate.Damaged},
		"truncated":                  {func(s *eventstore.Snapshot) { s.State = s.State[:len(s.State)-1] }, aggregate.Damaged},
		"empty":                      {func(s *eventstore.Snapshot) { s.State = nil }, aggregate.Damaged},
		"longer":                     {func(s *eventstore.Snapshot) { s.State = append(slices.Clone(s.State), ' ') }, aggregate.Damaged},
		"version":                    {func(s *eventstore.Snapshot) { s.Version-- }, aggregate.Damaged},
		"position":                   {func(s *eventstore.Snapshot) { s.Position-- }, aggregate.Damaged},
		"event id":                   {func(s *eventstore.Snapshot) { s.EventID[0] ^= 1 }, aggregate.Damaged},
		"content type":               {func(s *eventstore.Snapshot) { s.ContentType = "text/plain" }, aggregate.Damaged},
		"content type, signed":       {signed(func(s *eventstore.Snapshot) { s.ContentType = "text/plain" }), aggregate.Damaged},
		"of another type, signed":    {signed(func(s *eventstore.Snapshot) { s.State = []byte(`[1]`) }), aggregate.Damaged},
		"field of another type":      {signed(func(s *eventstore.Snapshot) { s.State = []byte(`{"open":7}`) }), aggregate.Damaged},
		"no JSON, signed":            {signed(func(s *eventstore.Snapshot) { s.State = []byte(`{`) }), aggregate.Damaged},
		"empty, signed":              {signed(func(s *eventstore.Snapshot) { s.State = nil }), aggregate.Damaged},
		"newer format":               {signed(func(s *eventstore.Snapshot) { s.Format++ }), aggregate.Newer},
		"newer format, unknown sum":  {func(s *eventstore.Snapshot) { s.Format, s.Checksum = 2, [32]byte{} }, aggregate.Newer},
		"event of another history":   {signed(func(s *eventstore.Snapshot) { s.EventID[0] ^= 1 }), aggregate.Foreign},
		"position of another one":    {signed(func(s *eventstore.Snapshot) { s.Position++ }), aggregate.Foreign},
		"ahead of the stream":        {signed(func(s *eventstore.Snapshot) { s.Version++ }), aggregate.Foreign},
		"far ahead of the stream":    {signed(func(s *eventstore.Snapshot) { s.Version += 1 << 40 }), aggregate.Foreign},
		"id of an event before this": {signed(func(s *eventstore.Snapshot) { s.Version, s.Position = s.Version-1, s.Position-1 }), aggregate.Foreign},
	}
	for i := range 256 { // every byte, and every class of them
		tests[fmt.Sprintf("byte %d of the state", i)] = bad{func(s *eventstore.Snapshot) { s.State = flip(s.State, i%len(s.State)) }, aggregate.Damaged}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := memory.New()
			var saw seen
			s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(20))
			ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
			snap := sound(t, db, ledgers, s)
			test.change(&snap)
			if saved, err := db.SaveSnapshot(t.Context(), snap); err != nil || !saved {
				t.Fatal(saved, err)
			}
			stop := running(t, s)
			load(t, ledgers, db, "a")
			stop()
			load(t, ledgers, db, "a")
			if want := map[aggregate.Ignored]int{test.want: 1}; !maps.Equal(saw.ignored, want) || saw.loaded != 1 || saw.folded != 0 || !slices.Equal(saw.saved, []event.Version{30, 30}) {
				t.Errorf("ignored %v, want %v; %d loads from snapshots, want 1; saved %v", saw.ignored, want, saw.loaded, saw.saved)
			}
			if len(saw.failed) > 0 {
				t.Errorf("failed: %v", saw.failed)
			}
		})
	}
}

// A bad snapshot of a stream that is too short for one is dropped, and no other
// is made.
func TestBadSnapshotOfAShortStreamIsDropped(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), saw.hooks(), quiet)
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", 1, 2, 3)
	snap := eventstore.Snapshot{Format: 1, Stream: event.Stream{Category: "account", ID: "a"}, Version: 500, Fingerprint: ledgers.Fingerprint(), ContentType: "application/json", State: []byte(`{}`)}
	snap.Checksum = snap.Sum()
	if _, err := db.SaveSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	stop := running(t, s)
	load(t, ledgers, db, "a")
	stop()
	load(t, ledgers, db, "a")
	if saw.ignored[aggregate.Foreign] != 1 || len(saw.saved) != 0 {
		t.Errorf("ignored %v, saved %v, want one foreign and none saved", saw.ignored, saw.saved)
	}
}

// The store of the events went back and grew again, by other events. What is
// kept of the first history has no say in the second.
func TestStoreThatWentBack(t *testing.T) {
	t.Parallel()
	first, second, snaps := memory.New(), memory.New(), memory.New()
	var saw seen
	s := aggregate.NewSnapshotter(snaps, aggregate.JSONState[Ledger](), saw.hooks(), quiet, aggregate.WithEvery(10))
	before := aggregate.New[Ledger](first, "account", Codec).WithSnapshots(s)
	after := aggregate.New[Ledger](second, "account", Codec).WithSnapshots(s)
	stop := running(t, s)
	pay(t, first, "a", amounts(50)...)
	load(t, before, first, "a")
	stop()
	pay(t, second, "a", amounts(40)...)
	for n := 50; n <= 120; n += 10 { // at first as long as the other one was
		pay(t, second, "a", amounts(10)...)
		stop := running(t, s)
		got := load(t, after, second, "a")
		stop()
		if got.Version != event.Version(n) {
			t.Errorf("version %d, want %d", got.Version, n)
		}
	}
	if saw.ignored[aggregate.Foreign] != 1 || saw.loaded != 7 {
		t.Errorf("ignored %v, %d loads from snapshots, want one foreign and 7", saw.ignored, saw.loaded)
	}
}
