package cli_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	other, _ := database(t)
	for range 3 {
		appendTo(t, db, "order-1", placed(`{}`))
	}
	check(t, run(t, url, []string{"verify"}), result{0, "", "verified 3 events of 1 stream up to position 3, 0 checkpoints: all as it should be\n"})
	check(t, run(t, url, []string{"verify", "--elsewhere", other, "--output", "json"}), result{0, "", "verified 3 events of 1 stream up to position 3, 0 checkpoints: all as it should be\n"})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `UPDATE annals.events SET payload = '{"a":1}' WHERE position = 2`); err != nil {
		t.Fatal(err)
	}
	const failed = "annals: verify: 1 finding in 3 events of 1 stream up to position 3, 0 checkpoints\n"
	check(t, run(t, url, []string{"verify"}), result{1, "FAULT     STREAM OR READER  VERSION  POSITION  WHAT\nchecksum  order-1           2        2         the event is not what was appended\n", failed})
	check(t, run(t, url, []string{"verify", "--output", "json"}), result{1, `{"fault":"checksum","stream":"order-1","version":2,"position":2,"text":"the event is not what was appended"}` + "\n", failed})
	if _, err := conn.Exec(t.Context(), `INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'many', n::text, 2, gen_random_uuid(), 'x.y', 1, 'text/plain', '', '' FROM generate_series(1, 600) n`); err != nil {
		t.Fatal(err)
	}
	got := run(t, url, []string{"verify"})
	if got.Code != 1 || strings.Count(got.Stdout, "\n") != 1001 || !strings.HasPrefix(got.Stderr, "201 findings are not shown\nannals: verify: 1201 findings in ") {
		t.Errorf("Code %d, %d lines, %q", got.Code, strings.Count(got.Stdout, "\n"), got.Stderr)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	all, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	newest := fmt.Sprint(len(all))
	for _, c := range []struct {
		args []string
		want result
	}{
		{[]string{"verify", "all"}, result{2, "", "annals: verify: arguments: got 1, want none\n"}},
		{[]string{"verify", "--elsewhere", "postgres://app:se/cret@db/shop"}, result{2, "", "annals: connection string is ambiguous (it is not shown, because of its password), write @ / ? in user and password as %40 %2F %3F\n"}},
		{[]string{"verify", "--elsewhere", "nonsense"}, result{2, "", "annals: connection string cannot be read (it is not shown, because of its password), want postgres://user:password@host:port/database\n"}},
		{[]string{"verify", "--elsewhere", url, "--schema", "nobody"}, result{1, "", "annals: check schema nobody: at version 0, want " + newest + ", run annals migrate: schema is not migrated\n"}},
	} {
		check(t, run(t, url, c.args), c.want)
	}
}
