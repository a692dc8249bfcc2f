//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// closed closes the server when the test ends.
func closed(t *testing.T, server *Server, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if got := left(t, server.Dir); got != nil {
			t.Errorf("left after Close: %q", got)
		}
	})
	return server
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestStandby(t *testing.T) {
	t.Parallel()
	primary := run(t)
	standby, err := Postgres(t.Context(), hermetic(nil), WithoutFsync(), WithPrimary(primary.URL))
	closed(t, standby, err)
	if got := query(t, standby.URL, `SELECT pg_is_in_recovery()::text`); got != "true" {
		t.Errorf("in recovery: %s, want true", got)
	}
	execute(t, primary.URL, `CREATE TABLE copied ()`)
	eventually(t, "the table is copied", func() bool {
		return query(t, standby.URL, `SELECT coalesce(to_regclass('copied')::text, '')`) == "copied"
	})
	query(t, standby.URL, `SELECT pg_promote()::text`)
	if got := query(t, standby.URL, `SELECT pg_is_in_recovery()::text`); got != "false" {
		t.Errorf("in recovery after it was promoted: %s, want false", got)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	original := run(t)
	execute(t, original.URL, `CREATE TABLE before ()`)
	copied, err := Postgres(t.Context(), hermetic(nil), WithoutFsync(), WithCopyOf(original.URL))
	closed(t, copied, err)
	execute(t, original.URL, `CREATE TABLE later ()`)
	const tables = `SELECT coalesce(to_regclass('before')::text, '') || coalesce(to_regclass('later')::text, '') || pg_is_in_recovery()::text`
	if got := query(t, copied.URL, tables); got != "beforefalse" {
		t.Errorf("the copy has %s, want what the original had, and no recovery", got)
	}
}

func TestStandbyOfNothing(t *testing.T) {
	t.Parallel()
	_, err := Postgres(t.Context(), hermetic(nil), WithPrimary("postgres://postgres@127.0.0.1:1/postgres"))
	if err == nil || !strings.HasPrefix(err.Error(), "start postgres: run pg_basebackup: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Postgres = %v, want the error of pg_basebackup", err)
	}
	_, err = Postgres(t.Context(), hermetic(nil), WithPrimary("port=x"))
	if err == nil || !strings.HasPrefix(err.Error(), "start postgres: read the URL of the server behind: ") {
		t.Errorf("Postgres = %v, want it to refuse the URL", err)
	}
}

func TestFaultPgBouncerStartsAndStops(t *testing.T) {
	t.Parallel()
	bouncer, err := PgBouncer(t.Context(), run(t).URL, map[string]string{"default_pool_size": "3"})
	closed(t, bouncer, err)
	conn, err := pgx.Connect(t.Context(), strings.Replace(bouncer.URL, "/postgres?", "/pgbouncer?", 1)+"&default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SHOW CONFIG")
	if err != nil {
		t.Fatal(err)
	}
	set, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return fmt.Sprint(values[:2]), err
	})
	if all := strings.Join(set, "\n"); err != nil || !strings.Contains(all, "[pool_mode transaction]") || !strings.Contains(all, "[default_pool_size 3]") {
		t.Errorf("settings %s, %v", all, err)
	}
}

func TestNoPgBouncer(t *testing.T) {
	t.Parallel()
	cfg := newConfig([]Option{hermetic(map[string]string{"PATH": "/nowhere"})})
	dir, err := findPgBouncer(cfg)
	if err == nil && !holds(dir, "pgbouncer") || err != nil && err.Error() != "no pgbouncer found: install it (Debian: apt-get install pgbouncer)" {
		t.Errorf("findPgBouncer = %q, %v", dir, err)
	}
}
