package postgrestest

import (
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
