//go:build unix

package scenario_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

const (
	callTimeout = time.Second
	// lateCall is when a call has not returned by its deadline: with room for a
	// machine that is busy, and still before the fault is over.
	lateCall = 2500 * time.Millisecond
	faultFor = 3500 * time.Millisecond
)

// The network, or the server, stops to answer without ending a connection, or is
// very slow, for longer than a call may take. Every call returns by its
// deadline, and after each fault all is as before within 15 s.
func TestFaultHalfOpen(t *testing.T) {
	t.Parallel()
	server, err := devenv.Postgres(t.Context(), devenv.WithOwnServer()) // with flushes, which can be slow
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	behind, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	network := newLine(t, behind.Host)
	behind.Host = network.addr()
	behind.RawQuery += "&connect_timeout=3"

	pool, s := observe(t, server.URL), seed(t)
	ctx := bounded(t, *timeFlag+time.Minute)
	if _, err := postgres.Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	run(t, pool, crewTables)
	c := startCrew(t, pool, crewArgs{URL: behind.String(), Seed: s, Writers: 4, Streams: "a", Relay: true, Lease: worker.DefaultLease, CallTimeout: callTimeout})

	faults := []struct {
		name        string
		begin, heal func()
	}{
		{"a black hole", func() { network.setRate(0) }, func() { network.setRate(unlimited) }},
		{"a slow line", func() { network.setRate(1000) }, func() { network.setRate(unlimited) }},
		{"connections whose end is told late", func() { network.lose(faultFor) }, func() {}},
		{"a stopped server", func() { signalAll(t, server, syscall.SIGSTOP) }, func() { signalAll(t, server, syscall.SIGCONT) }},
		{"slow flushes", nil, nil},
	}
	faults[4].begin, faults[4].heal = slowFlushes(t, ctx, server, pool)
	began := time.Now()
	for i := 0; i < len(faults) || time.Since(began) < *timeFlag; i++ {
		fault := faults[i%len(faults)]
		fault.begin()
		<-time.After(faultFor)
		fault.heal()
		healed := time.Now()
		before := c.history.Counts().Acked
		eventually(t, "appends are acknowledged again after "+fault.name, func() bool { return c.history.Counts().Acked >= before+10 })
		at := append([]oracle.Lag{{Name: "writers", At: time.Now()}}, caughtUp(t, pool, healed)...)
		took, found := oracle.Progress(healed, healTime, at...)
		for _, f := range found {
			t.Errorf("after %s: %v", fault.name, f)
			sessions(t, pool)
		}
		t.Logf("after %s all is as before within %v", fault.name, took.Round(time.Millisecond))
	}
	c.finish(t, ctx, pool, time.Now(), server.URL)
}

// sessions logs what the sessions of the server are at.
func sessions(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
SELECT format('%s %s/%s %s for %s: %s', pid, wait_event_type, wait_event, state, clock_timestamp() - state_change, left(query, 80))
FROM pg_stat_activity
WHERE backend_type = 'client backend'
ORDER BY state_change`)
	if err != nil {
		t.Error(err)
		return
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	t.Logf("sessions, %v:\n%s", err, strings.Join(lines, "\n"))
}

// signalAll sends a signal to every process of a server.
func signalAll(t *testing.T, server *devenv.Server, s syscall.Signal) {
	t.Helper()
	for _, pid := range serverPIDs(t, server) {
		if err := syscall.Kill(pid, s); err != nil && err != syscall.ESRCH {
			t.Errorf("signal %d: %v", pid, err)
		}
	}
}

// serverPIDs are those of the postmaster and of its children.
func serverPIDs(t *testing.T, server *devenv.Server) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(server.Dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{postmaster}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name before may have any character
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != postmaster {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// slowFlushes makes every flush of the log of the server take 1.5 s longer, by strace.
// Where there is none, or it may not trace, commits wait for 100 ms, the most that
// Postgres can be told to.
func slowFlushes(t *testing.T, ctx context.Context, server *devenv.Server, pool *pgxpool.Pool) (begin, heal func()) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.CommandContext(ctx, strace, "-qq", "-e", "trace=none", "true").Run()
	}
	if err != nil {
		t.Logf("commits are delayed by 100 ms, not flushes by 1.5 s: strace: %v", err)
		set := func(delay string) func() {
			return func() {
				run(t, pool, `ALTER SYSTEM SET commit_siblings = 0`, `ALTER SYSTEM SET commit_delay = `+delay, `SELECT pg_reload_conf()`)
			}
		}
		return set("100000"), set("0")
	}
	var tracer *exec.Cmd
	return func() {
			args := []string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=1500000"}
			for _, pid := range serverPIDs(t, server) {
				args = append(args, "-p", strconv.Itoa(pid))
			}
			tracer = exec.Command(strace, args...)
			if err := tracer.Start(); err != nil {
				t.Fatal(err)
			}
		}, func() {
			_ = tracer.Process.Signal(syscall.SIGINT) // it lets go of them
			_ = tracer.Wait()
		}
}
