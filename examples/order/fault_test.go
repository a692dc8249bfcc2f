//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/internal/devenv"
)

// killed runs the import of the shipped file, and kills it without a warning
// when something holds in the database.
func (s *shop) killed(what string, holds func() bool) {
	s.t.Helper()
	p := start(s.t, []string{"DATABASE_URL=" + s.url}, s.args(shipped)...)
	p.until(what, holds)
	p.signal(syscall.SIGKILL, false)
	if code, status := p.wait(), p.cmd.ProcessState.Sys().(syscall.WaitStatus); code != -1 || status.Signal() != syscall.SIGKILL {
		s.t.Fatalf("%s: ended by itself: %s\n%s", what, p.cmd.ProcessState, p.stderr())
	}
	for _, path := range []string{s.report, s.rejected} {
		if _, err := os.Stat(path); err == nil {
			s.t.Errorf("%s: a run that was killed has left %s", what, filepath.Base(path))
		}
	}
}

func TestFaultKilledAgainAndAgain(t *testing.T) {
	t.Setenv("DATABASE_URL", "") // a server of its own, which writes commits to the disk
	server, err := devenv.Postgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	want := compute(t, shipped)
	s := newShop(t, server.URL)
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	number := func(sql string) (n int) {
		err := conn.QueryRow(t.Context(), sql).Scan(&n)
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "42P01" {
			return 0 // the table is not there yet
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	s.killed("the first migration has begun", func() bool {
		return number(`SELECT count(*) FROM pg_namespace WHERE nspname = 'annals'`) > 0
	})
	for _, threshold := range []int{1, 300, 1200, 2400} {
		threshold = max(threshold, number(`SELECT count(*) FROM annals.events`)+1)
		s.killed(fmt.Sprintf("%d events", threshold), func() bool {
			return number(`SELECT count(*) FROM annals.events`) >= threshold
		})
	}

	// The read model cannot go on, so that all is appended and relayed, and not projected.
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE sales.invoices IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	behind := number(`SELECT count(DISTINCT invoice) FROM sales.invoices`)
	if behind >= want.invoices() {
		t.Fatalf("%d invoices are projected already, want fewer than %d", behind, want.invoices())
	}
	relayed := `SELECT count(*) FROM annals.checkpoints WHERE name = '` + bus.NewRelay(nil, nil).Name() + `' AND position = (SELECT max(position) FROM annals.events)`
	s.killed("all is relayed", func() bool {
		return number(`SELECT count(*) FROM annals.events WHERE version = 1`) == want.invoices() &&
			number(relayed) == 3 // the log, and a topic of orders and one of returns
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	n := number(`SELECT count(*) FROM annals.events`)
	p := start(t, []string{"DATABASE_URL=" + s.url}, s.args(shipped, "--verify")...)
	code, out := p.wait(), outcome{stdout: p.stdout()}
	if code != 0 {
		t.Fatalf("after the kills: exit code %d\n%s%s", code, out.stdout, p.stderr())
	}
	if got := out.events(t); got.Appended != 0 || got.Relayed != n || got.Projected == 0 {
		t.Errorf("after the kills: %+v, want none appended, %d relayed and some projected", got, n)
	}
	expectVerified(t, out)
	if diff := cmp.Diff(want.report, read(t, s.report)); diff != "" {
		t.Errorf("report after the kills (-computed +imported):\n%s", diff)
	}
	if diff := cmp.Diff(want.rejected, places(t, s.rejected)); diff != "" {
		t.Errorf("rejected lines after the kills (-computed +imported):\n%s", diff)
	}
}

// manyOrders writes a file that takes much longer to import than a test.
func (s *shop) manyOrders() string {
	rows := make([]string, 60_000)
	for i := range rows {
		rows[i] = row(fmt.Sprint(i), 1, "1", "Malta")
	}
	return s.orderFile("orders.csv", rows...)
}

// startAlone runs a long import that brings its own database, in a directory
// that it returns, and waits until it is at work.
func startAlone(t *testing.T, s *shop) (p *program, servers string) {
	t.Helper()
	servers = openDir(t)
	p = start(t, []string{"TMPDIR=" + servers}, s.args(s.manyOrders())...)
	p.until("progress", func() bool { return strings.Contains(p.stderr(), "appended ") })
	if left(t, servers) == nil {
		t.Error("no trace of a running server: the search is broken")
	}
	return p, servers
}

func TestFaultKillLeavesNoServer(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	p, servers := startAlone(t, s)
	p.signal(syscall.SIGKILL, false)
	p.wait()
	eventually(t, "nothing of the server is left", func() bool { return left(t, servers) == nil })
}

func TestFaultInterrupt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		group  bool
	}{
		{"Ctrl-C", syscall.SIGINT, true},
		{"SIGTERM", syscall.SIGTERM, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "")
			p, servers := startAlone(t, s)
			p.signal(tt.signal, tt.group)
			if got := p.wait(); got != 130 {
				t.Errorf("exit code %d, want 130", got)
			}
			if got := left(t, servers); got != nil {
				t.Errorf("left when it ended: %q", got)
			}
			var said []string
			for line := range strings.Lines(p.stderr()) {
				if !strings.HasPrefix(line, "appended ") {
					said = append(said, line)
				}
			}
			if diff := cmp.Diff([]string{"order: interrupted; run it again to go on\n"}, said); diff != "" {
				t.Errorf("stderr beside the progress (-want +got):\n%s", diff)
			}
			if got := p.stdout(); got != "" {
				t.Errorf("stdout = %q, want none", got)
			}
			s.wantFiles("orders.csv")
		})
	}
}

// openDir returns a directory that every account can write to: the server may
// run as another user.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "annals-order-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// left returns the servers in a directory: their own directories and processes.
func left(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		b, _ := os.ReadFile(file) // a process that has gone since has none
		if strings.Contains(string(b), dir) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	if len(files) == 0 {
		out, err := exec.Command("ps", "-A", "-ww", "-o", "args=").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) {
				found = append(found, line)
			}
		}
	}
	return found
}
