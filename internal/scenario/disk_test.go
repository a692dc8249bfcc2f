package scenario_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// failDisk lets a flush of a backend that appends fail with EIO, if strace is on
// the machine and may trace. Postgres panics then and recovers, and what the
// backend was about to commit may be stored.
func failDisk(t *testing.T, ctx context.Context, pool *pgxpool.Pool) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Log("no disk fails: there is no strace on this machine")
		return
	}
	for range 20 {
		var pid int
		if !within(ctx, func() bool {
			return pool.QueryRow(ctx, `
SELECT a.pid
FROM pg_stat_activity a
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND a.query LIKE '%append%'
ORDER BY a.state_change DESC
LIMIT 1`).Scan(&pid) == nil
		}) {
			break
		}
		bound, cancel := context.WithTimeout(ctx, 5*time.Second)
		out, err := exec.CommandContext(bound, strace, "-qq", "-p", fmt.Sprint(pid), "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=1").CombinedOutput()
		cancel()
		if strings.Contains(string(out), "EIO") {
			t.Logf("the disk failed: %s", strings.TrimSpace(string(out)))
			return
		}
		t.Logf("the disk did not fail: %v: %s", err, out)
		if strings.Contains(string(out), "not permitted") {
			return // to trace anything
		}
	}
	if ctx.Err() == nil {
		t.Error("the disk has not failed: no backend has flushed while it was traced")
	}
}

// within waits until it is so, and reports whether it was before ctx ended.
func within(ctx context.Context, so func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
