//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A server that is killed comes back where it was, with what was committed, also while
// a backend of the one before is still there.
func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	server, err := Postgres(t.Context(), hermetic(nil)) // durable
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept (n int)`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		busy := make(chan error, 1)
		conn, err := pgx.Connect(t.Context(), server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `INSERT INTO kept VALUES (1)`); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := conn.Exec(context.Background(), `SELECT sum(n) FROM generate_series(1, 5000000) n`)
			busy <- err
		}()
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if conn, err := pgx.Connect(t.Context(), server.URL); err == nil {
			_ = conn.Close(t.Context())
			t.Error("a server that was killed answers")
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-busy
	}
	if got := query(t, server.URL, `SELECT count(*)::text FROM kept`); got != "3" {
		t.Errorf("%s rows, want 3", got)
	}
}

// A session of a killed server may be there for ever: it waits for a lock that another one was
// killed with. Here it is stopped. Neither the next server nor the end waits for it.
func TestOrphansAreEnded(t *testing.T) {
	t.Parallel()
	server := run(t)
	stopped := func() {
		conn, err := pgx.Connect(t.Context(), server.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
		var pid int
		if err := conn.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(syscall.Kill(pid, syscall.SIGSTOP), server.Kill()); err != nil {
			t.Fatal(err)
		}
	}
	stopped()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing of it is left", func() bool { return left(t, server.Dir) == nil })
}

func TestClosedWhileItIsDown(t *testing.T) {
	t.Parallel()
	server := run(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if got := left(t, server.Dir); got != nil {
		t.Errorf("left: %q", got)
	}
	if err := server.Kill(); err == nil || !strings.HasPrefix(err.Error(), "kill postgres: ") {
		t.Errorf("Kill = %v, want an error: it is gone", err)
	}
	if err := server.Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "start postgres again: ") {
		t.Errorf("Start = %v, want an error: it is gone", err)
	}
}

func TestOtherServersAreLeftAlone(t *testing.T) {
	t.Parallel()
	server, err := Postgres(t.Context(), hermetic(map[string]string{"DATABASE_URL": "postgres://u@example.invalid/db"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{server.Kill(), server.Start(t.Context())} {
		if err == nil || err.Error() != "the server was not started here" {
			t.Errorf("got %v, want an error", err)
		}
	}
}
