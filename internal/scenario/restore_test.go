package scenario_test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/worker"
)

// program returns a program of the newest Postgres there is: the one that the
// servers of the tests are.
func program(t *testing.T, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: install the client programs of Postgres", err)
	}
	return path
}

// dump returns a dump of the database as SQL.
func dump(t *testing.T, server string, args ...string) []byte {
	t.Helper()
	var failure strings.Builder
	cmd := exec.CommandContext(t.Context(), program(t, "pg_dump"), append(args, "--dbname="+server)...)
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, failure.String())
	}
	return out
}

// load runs a dump.
func load(t *testing.T, server string, sql []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+server)
	cmd.Stdin, cmd.Env = strings.NewReader(string(sql)), append(os.Environ(), "PGOPTIONS=-c client_min_messages=warning")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
}

// fresh starts an empty server with the password of another one.
func fresh(t *testing.T, like *devenv.Server) *devenv.Server {
	t.Helper()
	server := startServer(t, replicating...)
	was, err := url.Parse(like.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := was.User.Password()
	run(t, connect(t, server.URL, 1), fmt.Sprintf(`ALTER ROLE postgres PASSWORD '%s'`, password))
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = was.User
	return &devenv.Server{URL: u.String()} // startServer closes it
}

// replace has another server take the place of the present one.
func (w *world) replace(with *devenv.Server) {
	w.Helper()
	w.address.to("")
	if err := w.server.Close(); err != nil {
		w.Error(err)
	}
	w.server = with
}

// Three ways to bring back a backup. First one that is as new as the store: nobody
// notices, and new events reach everybody. Then one that is older.
func TestFaultRestore(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, w *world) (restore func() *devenv.Server){
		// The files as they were, on the same timeline: the system says that it is
		// the same server.
		"a copy of the files": func(t *testing.T, w *world) func() *devenv.Server {
			t.Helper()
			copied := startServer(t, append(replicating, devenv.WithCopyOf(w.server.URL))...)
			return func() *devenv.Server { return copied }
		},
		// Recovery that ends at a point in time begins a timeline: a standby that
		// has got no further.
		"a point in time": func(t *testing.T, w *world) func() *devenv.Server {
			t.Helper()
			standby := startServer(t, append(replicating, devenv.WithPrimary(w.server.URL))...)
			pool := connect(t, standby.URL, 1)
			replayed(t, connect(t, w.server.URL, 1), pool)
			run(t, pool, `ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`)
			eventually(t, "the standby has stopped to follow", func() bool {
				var n int
				err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&n)
				return err == nil && n == 0
			})
			return func() *devenv.Server {
				run(t, pool, `SELECT pg_promote()`)
				return standby
			}
		},
		"a dump, into a fresh server": func(t *testing.T, w *world) func() *devenv.Server {
			t.Helper()
			sql := dump(t, w.server.URL)
			return func() *devenv.Server {
				server := fresh(t, w.server)
				load(t, server.URL, sql)
				return server
			}
		},
	}
	for name, backup := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, startServer(t, replicating...))
			w.start()
			w.append(60)
			w.caughtUp("at first")

			restore := backup(t, w)
			w.replace(restore())
			w.append(30)
			w.reached()
			w.append(20)
			w.caughtUp("after a restore that lost nothing")

			restore = backup(t, w)
			kept := w.stored()
			w.append(60)
			w.caughtUp("before the restore")
			old := w.stored()
			w.replace(restore())
			if now := w.stored(); !slices.Equal(now, kept) {
				t.Errorf("%d events are restored, want %d", len(now), len(kept))
			}
			w.append(70)
			w.reached()
			w.setBack(old, kept, func() {
				if err := worker.Rewind(t.Context(), w.joined, checkpoint(elsewhere), 0, false); err != nil {
					t.Fatal(err)
				}
				run(t, w.models, `TRUNCATE elsewhere`)
			})
		})
	}
}

// Only the read models are restored. Their marks come back with them, and they go
// on from there: every event has its effect once.
func TestFaultRestoreOfReadModels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, startServer(t, replicating...))
	w.start()
	w.append(60)
	w.caughtUp("at first")
	models := w.models.Config().ConnString()
	sql := dump(t, models, "--clean", "--if-exists")
	w.append(60)
	w.caughtUp("before the restore")
	w.stop(elsewhere, fed)
	load(t, models, sql)
	w.models.Reset() // its connections remember the tables that were dropped
	if n := len(w.applied(elsewhere)); n == 0 || n >= len(w.stored()) {
		t.Errorf("%d of %d events after the restore: the scenario proves nothing", n, len(w.stored()))
	}
	w.start(elsewhere, fed)
	w.caughtUp("after the restore")
	w.append(20)
	w.caughtUp("in the end")
	w.judged(nil)
}
