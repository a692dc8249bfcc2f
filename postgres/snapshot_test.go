package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

type (
	noted struct{ Text string }
	notes struct {
		Count int
		Last  string
		Seen  map[string]int
	}
)

var noteCodec = codec.JSON(codec.Types[noted]{"order.noted": noted{}})

func (n notes) Evolve(e noted) notes {
	if n.Seen == nil {
		n.Seen = map[string]int{}
	}
	n.Count++
	n.Last = e.Text
	n.Seen[e.Text]++
	return n
}

// kept are notes with snapshots, and what the hooks were told.
type kept struct {
	*aggregate.Repository[notes, noted]
	plain *aggregate.Repository[notes, noted]
	s     *aggregate.Snapshotter[notes]

	mu      sync.Mutex
	loaded  []event.Version
	folded  int
	saved   chan event.Version
	ignored map[aggregate.Ignored]int
}

func keep(store interface {
	eventstore.Store
	eventstore.Snapshots
}, opts ...aggregate.SnapshotOption) *kept {
	k := &kept{saved: make(chan event.Version, 1000), ignored: map[aggregate.Ignored]int{}}
	hooks := aggregate.WithSnapshotHooks(aggregate.SnapshotHooks{
		Loaded: func(_ event.Stream, at event.Version, folded int) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.loaded, k.folded = append(k.loaded, at), folded
		},
		Ignored: func(_ event.Stream, why aggregate.Ignored, _ error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.ignored[why]++
		},
		Saved: func(_ event.Stream, at event.Version, _ int) { k.saved <- at },
	})
	k.s = aggregate.NewSnapshotter(store, aggregate.JSONState[notes](), append(opts, hooks)...)
	k.plain = aggregate.New[notes](store, "order", noteCodec)
	k.Repository = k.plain.WithSnapshots(k.s)
	return k
}

func (k *kept) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// save loads until a snapshot is kept: a Run that has just started may not take
// one yet.
func (k *kept) save(ctx context.Context, t *testing.T, id string) event.Version {
	t.Helper()
	for {
		if _, err := k.Load(ctx, id); err != nil {
			t.Fatal(err)
		}
		select {
		case at := <-k.saved:
			return at
		case <-ctx.Done():
			t.Fatal("no snapshot is kept")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func addNotes(ctx context.Context, t *testing.T, store eventstore.Store, id string, texts ...string) {
	t.Helper()
	var raws []event.Raw
	for _, text := range texts {
		raw, err := noteCodec.Encode(noted{text})
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	if _, err := store.Append(ctx, order(id), eventstore.Any(), raws...); err != nil {
		t.Fatal(err)
	}
}

func texts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("note ", i%7)
	}
	return out
}

// Loads beside appends and snapshots, in every mode of pgx: with snapshots or
// without, the state is the same.
func TestSnapshotsOfLivingStreams(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			config, err := pgxpool.ParseConfig(postgrestest.URL(t))
			if err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			db := postgres.New(pool)
			k := keep(db, aggregate.WithEvery(10))
			k.run(t)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for i := range 30 {
						_, err := k.Update(ctx, "a", func(n notes) ([]noted, error) {
							return []noted{{fmt.Sprint(n.Count % 5)}, {fmt.Sprint(i)}}, nil
						})
						if err != nil && !errors.Is(err, eventstore.ErrConflict) {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			k.save(ctx, t, "a")
			addNotes(ctx, t, db, "a", texts(5)...)
			for range 2 {
				got, err := k.Load(ctx, "a")
				want, plainErr := k.plain.Load(ctx, "a")
				if diff := cmp.Diff(want, got); err != nil || plainErr != nil || diff != "" {
					t.Errorf("%v %v %s", err, plainErr, diff)
				}
			}
			if len(k.loaded) == 0 || len(k.ignored) > 0 {
				t.Errorf("%d loads from snapshots, ignored %v", len(k.loaded), k.ignored)
			}
			n, err := db.DeleteSnapshots(ctx, eventstore.SnapshotQuery{Except: []eventstore.Fingerprint{k.Fingerprint()}})
			if err != nil || n != 0 {
				t.Errorf("delete all others = %d, %v, want none", n, err)
			}
			if n, err = db.DeleteSnapshots(ctx, eventstore.SnapshotQuery{Category: "order", Except: []eventstore.Fingerprint{{}, {1}}, Before: time.Now().Add(time.Hour)}); err != nil || n != 1 {
				t.Errorf("delete = %d, %v, want 1", n, err)
			}
		})
	}
}

// In a transaction of the caller a load takes no second connection, and what is
// wrong with the snapshots does not abort the transaction.
func TestSnapshotsWithinATransaction(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := postgres.New(pool)
	k := keep(db, aggregate.WithEvery(20))
	k.run(t)
	addNotes(ctx, t, db, "a", texts(20)...)
	if at := k.save(ctx, t, "a"); at != 20 {
		t.Errorf("saved at %d, want 20", at)
	}
	for i, broken := range []string{
		`SELECT`, `DROP FUNCTION annals.load_snapshot_v1`, `DROP TABLE annals.snapshots`,
	} {
		if _, err := pool.Exec(ctx, broken); err != nil {
			t.Fatal(err)
		}
		k.loaded = nil
		for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead} {
			err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
				both := k.With(db.Tx(tx))
				for range 30 {
					if _, err := both.Update(ctx, "a", func(notes) ([]noted, error) { return []noted{{"in the transaction"}}, nil }); err != nil {
						return err
					}
				}
				return errRollback
			})
			if !errors.Is(err, errRollback) {
				t.Errorf("%s: %v", broken, err)
			}
		}
		if got, err := k.Load(ctx, "a"); err != nil || got.Version != 20 {
			t.Errorf("%s: Load = version %d, %v, want 20", broken, got.Version, err)
		}
		if want := []int{61, 0, 0}[i]; len(k.loaded) != want {
			t.Errorf("%s: %d loads from snapshots, want %d", broken, len(k.loaded), want)
		}
	}
	if k.ignored[aggregate.Unavailable] != 2*61 || len(k.ignored) != 1 {
		t.Errorf("ignored %v, want 122 for want of a store", k.ignored)
	}
	for len(k.saved) > 0 {
		if at := <-k.saved; at != 20 {
			t.Errorf("saved at %d: of events that were rolled back", at)
		}
	}
	_, _, err = db.LoadSnapshot(ctx, order("a"), k.Fingerprint())
	if !errors.Is(err, postgres.ErrNotMigrated) || !strings.HasPrefix(err.Error(), "load snapshot of order-a: schema is not migrated, run annals migrate: ") {
		t.Errorf("LoadSnapshot = %v", err)
	}
	snap := eventstore.Snapshot{Format: 1, Stream: order("a"), Version: 1, ContentType: "text/plain"}
	_, saveErr := db.SaveSnapshot(ctx, snap)
	_, dropErr := db.DropSnapshot(ctx, snap)
	_, deleteErr := db.DeleteSnapshots(ctx, eventstore.SnapshotQuery{})
	for prefix, err := range map[string]error{"save snapshot of order-a: ": saveErr, "drop snapshot of order-a: ": dropErr, "delete snapshots: ": deleteErr} {
		if !errors.Is(err, postgres.ErrNotMigrated) || !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("%v, want %s and that the schema is not migrated", err, prefix)
		}
	}
}

var errRollback = errors.New("roll back")

// What a statement touches does not grow with the number of snapshots, also if
// it was planned while there were none.
func TestSnapshotStatementsTouchLittle(t *testing.T) {
	t.Parallel()
	s := planScript(t)
	s.exec(`ALTER TABLE annals.snapshots SET (autovacuum_enabled = false)`)
	snap := eventstore.Snapshot{Format: 1, Stream: order("s500"), Version: 1, Fingerprint: eventstore.Fingerprint{9}, ContentType: "text/plain"}
	f := snap.Fingerprint
	ops := map[string]func(){
		"load":             func() { _, _, err := s.db.LoadSnapshot(s.ctx, order("s7000"), eventstore.Fingerprint{1}); s.end(err) },
		"load, and others": func() { _, _, err := s.db.LoadSnapshot(s.ctx, order("s7000"), f); s.end(err) },
		"load of none":     func() { _, _, err := s.db.LoadSnapshot(s.ctx, order("none"), f); s.end(err) },
		"save and drop": func() {
			_, err := s.db.SaveSnapshot(s.ctx, snap)
			s.end(err)
			_, err = s.db.DropSnapshot(s.ctx, snap)
			s.end(err)
		},
		"delete of a stream": func() {
			_, err := s.db.DeleteSnapshots(s.ctx, eventstore.SnapshotQuery{Stream: order("t")})
			s.end(err)
		},
		"delete of a category": func() {
			_, err := s.db.DeleteSnapshots(s.ctx, eventstore.SnapshotQuery{Category: "refund"})
			s.end(err)
		},
	}
	often := func() {
		for range 10 {
			for _, run := range ops {
				run()
			}
		}
	}
	fill := func(from, to int) {
		s.exec(`
INSERT INTO annals.snapshots (category, stream_id, fingerprint, format, version, position, event_id, content_type, state, checksum)
SELECT 'order', 's' || n, decode(rpad('01', 64, '0'), 'hex'), 1, 1, 1, gen_random_uuid(), 'text/plain', '', ''
FROM generate_series($1::bigint, $2::bigint) n`, from, to)
	}
	often()
	fill(1, 5)
	s.exec(`ANALYZE annals.snapshots`)
	often()
	fill(6, 100_000)
	count := func() (scans, entries int) {
		s.exec(`SELECT pg_stat_force_next_flush()`)
		s.end(s.pool.QueryRow(s.ctx, `
SELECT t.seq_scan, (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
FROM pg_stat_user_tables t
WHERE t.relid = 'annals.snapshots'::regclass`).Scan(&scans, &entries))
		return scans, entries
	}
	for _, prepare := range []string{`SELECT 'old statistics'`, `ANALYZE annals.snapshots`} {
		s.exec(prepare)
		for name, run := range ops {
			run()
			scans, entries := count()
			run()
			nowScans, nowEntries := count()
			most := 10
			if strings.HasPrefix(name, "delete") {
				most = 2 * 1000 // a page behind the key, and each of its rows again
			}
			if nowScans != scans || nowEntries-entries > most {
				t.Errorf("%s: %s makes %d scans and reads %d entries, want none and at most %d", prepare, name, nowScans-scans, nowEntries-entries, most)
			}
		}
	}
	scans, entries := count()
	n, err := s.db.DeleteSnapshots(s.ctx, eventstore.SnapshotQuery{Except: []eventstore.Fingerprint{{1}}})
	nowScans, nowEntries := count()
	if err != nil || n != 0 || nowScans != scans || nowEntries-entries > 210_000 {
		t.Errorf("a walk over 100,000 = %d, %v, with %d scans and %d entries, want each of them read twice", n, err, nowScans-scans, nowEntries-entries)
	}
}
