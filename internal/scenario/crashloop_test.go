//go:build unix

package scenario_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

// healTime is how long all may take to be as before after the last fault.
const healTime = 15 * time.Second

// crewed is a crew in a child process that a test keeps an eye on.
type crewed struct {
	*harness.Child
	history *oracle.History
	reader  *oracle.Reader
	hygiene *hygiene
	stop    func() // looking
	written chan struct{}

	mu       sync.Mutex
	messages []oracle.Message
}

// startCrew starts a crew on a database, which pool looks at.
func startCrew(t *testing.T, pool *pgxpool.Pool, args crewArgs) *crewed {
	t.Helper()
	h := oracle.New()
	c := &crewed{history: h, reader: h.Reader(crewReader, eventstore.LogQuery{}), hygiene: &hygiene{pool: pool}, written: make(chan struct{})}
	ready := make(chan struct{})
	child, err := harness.Start(h, harness.Command{Mode: "crew", Args: args, Told: func(kind string, data json.RawMessage) {
		var n int
		var m oracle.Message
		switch kind {
		case "ready":
			close(ready)
			return
		case "written":
			close(c.written)
			return
		case "goroutines":
			err := json.Unmarshal(data, &n)
			c.hygiene.told(n)
			if err == nil {
				return
			}
		case "message":
			err := json.Unmarshal(data, &m)
			c.mu.Lock()
			c.messages = append(c.messages, m)
			c.mu.Unlock()
			if err == nil {
				return
			}
		case "late":
			t.Error(oracle.Finding{Check: oracle.Stalled, Text: string(data)})
			return
		}
		t.Errorf("told of %s %s", kind, data)
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Child = child
	t.Cleanup(func() { _ = child.Kill() })
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the crew is not ready")
	}
	var watching sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	watching.Go(func() { c.hygiene.watch(ctx) })
	c.stop = func() {
		cancel()
		watching.Wait()
	}
	return c
}

// finish lets the writers end some time after the last fault, and judges
// everything.
func (c *crewed) finish(t *testing.T, ctx context.Context, pool *pgxpool.Pool, healed time.Time, url string) {
	t.Helper()
	before := c.history.Counts().Acked
	eventually(t, "appends are acknowledged again", func() bool { return c.history.Counts().Acked >= before+10 })
	lags := []oracle.Lag{{Name: "writers", At: time.Now()}}
	if err := c.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.written:
	case <-time.After(patience):
		t.Error("the writers do not end")
	}
	took, found := oracle.Progress(healed, healTime, append(lags, drained(t, pool, healed)...)...)
	if err := c.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	c.stop()
	eventually(t, "the sessions of the crew have ended", func() bool {
		err := c.hygiene.sample(ctx)
		samples := c.hygiene.samples
		return err == nil && samples[len(samples)-1].Sessions == 0
	})

	judged := connect(t, url, 4)
	db := postgres.New(judged)
	f := follower{log: db, reader: c.reader}
	if err := f.toHead(ctx); err != nil {
		t.Error(err)
	}
	judge(t, ctx, c.history, judged, db)
	stored := committed(t, judged)
	again, broker := oracle.Published(stored, nil, c.messages, 0.5)
	for _, f := range slices.Concat(
		found, broker,
		oracle.Effects("counted", stored, count, countedNow(t, judged)),
		oracle.Hygiene(c.hygiene.samples, oracle.Sample{Goroutines: 20}),
		chain(t, ctx, judged),
	) {
		t.Error(f)
	}
	t.Logf("at the head %v after the last fault; %.2f of the messages came again; at last %+v", took, again, c.hygiene.samples[len(c.hygiene.samples)-1])
}

// The server is killed every few seconds and comes back; meanwhile single
// backends are killed, which makes it restart all, and all sessions are
// terminated. The crew goes on by itself.
func TestFaultCrashLoop(t *testing.T) {
	t.Parallel()
	server, err := devenv.Postgres(t.Context(), devenv.WithOwnServer()) // it keeps what is committed
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	pool, ctx, s := observe(t, server.URL), bounded(t, *timeFlag), seed(t)
	if _, err := postgres.Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	run(t, pool, crewTables)
	c := startCrew(t, pool, crewArgs{URL: server.URL, Seed: s, Writers: 4, Streams: "a", Relay: true, Lease: time.Second})

	r, kills, small := random(s, 50), 0, 0
	for until := time.Now().Add(*timeFlag); kills < 2 || time.Now().Before(until); kills++ {
		for next := time.Now().Add(2*time.Second + rand.N(3*time.Second)); time.Now().Before(next); small++ {
			moment(ctx, r, 1500*time.Millisecond)
			nuisance(ctx, r, pool)
		}
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		moment(ctx, r, time.Second)
		if err := server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	healed := time.Now()
	t.Logf("%d kills of the server, %d of backends and terminations", kills, small)
	c.finish(t, ctx, pool, healed, server.URL)
}

// nuisance ends backends in one way or another, as far as the server is there.
func nuisance(ctx context.Context, r *rand.Rand, pool *pgxpool.Pool) {
	if r.IntN(4) > 0 {
		_, _ = pool.Exec(ctx, `
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE backend_type = 'client backend'
  AND application_name <> 'observer'`)
		return
	}
	rows, err := pool.Query(ctx, `
SELECT pid
FROM pg_stat_activity
WHERE backend_type = 'client backend'
  AND application_name <> 'observer'`)
	if err != nil {
		return
	}
	if pids, err := pgx.CollectRows(rows, pgx.RowTo[int]); err == nil && len(pids) > 0 {
		_ = syscall.Kill(pids[r.IntN(len(pids))], syscall.SIGKILL)
	}
}
