package postgrestest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

const table = `CREATE TABLE totals (cents bigint NOT NULL)`

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	first, second := postgrestest.Pool(t, table), postgrestest.Pool(t, table)
	_, err := postgres.New(first).Append(t.Context(), event.Stream{Category: "order", ID: "1"}, eventstore.None(),
		event.Raw{Name: "order.placed", Schema: 1, ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Exec(t.Context(), `INSERT INTO totals VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	var events, totals int
	if err := second.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM annals.events), (SELECT count(*) FROM totals)`).Scan(&events, &totals); err != nil || events+totals != 0 {
		t.Errorf("the other database has %d events and %d totals, %v", events, totals, err)
	}
}

func TestTheDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	var name string
	t.Run("a test that ends while it is connected", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), postgrestest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		name = conn.Config().Database
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var exists bool
	if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil || exists || name == "" {
		t.Errorf("database %q still exists: %v, %v", name, exists, err)
	}
}

// A clone that a killed process left behind goes when the next template is built.
func TestStaleClonesAreDropped(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	const stale, foreign = "annals_test_1000000000_stale", "annals_testing"
	for _, name := range []string{stale, foreign} {
		if _, err := pool.Exec(t.Context(), `CREATE DATABASE `+name); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _, _ = pool.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE `+foreign) }()
	postgrestest.Pool(t, `CREATE TABLE a_new_template (n int)`)
	rows, err := pool.Query(t.Context(), `SELECT datname FROM pg_database WHERE datname = ANY($1)`, []string{stale, foreign})
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(left) != 1 || left[0] != foreign {
		t.Errorf("left are %v, %v, want %s alone", left, err, foreign)
	}
}
