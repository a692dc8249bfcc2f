package cli_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	steps, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	database := postgrestest.URL(t)
	var want strings.Builder
	for _, s := range steps {
		want.WriteString("schema fresh: applied " + s.Name + "\n")
	}
	check(t, run(t, database, []string{"migrate", "--schema", "fresh"}), result{Stdout: want.String()})
	check(t, run(t, database, []string{"migrate", "--schema", "fresh"}), result{Stdout: "schema fresh: up to date\n"})
	check(t, run(t, database, []string{"migrate", "--schema", "fresh", "--output", "json"}), result{Stdout: `{"schema":"fresh","applied":[]}` + "\n"})
	got := objects(t, run(t, database, []string{"migrate", "--schema", "fresh2", "--output", "json"}).Stdout)
	if applied, ok := got[0]["applied"].([]any); !ok || len(got) != 1 || len(applied) != len(steps) {
		t.Errorf("migrate --output json = %v, want %d steps in one object", got, len(steps))
	}
}

func TestMigratePrintTouchesNoDatabase(t *testing.T) {
	t.Parallel()
	steps, err := postgres.Migrations(postgres.WithSchema("orders"))
	if err != nil {
		t.Fatal(err)
	}
	const nowhere = "postgres://app@127.0.0.1:1/shop"
	for _, database := range []string{"", nowhere} {
		got := run(t, database, []string{"migrate", "--print", "--schema", "orders"})
		if got.Code != 0 || got.Stderr != "" {
			t.Fatalf("migrate --print = %+v", got)
		}
		for _, s := range steps {
			if !strings.Contains(got.Stdout, "-- step "+s.Name+"\n\n"+s.SQL) {
				t.Errorf("migrate --print lacks the SQL of %s", s.Name)
			}
		}
		for i, o := range objects(t, run(t, database, []string{"migrate", "--print", "--schema", "orders", "--output", "json"}).Stdout) {
			if o["name"] != steps[i].Name || o["sql"] != steps[i].SQL {
				t.Errorf("migrate --print --output json: %v is not %s", o["name"], steps[i].Name)
			}
		}
	}
}

func TestMigrateByTwoAtOnce(t *testing.T) {
	t.Parallel()
	database := postgrestest.URL(t)
	steps, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	results := make([]result, 4)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = run(t, database, []string{"migrate", "--schema", "raced"}) })
	}
	wg.Wait()
	var applied []string
	for _, r := range results {
		if r.Code != 0 || r.Stderr != "" {
			t.Errorf("migrate = %+v", r)
		}
		for line := range strings.Lines(r.Stdout) {
			if name, ok := strings.CutPrefix(line, "schema raced: applied "); ok {
				applied = append(applied, strings.TrimSpace(name))
			}
		}
	}
	slices.Sort(applied)
	var want []string
	for _, s := range steps {
		want = append(want, s.Name)
	}
	if diff := cmp.Diff(want, applied); diff != "" {
		t.Errorf("each step once (-want +got):\n%s", diff)
	}
}

func TestMigrateSaysWhatItAppliedBeforeItFailed(t *testing.T) {
	t.Parallel()
	database := postgrestest.URL(t)
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	// What the third step creates is there already.
	if _, err := conn.Exec(t.Context(), `
CREATE SCHEMA broken;
CREATE TABLE broken.checkpoints (name text)`); err != nil {
		t.Fatal(err)
	}
	got := run(t, database, []string{"migrate", "--schema", "broken"})
	want := `annals: migrate schema broken: 004_checkpoints: ERROR: relation "checkpoints" already exists (SQLSTATE 42P07)` + "\n"
	if got.Code != 1 || got.Stderr != want || !strings.HasPrefix(got.Stdout, "schema broken: applied 001_events\n") || strings.Contains(got.Stdout, "up to date") {
		t.Errorf("migrate = %+v, want %s", got, want)
	}
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	database := postgrestest.URL(t)
	steps, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	last := steps[len(steps)-1].Version
	for _, args := range [][]string{{"stream", "ls"}, {"stream", "show", "order-1"}, {"log"}, {"log", "--follow"}} {
		got := run(t, database, append(args, "--schema", "elsewhere"))
		want := "annals: check schema elsewhere: at version 0, want " + strconv.Itoa(last) + ", run annals migrate: schema is not migrated\n"
		check(t, got, result{Code: 1, Stderr: want})
	}
}

// withQuery returns the URL with another query part.
func withQuery(t *testing.T, database, key, value string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func TestMigratePrintForTools(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, format := range postgres.Formats {
		files, err := postgres.Scripts(format, postgres.WithSchema("orders"))
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"migrate", "--schema", "orders", "--format", string(format)}
		got := run(t, "", append(args, "--print"))
		for _, f := range files {
			if got.Code != 0 || !strings.Contains(got.Stdout, f.Text) {
				t.Errorf("migrate --print --format %s lacks %s", format, f.Name)
			}
		}
		sub := filepath.Join(dir, string(format))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		got = run(t, "", append(args, "--dir", sub))
		if names := column(t, got.Stdout); got.Code != 0 || len(names) != len(files) {
			t.Errorf("migrate --dir = %+v", got)
		}
		for _, f := range files {
			if text, err := os.ReadFile(filepath.Join(sub, f.Name)); err != nil || string(text) != f.Text {
				t.Errorf("%s: %v, or another text", f.Name, err)
			}
		}
		// Again: nothing to write. A file that was changed stays.
		check(t, run(t, "", append(args, "--dir", sub)), result{Stdout: "FILE\n"})
		changed := filepath.Join(sub, files[0].Name)
		if err := os.WriteFile(changed, []byte("-- mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, run(t, "", append(args, "--dir", sub)), result{Code: 1, Stdout: "FILE\n", Stderr: "annals: write migrations: " + changed + " is there with another text\n"})
	}
	got := run(t, "", []string{"migrate", "--format", "goose", "--output", "json", "--print"})
	if o := objects(t, got.Stdout); len(o) == 0 || o[0]["file"] != "001_events.sql" || !strings.HasPrefix(fmt.Sprint(o[0]["text"]), "-- +goose Up\n") {
		t.Errorf("migrate --print --format goose --output json = %+v", got)
	}
	check(t, run(t, "", []string{"migrate", "--format", "liquibase"}), result{Code: 2, Stderr: `annals: invalid argument "liquibase" for "--format" flag: want plain or goose or atlas or flyway` + "\n"})
}
