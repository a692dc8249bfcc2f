package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/internal/wireproxy"
	"github.com/annals-go/annals/postgres"
)

const (
	leastAmbiguous = 2000 // appends of the short form
	ambiguousCalls = 32   // callers at once
	generous       = 5 * time.Second
	disturbed      = 20 // of 100 commit points
)

// slowCommits makes one COMMIT of twenty take up to 400 ms: longer than some of
// the callers wait.
const slowCommits = `
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	bytes bytea := uuid_send(NEW.event_id);
BEGIN
	IF get_byte(bytes, 15) < 12 THEN
		PERFORM pg_sleep(0.4 * get_byte(bytes, 14) / 255);
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER dawdle
AFTER INSERT ON annals.events
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION dawdle();`

// saboteur disturbs commit points, by its source.
type saboteur struct {
	mu     sync.Mutex
	random *rand.Rand
	done   map[wireproxy.Kind]int
	points int
}

func (s *saboteur) act(wireproxy.Commit) wireproxy.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points++
	if s.random.IntN(100) >= disturbed {
		return wireproxy.Action{}
	}
	kinds := wireproxy.Kinds()
	a := wireproxy.Action{Kind: kinds[s.random.IntN(len(kinds))], For: time.Duration(s.random.IntN(100)) * time.Millisecond}
	s.done[a.Kind]++
	return a
}

// caller sends appends in one way after another, some with little time.
type caller struct {
	stores  []*postgres.DB // in groups, and alone
	history *oracle.History
	random  *rand.Rand
	open    func(pending) // of those without an answer
	late    func(string)  // of a call that did not end by its deadline
}

// pending is an append of which the caller was told that its outcome is unknown.
type pending struct {
	writes []eventstore.Write
	err    error
}

func (c *caller) draw(n int) []eventstore.Write {
	var out []eventstore.Write
	for _, i := range c.random.Perm(150)[:n] {
		w := eventstore.Write{Stream: stream(uint64(i))}
		if c.random.IntN(4) == 0 {
			w.Expect = eventstore.Exactly(event.Version(c.random.IntN(3)))
		}
		for range 1 + c.random.IntN(3) {
			w.Events = append(w.Events, note(c.random, w.Stream.Category+".noted", fmt.Append(nil, c.random.Uint64())))
		}
		out = append(out, w)
	}
	return out
}

// step makes one append.
func (c *caller) step(ctx context.Context) {
	timeout := generous
	if c.random.IntN(20) == 0 {
		timeout = time.Duration(30+c.random.IntN(300)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	way := c.random.IntN(100)
	switch {
	case way < 60:
		writes := c.draw(1)
		c.send(ctx, c.stores[way%2], writes)
	case way < 75:
		c.send(ctx, c.stores[way%2], c.draw(2+c.random.IntN(3)))
	default:
		c.transact(ctx, c.stores[way%2], c.draw(1+c.random.IntN(2)))
	}
	if took := time.Since(began); took > timeout+generous {
		c.late(fmt.Sprintf("an append with a deadline of %v took %v", timeout, took))
	}
}

func (c *caller) send(ctx context.Context, db *postgres.DB, writes []eventstore.Write) {
	a := c.history.Begin(writes...)
	res, err := send(ctx, db, writes)
	for i := range res {
		res[i].Repeated = false // nobody else has these ids: an earlier attempt of this call
	}
	a.End(res, err)
	if errors.Is(err, eventstore.ErrOutcomeUnknown) {
		c.open(pending{writes, err})
	}
}

func (c *caller) transact(ctx context.Context, db *postgres.DB, writes []eventstore.Write) {
	a := c.history.Begin()
	err := db.Transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, w := range writes {
			res, err := db.Tx(tx).Append(ctx, w.Stream, w.Expect, w.Events...)
			a.Wrote(w, res, err)
			if err != nil && !isConflict(err) {
				return err
			}
		}
		return nil
	})
	a.End(nil, err)
}

// terminate ends backends of the database at random, for as long as ctx lasts.
func terminate(ctx context.Context, pool *pgxpool.Pool, r *rand.Rand) (killed int) {
	for {
		select {
		case <-ctx.Done():
			return killed
		case <-time.After(time.Duration(50+r.IntN(200)) * time.Millisecond):
		}
		tag, err := pool.Exec(ctx, `
SELECT pg_terminate_backend(a.pid)
FROM pg_stat_activity a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND a.state <> 'idle'
ORDER BY random()
LIMIT 1`)
		if err == nil {
			killed += int(tag.RowsAffected())
		}
	}
}

// Connections are cut exactly where appends commit, before, after and in the
// middle of the answer; answers stall, and statements are read when nobody waits
// for them any more; backends are ended, and a disk fails. What every caller was
// told agrees with the table.
func TestFaultAmbiguousCommit(t *testing.T) {
	t.Parallel()
	server := startServer(t, devenv.WithSetting("fsync", "on"), devenv.WithSetting("synchronous_commit", "on"), devenv.WithSetting("full_page_writes", "on"))
	direct := connect(t, server.URL, 6)
	if _, err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	run(t, direct, slowCommits)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := wireproxy.Start(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	at.Host = proxy.Addr()

	s := seed(t)
	sab := &saboteur{random: random(s, 1), done: map[wireproxy.Kind]int{}}
	proxy.Script(sab.act)
	ctx := bounded(t, max(*timeFlag, 10*time.Second)*10)
	h := oracle.New()
	stores := []*postgres.DB{
		postgres.New(connect(t, at.String(), 16)),
		postgres.New(connect(t, at.String(), 16), postgres.WithoutGroups(), postgres.WithCallTimeout(generous)),
	}
	appends := int64(max(1, *timeFlag/(8*time.Second))) * leastAmbiguous

	var calling, faults sync.WaitGroup
	var left, made atomic.Int64
	var mu sync.Mutex
	var open []pending
	left.Store(appends)
	began := time.Now()
	for i := range ambiguousCalls {
		c := &caller{
			stores: stores, history: h, random: random(s, 100+i),
			late: func(text string) { t.Error(text) },
			open: func(p pending) {
				mu.Lock()
				defer mu.Unlock()
				open = append(open, p)
			},
		}
		calling.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				c.step(ctx)
				made.Add(1)
			}
		})
	}
	killing, stop := context.WithCancel(ctx)
	faults.Go(func() {
		killed := terminate(killing, direct, random(s, 2))
		t.Logf("%d backends were ended", killed)
	})
	faults.Go(func() {
		if within(killing, func() bool { return made.Load() > appends/3 }) {
			failDisk(t, killing, direct)
		}
	})
	calling.Wait()
	stop()
	faults.Wait()
	took := time.Since(began)
	proxy.Script(nil)

	counts := h.Counts()
	t.Logf("%d appends in %v, %d commit points", made.Load(), took.Round(time.Millisecond), sab.points)
	for _, k := range slices.Sorted(maps.Keys(sab.done)) {
		t.Logf("%4d times: %s", sab.done[k], k)
	}
	for _, k := range wireproxy.Kinds() {
		if sab.done[k] == 0 {
			t.Errorf("no commit point was disturbed by: %s", k)
		}
	}
	if counts.Unknown*10 > int(made.Load()) {
		t.Errorf("%d of %d appends have an unknown outcome, want fewer: callers have time to find out", counts.Unknown, made.Load())
	}

	// What was left open is found out when the faults are over: all of it or
	// nothing is stored, as it is now, and it stays so.
	eventually(t, "no transaction is open", func() bool {
		var n int
		err := direct.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()`).Scan(&n)
		return err == nil && n == 0
	})
	before := committed(t, direct)
	stored := map[event.ID]bool{}
	for _, e := range before {
		stored[e.ID] = true
	}
	calm := postgres.New(direct)
	resolved := map[string]int{}
	for _, p := range open {
		is := stored[p.writes[0].Events[0].Metadata.ID]
		a := h.Begin(p.writes...)
		res, err := send(ctx, calm, p.writes)
		a.End(res, err)
		switch {
		case err == nil && res[0].Repeated != is:
			t.Errorf("sent again: repeated is %v, and stored was %v, after: %v", res[0].Repeated, is, p.err)
		case err != nil && is:
			t.Errorf("sent again: %v, although it was stored, after: %v", err, p.err)
		case err == nil && is:
			resolved["stored before"]++
		case err == nil:
			resolved["stored now"]++
		default:
			resolved["refused"]++
		}
	}
	t.Logf("of %d appends without an answer, when sent again: %v", len(open), resolved)
	judge(t, ctx, h, direct, calm)
}
