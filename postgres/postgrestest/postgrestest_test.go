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
