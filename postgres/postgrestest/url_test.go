package postgrestest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for _, conn := range []string{
		"postgres://u:p%40ss@127.0.0.1:5432/postgres?sslmode=disable",
		"postgresql://u:p%40ss@127.0.0.1:5432?sslmode=disable",
		"host=127.0.0.1 user=u password=p@ss dbname=postgres sslmode=disable",
	} {
		got, err := withDatabase(conn, "clone")
		if err != nil {
			t.Fatal(err)
		}
		c, err := pgx.ParseConfig(got)
		if err != nil || c.Database != "clone" || c.Password != "p@ss" || c.Host != "127.0.0.1" {
			t.Errorf("withDatabase(%s) = %s, %v", conn, got, err)
		}
	}
	_, err := withDatabase("postgres://u:secret\x7f@host/db", "clone")
	if err == nil || strings.Contains(err.Error(), "secret") || err.Error() != "connection string is no URL" {
		t.Errorf("withDatabase = %v, want an error without the password", err)
	}
}

// Clones that a killed process left behind go; those of others, and those that
// somebody is connected to, stay.
func TestStaleClonesAreDropped(t *testing.T) {
	t.Parallel()
	pool := Pool(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	suffix := "_" + strings.TrimPrefix(conn.Conn().Config().Database, "annals_test_")
	stale, foreign := "annals_test_1000000000"+suffix, "annals_testing"+suffix
	for _, name := range []string{stale, foreign} {
		if _, err := conn.Exec(t.Context(), `CREATE DATABASE `+name); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE `+foreign) }()
	if err := dropStale(t.Context(), conn.Conn()); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT datname FROM pg_database WHERE datname = ANY($1)`, []string{stale, foreign})
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !slices.Equal(left, []string{foreign}) {
		t.Errorf("left are %v, %v, want %s alone", left, err, foreign)
	}
}
