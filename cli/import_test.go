package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// runWith is run with a standard input.
func runWith(t *testing.T, url, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": url}))
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	code := cli.Execute(t.Context(), cmd)
	return result{code, stdout.String(), stderr.String()}
}

// source returns the URL of a database with three streams.
func source(t *testing.T) string {
	t.Helper()
	url, db := database(t)
	appendTo(t, db, "order-1", placed(`{"n":1}`), placed("{\"s\":\"\u202e\"}"))
	appendTo(t, db, "order-2", placed("\x00\xff"))
	paid := placed("{}")
	paid.Name = "payment.paid"
	appendTo(t, db, "payment-1", paid)
	appendTo(t, db, "order-1", placed(`{"n":9007199254740993}`))
	return url
}

func log(t *testing.T, url string) []map[string]any {
	t.Helper()
	return objects(t, run(t, url, []string{"log", "--output", "json"}).Stdout)
}

// values are those of some keys, in one text.
func values(o map[string]any, keys ...string) string {
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprint(o[k]))
	}
	return strings.Join(out, " ")
}

func TestExportThenImport(t *testing.T) {
	t.Parallel()
	from := source(t)
	want := log(t, from)
	for _, name := range []string{"events.ndjson", "events.ndjson.gz"} {
		path := filepath.Join(t.TempDir(), name)
		got := run(t, from, []string{"export", path})
		if fields := strings.Fields(got.Stdout); got.Code != 0 || got.Stderr != "" || len(fields) != 13 || fields[7] != "5" || fields[8] != "5" || fields[12] != path {
			t.Fatalf("export = %+v", got)
		}
		to, _ := database(t)
		got = run(t, to, []string{"import", path, "--output", "json"})
		o := objects(t, got.Stdout)
		if got.Code != 0 || got.Stderr != "" || len(o) != 1 || values(o[0], "events", "streams", "stored", "skipped", "before") != "5 3 5 0 0" {
			t.Fatalf("import = %+v", got)
		}
		if diff := cmp.Diff(want, log(t, to)); diff != "" {
			t.Error(diff)
		}
		got = run(t, to, []string{"import", path})
		if fields := strings.Fields(got.Stdout); got.Code != 0 || got.Stderr != "the file was imported before, nothing was done\n" || len(fields) != 14 || strings.Join(fields[7:12], " ") != "5 3 0 0 5" {
			t.Errorf("import again = %+v", got)
		}
	}
}

func TestExportToStandardOutput(t *testing.T) {
	t.Parallel()
	from := source(t)
	to, _ := database(t)
	out := run(t, from, []string{"export"})
	if out.Code != 0 || strings.Count(out.Stdout, "\n") != 7 || strings.ContainsAny(out.Stdout, "\x00\x1b\u202e") {
		t.Fatalf("export = %+v", out)
	}
	got := runWith(t, to, out.Stdout, "import", "-")
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "EVENTS  STREAMS  STORED  SKIPPED  BEFORE  SHA256") {
		t.Fatalf("import = %+v", got)
	}
	if diff := cmp.Diff(log(t, from), log(t, to)); diff != "" {
		t.Error(diff)
	}
	check(t, runWith(t, to, out.Stdout, "import", "-", "--max-bytes", "1000"), result{Code: 1, Stderr: "annals: copy standard input: it is larger than --max-bytes 1000\n"})
	for _, err := range []error{syscall.EPIPE} {
		cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": from}))
		cmd.SetArgs([]string{"export"})
		cmd.SetOut(closedPipe{err})
		if code := cli.Execute(t.Context(), cmd); code != 0 {
			t.Errorf("export into a closed pipe: exit code %d, want 0", code)
		}
	}
}

func TestExportSelects(t *testing.T) {
	t.Parallel()
	from := source(t)
	for args, want := range map[string]string{
		"":                                  "1 2 3 4 5",
		"--after 2":                         "3 4 5",
		"--to 3":                            "1 2 3",
		"--after 1 --to 3":                  "2 3",
		"--after 99":                        "",
		"--category payment":                "4",
		"--category order,payment --to 4":   "1 2 3 4",
		"--name order.placed":               "1 2 3 5",
		"--stream order-1":                  "1 2 5",
		"--stream order-7":                  "",
		"--stream order-1 --name no.events": "",
	} {
		got := run(t, from, append([]string{"export"}, strings.Fields(args)...))
		var positions []string
		for _, o := range objects(t, got.Stdout) {
			if p, ok := o["position"]; ok {
				positions = append(positions, fmt.Sprint(p))
			}
		}
		if got.Code != 0 || strings.Join(positions, " ") != want {
			t.Errorf("export %s: %d %s, positions %v, want %s", args, got.Code, got.Stderr, positions, want)
		}
	}
	// What was exported in two parts is imported in two.
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.ndjson"), filepath.Join(dir, "second.ndjson")
	run(t, from, []string{"export", first, "--to", "3"})
	run(t, from, []string{"export", second, "--after", "3"})
	to, _ := database(t)
	run(t, to, []string{"import", first})
	check(t, run(t, to, []string{"import", second}), result{Code: 1, Stderr: "annals: import: stream order-1 is at version 2, the file goes on at 3 (1 in all): nothing was stored: allow continued streams (--continue)\n"})
	if got := run(t, to, []string{"import", second, "--continue"}); got.Code != 0 {
		t.Errorf("import --continue = %+v", got)
	}
	whole := filepath.Join(dir, "whole.ndjson")
	run(t, from, []string{"export", whole})
	got := run(t, to, []string{"import", whole, "--skip-stored", "--times", "new", "--output", "json"})
	if o := objects(t, got.Stdout); got.Code != 0 || values(o[0], "stored", "skipped") != "0 5" {
		t.Errorf("import --skip-stored = %+v", got)
	}
	if diff := cmp.Diff(log(t, from), log(t, to)); diff != "" {
		t.Error(diff)
	}
}

func TestExportLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	from := source(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "events.ndjson")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, from, []string{"export", path}), result{Code: 1, Stderr: "annals: create file " + path + ": it exists, remove it or take another name\n"})
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
	nowhere := filepath.Join(dir, "none", "x")
	check(t, run(t, from, []string{"export", nowhere}), result{Code: 1, Stderr: "annals: create file " + nowhere + ": no such file or directory\n"})

	// An open append holds the readers up.
	pool, err := pgxpool.New(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	const insert = `INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
VALUES ('order', $1, 1, gen_random_uuid(), 'order.placed', 1, 'text/plain', '', '{}')`
	if _, err := tx.Exec(t.Context(), insert, "open"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), insert, "behind"); err != nil {
		t.Fatal(err)
	}
	got := run(t, from, []string{"export", filepath.Join(dir, "held.ndjson"), "--timeout", "300ms"})
	want := "annals: export log: an open append holds the readers of the log up: it stands at position 5 for 300ms, the newest is 7\n"
	check(t, got, result{Code: 1, Stderr: want})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestImportRefusesHostileFiles(t *testing.T) {
	t.Parallel()
	from := source(t)
	whole := run(t, from, []string{"export"}).Stdout
	to, _ := database(t)
	lines := strings.SplitAfter(whole, "\n")
	for name, c := range map[string]struct{ file, want string }{
		"reordered":     {lines[0] + lines[2] + lines[1] + strings.Join(lines[3:], ""), "line 3: order-1: position 1 follows 2, want them to grow: lines were reordered or repeated: export again"},
		"truncated":     {strings.Join(lines[:4], ""), "line 5: the file ends without the trailer: it was cut or changed on the way, export or copy it again"},
		"cut in a line": {whole[:len(whole)-100], "line 7: the file ends within the line: it was cut or changed on the way, export or copy it again"},
		"a line less":   {strings.Join(lines[:5], "") + lines[6], "line 6: the trailer says 5 events, the file has 4: it was cut or changed on the way, export or copy it again"},
		"an escape":     {strings.Replace(whole, `"schema"`, `"\u001b[2J\u202e"`, 1), `line 2: order-1: unknown key "\x1b[2J\u202e"`},
	} {
		path := filepath.Join(t.TempDir(), "events.ndjson")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"import", path}, {"import", path, "--check"}} {
			if got, want := run(t, to, args), "annals: check file: file refused: "+c.want+"\n"; got.Code != 1 || got.Stderr != want || got.Stdout != "" {
				t.Errorf("%s: %+v\nwant %s", name, got, want)
			}
		}
	}
	if got := log(t, to); len(got) > 0 {
		t.Errorf("something was stored: %v", got)
	}
	missing := filepath.Join(t.TempDir(), "a\x1b[2J")
	check(t, run(t, to, []string{"import", missing}), result{Code: 1, Stderr: "annals: check file: " + strings.ReplaceAll(missing, "\x1b", `\x1b`) + ": no such file or directory\n"})
}

func TestImportCheckTouchesNoDatabase(t *testing.T) {
	t.Parallel()
	from := source(t)
	path := filepath.Join(t.TempDir(), "events.ndjson")
	run(t, from, []string{"export", path})
	got := run(t, "postgres://app@127.0.0.1:1/shop", []string{"import", "--check", path, "--output", "json"})
	o := objects(t, got.Stdout)
	if got.Code != 0 || got.Stderr != "" || len(o) != 1 || values(o[0], "events", "streams") != "5 3" || o[0]["stored"] != nil || len(fmt.Sprint(o[0]["store"])) != 36 {
		t.Errorf("import --check = %+v", got)
	}
}

// An import that is interrupted goes on when it is given the file again.
func TestImportIsInterrupted(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', (n % 100)::text, 1 + n / 100, gen_random_uuid(), 'order.placed', 1, 'application/json', '{}', '{}'
FROM generate_series(0, 19999) n`); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "events.ndjson.gz")
	if got := run(t, url, []string{"export", path}); got.Code != 0 {
		t.Fatal(got)
	}
	to, db := database(t)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		defer interrupt()
		for ctx.Err() == nil {
			if page, err := db.Streams(ctx, postgres.StreamsQuery{Limit: 1}); err != nil || len(page) > 0 {
				return
			}
		}
	}()
	var stderr bytes.Buffer
	cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": to}), cli.WithWidth(80))
	cmd.SetArgs([]string{"import", path})
	cmd.SetOut(&stderr)
	cmd.SetErr(&stderr)
	if code := cli.Execute(ctx, cmd); code == 1 && !strings.Contains(stderr.String(), "context canceled") {
		t.Errorf("the import ended with %q", &stderr)
	}
	got := run(t, to, []string{"import", path, "--output", "json"})
	if o := objects(t, got.Stdout); got.Code != 0 || fmt.Sprint(o[0]["events"]) != "20000" || fmt.Sprint(o[0]["before"]) == "0" {
		t.Errorf("import again = %+v", got)
	}
}

func TestProgressText(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"import: [###############...............] 50%, 500 of 1000 events, 50/s, 10s left": cli.ProgressText("import", "events", 500, 1000, 10*time.Second, true),
		"import: 50%, 500 of 1000 events, 50/s, 10s left":                                  cli.ProgressText("import", "events", 500, 1000, 10*time.Second, false),
		"import: 0%, 0 of 1000 events, 0/s, ? left":                                        cli.ProgressText("import", "events", 0, 1000, 10*time.Second, false),
		"check: 500 events, 50/s":                                                          cli.ProgressText("check", "events", 500, 0, 10*time.Second, true),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWrongUseOfImportAndExport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"import"}, `import: arguments: got 0, want one FILE, such as events.ndjson.gz, or - for standard input`},
		{[]string{"import", "a", "--times", "old"}, `invalid argument "old" for "--times" flag: want keep or new`},
		{[]string{"import", "a", "--max-bytes", "0"}, `invalid argument "0" for "--max-bytes" flag: want a whole number from 1 to 9223372036854775807`},
		{[]string{"export", "a", "b"}, `export: arguments: got 2, want at most one FILE, such as events.ndjson.gz`},
		{[]string{"export", "--stream", "order-1", "--category", "order"}, `--stream and --category: want one of them`},
		{[]string{"export", "--to", "0"}, `invalid argument "0" for "--to" flag: want a whole number from 1 to 281474976710655`},
	} {
		check(t, run(t, "", c.args), result{Code: 2, Stderr: "annals: " + c.want + "\n"})
	}
}
