//go:build unix

package scenario_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// crashPoints returns the points that the code names.
func crashPoints(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"postgres", "bus", "projection", "worker"} {
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`crash\.At\("([a-z.]+)"\)`).FindAllSubmatch(text, -1) {
				if name := string(m[1]); !strings.HasPrefix(name, "postgres.import.") { // which TestFaultImportIsResumed passes
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A crew is killed at every crash point, and at any moment, and started again,
// until the time is over. Then one without writers brings readers, read model
// and relay to the head.
func TestFaultKilledAnywhere(t *testing.T) {
	t.Parallel()
	const leastKills = 20
	url := postgrestest.URL(t, crewTables)
	pool, ctx, h := connect(t, url, 4), bounded(t, *timeFlag), oracle.New()
	r := random(seed(t), 0)
	program := childProgram(t)
	reader := h.Reader(crewReader, eventstore.LogQuery{})
	var messages []oracle.Message
	start := func(kills, writers int, crash string) (*harness.Child, <-chan struct{}) {
		t.Helper()
		ready := make(chan struct{})
		child, err := harness.Start(h, harness.Command{
			Program: program, Mode: "crew", Crash: crash,
			Args: crewArgs{url, r.Uint64(), writers, string(rune('a' + kills/8%26)), reader.Cursor(), true, 200 * time.Millisecond, 0},
			Told: func(kind string, data json.RawMessage) {
				var m oracle.Message
				switch kind {
				case "ready":
					close(ready)
					return
				case "goroutines", "written":
					return
				}
				if err := json.Unmarshal(data, &m); err != nil || kind != "message" {
					t.Errorf("told of %s %s: %v", kind, data, err)
				}
				messages = append(messages, m)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = child.Kill() })
		return child, ready
	}
	end := func(err error, when string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}

	points := slices.DeleteFunc(crashPoints(t), func(name string) bool {
		// Nothing of a crew fails, and it has no consumer: see TestFaultWorkersKilled and
		// TestFaultRebalanceChurn.
		return name == "worker.drain.begun" || strings.HasPrefix(name, "bus.consumer.")
	})
	kills, until := 0, time.Now().Add(*timeFlag)
	for ; kills < max(leastKills, len(points)) || time.Now().Before(until); kills++ {
		if kills%2 == 0 && kills/2 < len(points) || r.IntN(2) == 0 {
			point := points[kills/2%len(points)]
			times := 9
			if strings.HasPrefix(point, "worker.") {
				times = 2 // once for each of its two workers
			}
			child, _ := start(kills, 8, point+":"+string(rune('1'+r.IntN(times))))
			ended := make(chan error, 1)
			go func() { ended <- child.Wait() }()
			select {
			case err := <-ended:
				end(err, point)
			case <-time.After(patience):
				_ = child.Kill()
				t.Errorf("nothing passes the point %s", point)
			}
			continue
		}
		child, ready := start(kills, 8, "")
		select {
		case <-ready:
		case <-time.After(patience):
			t.Error("a child is not ready")
		}
		moment(ctx, r, 500*time.Millisecond)
		if r.IntN(3) == 0 {
			end(child.Signal(syscall.SIGSTOP), "stop")
			moment(ctx, r, 200*time.Millisecond)
			end(child.Signal(syscall.SIGCONT), "continue")
			moment(ctx, r, 100*time.Millisecond)
		}
		end(child.Kill(), "at any moment")
	}
	healed := time.Now()
	child, _ := start(kills, 0, "")
	took, found := oracle.Progress(healed, healTime, drained(t, pool, healed)...)
	end(child.Kill(), "the last one")

	db := postgres.New(pool)
	f := follower{log: db, reader: reader}
	if err := f.toHead(ctx); err != nil {
		t.Error(err)
	}
	judge(t, ctx, h, pool, db)
	stored := committed(t, pool)
	again, broker := oracle.Published(stored, nil, messages, 0.5)
	for _, f := range slices.Concat(found, broker, oracle.Effects("counted", stored, count, countedNow(t, pool)), chain(t, ctx, pool)) {
		t.Error(f)
	}
	t.Logf("%d kills, at %v and at any moment; drained within %v; %.2f of the messages came again", kills, points, took, again)
}

func count(model map[string]int64, e oracle.Event) { model[e.Stream.String()]++ }

// countedNow returns the read model of a crew.
func countedNow(t *testing.T, pool *pgxpool.Pool) map[string]int64 {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT stream, n FROM counted`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]int64{}
	for rows.Next() {
		var s string
		var n int64
		if err := rows.Scan(&s, &n); err != nil {
			t.Fatal(err)
		}
		out[s] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// lags are how far the workers of a crew are behind the head.
func lags(t *testing.T, pool *pgxpool.Pool) ([]oracle.Lag, error) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
SELECT name, (SELECT coalesce(max(position), 0) FROM annals.events) - min(position)
FROM annals.checkpoints
WHERE part = ''
   OR name LIKE 'projection/%'
GROUP BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []oracle.Lag
	for rows.Next() {
		l := oracle.Lag{At: time.Now()}
		if err := rows.Scan(&l.Name, &l.Lag); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// drained watches the workers until all are at the head, when nobody appends any
// more, or patience is over.
func drained(t *testing.T, pool *pgxpool.Pool, since time.Time) []oracle.Lag {
	t.Helper()
	return watched(t, pool, since, func(now []oracle.Lag) bool {
		return !slices.ContainsFunc(now, func(l oracle.Lag) bool { return l.Lag > 0 })
	})
}

// caughtUp watches the workers until each has been at the head, while others
// append, or patience is over.
func caughtUp(t *testing.T, pool *pgxpool.Pool, since time.Time) []oracle.Lag {
	t.Helper()
	caught := map[string]bool{}
	return watched(t, pool, since, func(now []oracle.Lag) bool {
		all := true
		for _, l := range now {
			caught[l.Name] = caught[l.Name] || l.Lag <= 0
			all = all && caught[l.Name]
		}
		return all
	})
}

func watched(t *testing.T, pool *pgxpool.Pool, since time.Time, enough func(now []oracle.Lag) bool) []oracle.Lag {
	t.Helper()
	var all []oracle.Lag
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < patience {
		now, err := lags(t, pool)
		all = append(all, now...)
		if err == nil && len(now) > 0 && enough(now) {
			break
		}
		<-tick.C
	}
	return all
}
