package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// result is what a command that has ended left behind.
type result struct {
	Code           int
	Stdout, Stderr string
}

// run executes annals in process, in an environment with only DATABASE_URL,
// which is url unless that is empty.
func run(t *testing.T, url string, args []string, opts ...cli.Option) result {
	t.Helper()
	env := map[string]string{}
	if url != "" {
		env["DATABASE_URL"] = url
	}
	var stdout, stderr bytes.Buffer
	cmd := cli.New(append([]cli.Option{cli.WithEnv(env)}, opts...)...)
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	code := cli.Execute(t.Context(), cmd)
	return result{code, stdout.String(), stderr.String()}
}

func check(t *testing.T, got, want result) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// database returns the URL of a migrated database, and its store.
func database(t *testing.T) (string, *postgres.DB) {
	t.Helper()
	url := postgrestest.URL(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return url, postgres.New(pool)
}

func appendTo(t *testing.T, db *postgres.DB, stream string, events ...event.Raw) {
	t.Helper()
	s, err := event.ParseStream(stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), s, eventstore.Any(), events...); err != nil {
		t.Fatal(err)
	}
}

func placed(payload string) event.Raw {
	return event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(payload)}
}

// objects reads the output of --output json.
func objects(t *testing.T, stdout string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(stdout) {
		var o map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, o)
	}
	return out
}

// column returns the first words of the lines below the header.
func column(t *testing.T, stdout string) []string {
	t.Helper()
	var out []string
	for i, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		if fields := strings.Fields(line); i > 0 && len(fields) > 0 {
			out = append(out, fields[0])
		}
	}
	return out
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := run(t, "", []string{"version"}, cli.WithVersion("v1.4.0"))
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "annals v1.4.0, built with go1.") {
		t.Errorf("version = %+v", got)
	}
	got = run(t, "", []string{"version", "--output", "json"})
	if o := objects(t, got.Stdout); got.Code != 0 || len(o) != 1 || o[0]["version"] == "" || o[0]["go"] == "" {
		t.Errorf("version = %+v", got)
	}
}

func TestModuleVersion(t *testing.T) {
	t.Parallel()
	service := &debug.BuildInfo{
		Main: debug.Module{Path: "example.com/shop", Version: "v9.9.9"},
		Deps: []*debug.Module{{Path: "github.com/annals-go/annals", Version: "v0.2.0"}},
	}
	if got := cli.ModuleVersion(service); got != "v0.2.0" {
		t.Errorf("version = %q, want v0.2.0", got)
	}
	if got := cli.ModuleVersion(&debug.BuildInfo{Main: debug.Module{Path: "github.com/annals-go/annals", Version: "v0.3.0"}}); got != "v0.3.0" {
		t.Errorf("version = %q, want v0.3.0", got)
	}
	if got := cli.ModuleVersion(nil); got != "(unknown)" {
		t.Errorf("version = %q, want (unknown)", got)
	}
}

func TestGroupsPrintHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"stream"}} {
		got := run(t, "postgres://app:canary@db/shop", args)
		if got.Code != 0 || !strings.Contains(got.Stdout, "Available Commands:") || strings.Contains(got.Stdout, "canary") {
			t.Errorf("%q = %+v, want help", args, got)
		}
	}
}

func TestCompletionComesWithCobra(t *testing.T) {
	t.Parallel()
	if got := run(t, "", []string{"completion", "bash"}); got.Code != 0 || !strings.Contains(got.Stdout, "annals") {
		t.Errorf("completion = %+v", got)
	}
	if got := run(t, "", []string{"__complete", "log", "--output", ""}); !strings.HasPrefix(got.Stdout, "table\njson\n") {
		t.Errorf("completion of --output = %+v", got)
	}
}

func TestWithPoolReplacesTheFlag(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	opened := 0
	opt := cli.WithPool(func(context.Context) (*pgxpool.Pool, error) {
		opened++
		return pool, nil
	})
	check(t, run(t, "", []string{"stream", "ls", "--output", "json"}, opt), result{})
	check(t, run(t, "", []string{"stream", "ls", "--database-url", "postgres://x"}, opt),
		result{Code: 2, Stderr: "annals: unknown flag: --database-url\n"})
	if opened != 1 {
		t.Errorf("pool was opened %d times, want once", opened)
	}
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the caller's pool: %v, want it left open", err)
	}
}

func TestWithSchema(t *testing.T) {
	t.Parallel()
	url, _ := database(t)
	got := run(t, url, []string{"migrate"}, cli.WithSchema("orders"))
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "schema orders: applied 001_events\n") {
		t.Errorf("migrate = %+v", got)
	}
	defer func() {
		want := `cli: option WithSchema: "Orders": want lower-case letters, digits and underscores, at most 40`
		if p := recover(); p != want {
			t.Errorf("New panicked with %v, want %s", p, want)
		}
	}()
	cli.New(cli.WithSchema("Orders"))
}
