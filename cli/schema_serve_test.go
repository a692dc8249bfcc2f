package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// serving executes schema serve on a free port. It returns the first line of its output, and
// what ends it.
func serving(t *testing.T, args []string, opts ...cli.Option) (line string, end func() result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	out, w := io.Pipe()
	var stderr bytes.Buffer
	cmd := cli.New(append([]cli.Option{env()}, opts...)...)
	cmd.SetArgs(append([]string{"schema", "serve", "--listen", "localhost:0"}, args...))
	cmd.SetOut(w)
	cmd.SetErr(&stderr)
	code := make(chan int, 1)
	go func() {
		code <- cli.Execute(ctx, cmd)
		_ = w.Close()
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("schema serve %q: %v: exit code %d: %s", args, err, <-code, stderr.String())
	}
	return strings.TrimSuffix(line, "\n"), func() result {
		t.Helper()
		cancel()
		rest, _ := io.ReadAll(lines)
		return result{<-code, string(rest), stderr.String()}
	}
}

// schemaClient returns a client that leaves no connection behind.
func schemaClient(t *testing.T, url string) *avro.Client {
	t.Helper()
	c, err := avro.NewClient(sr.URLs(url), sr.HTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var servedPlaced = avro.Schema{Text: `{"type":"record","name":"order.Placed","fields":[{"name":"cents","type":"long"}]}`}

const servedInMemory = "a schema registry for development, not for production: no authorization, no TLS, open to this machine; schemas are kept in memory until it ends\n"

// It answers until it is interrupted, and leaves neither its port nor a goroutine.
func TestSchemaServe(t *testing.T) { //nolint:paralleltest // it looks for goroutines that are left
	url, end := serving(t, nil)
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("URL = %q, want one of this machine", url)
	}
	c := schemaClient(t, url)
	if id, err := c.Register(t.Context(), "order.Placed", servedPlaced); err != nil || id != 1 {
		t.Errorf("Register = %d, %v", id, err)
	}
	text := avro.Schema{Text: strings.Replace(servedPlaced.Text, "long", "string", 1)}
	if _, err := c.Register(t.Context(), "order.Placed", text); !errors.Is(err, avro.ErrIncompatible) {
		t.Errorf("Register of another type: %v", err)
	}
	// The URL is taken: the error names it, and what to do.
	address := strings.TrimPrefix(url, "http://")
	got := run(t, "", []string{"schema", "serve", "--listen", address})
	check(t, got, result{Code: 1, Stderr: "annals: serve schemas: " + address + " is in use: end what listens there, or give another address with --listen (port 0 takes any that is free)\n"})

	check(t, end(), result{Stderr: servedInMemory})
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("the port is open still")
	}
	stacks := make([]byte, 1<<20)
	if n := runtime.Stack(stacks, true); strings.Contains(string(stacks[:n]), "registry.(*Registry).Serve") {
		t.Errorf("a goroutine is left:\n%s", stacks[:n])
	}
}

func TestSchemaServeJSON(t *testing.T) {
	t.Parallel()
	line, end := serving(t, []string{"--output", "json"})
	if o := objects(t, line); len(o) != 1 || !strings.HasPrefix(o[0]["url"].(string), "http://127.0.0.1:") {
		t.Errorf("output = %s", line)
	}
	check(t, end(), result{Stderr: servedInMemory})
}

// With --postgres the next one has the schemas, in the database or with the pool of a service.
func TestSchemaServePostgres(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	const kept = "a schema registry for development, not for production: no authorization, no TLS, open to this machine; schemas are kept in the Postgres schema annals_registry\n"
	at, end := serving(t, []string{"--postgres", "--database-url", url})
	id, err := schemaClient(t, at).Register(t.Context(), "order.Placed", servedPlaced)
	if err != nil {
		t.Fatal(err)
	}
	check(t, end(), result{Stderr: kept})
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	at, end = serving(t, []string{"--postgres"}, cli.WithPool(func(context.Context) (*pgxpool.Pool, error) { return pool, nil }))
	if got, err := schemaClient(t, at).Schema(t.Context(), id); err != nil || got.Text != servedPlaced.Text {
		t.Errorf("Schema of the next one = %+v, %v", got, err)
	}
	check(t, end(), result{Stderr: kept})
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the caller's pool: %v, want it left open", err)
	}
}

// What goes wrong with the database is logged, and without what is secret.
func TestSchemaServeLogs(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	at, end := serving(t, []string{"--postgres"}, env("DATABASE_URL", url))
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `DROP TABLE annals_registry.settings`); err != nil {
		t.Fatal(err)
	}
	if _, err := schemaClient(t, at).Mode(t.Context(), "order.Placed"); err == nil {
		t.Error("Mode without a table: no error")
	}
	got := end()
	if got.Code != 0 || !strings.Contains(got.Stderr, `msg="schema registry cannot use its store" error="read setting: ERROR: relation \"annals_registry.settings\" does not exist`) || strings.Contains(got.Stderr, url) {
		t.Errorf("schema serve = %+v", got)
	}
}

// Where other machines come in it listens only if that is what is wanted.
func TestSchemaServeNetwork(t *testing.T) {
	t.Parallel()
	for address, port := range map[string]string{":8081": "8081", "0.0.0.0:0": "0", "[::]:8081": "8081", "192.0.2.1:80": "80", "registry.example.com:8081": "8081", "127.0.0.1.example.com:8081": "8081"} {
		got := run(t, "", []string{"schema", "serve", "--database-url", "postgres://db/shop", "--listen", address}) // wrong in two ways, so that it ends
		check(t, got, result{Code: 2, Stderr: "annals: --listen: other machines reach " + address + ", and the registry has no authorization and no TLS: want an address such as 127.0.0.1:" + port + ", or --allow-network\n"})
	}
	url, end := serving(t, []string{"--listen", "0.0.0.0:0", "--allow-network"})
	if !strings.HasPrefix(url, "http://") {
		t.Errorf("URL = %s", url)
	}
	check(t, end(), result{Stderr: strings.Replace(servedInMemory, "this machine", "the network", 1)})
}

// busy is an address that somebody listens on.
func busy(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestSchemaServeWrongUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"extra"}, 2, "schema serve: arguments: got 1, want none"},
		{[]string{"--listen", "8081"}, 2, `invalid argument "8081" for "--listen" flag: want host:port, such as 127.0.0.1:8081`},
		{[]string{"--listen", "localhost:http"}, 2, `invalid argument "localhost:http" for "--listen" flag: want host:port, such as 127.0.0.1:8081`},
		{[]string{"--listen", "localhost:65536"}, 2, `invalid argument "localhost:65536" for "--listen" flag: want host:port, such as 127.0.0.1:8081`},
		{[]string{"--listen", "192.0.2.1:0", "--allow-network"}, 1, "serve schemas: listen tcp 192.0.2.1:0: bind: "},
		{[]string{"--database-url", "postgres://db/shop", "--listen", busy(t)}, 2, "--database-url: want --postgres, too: without it schemas are kept in memory"},
		{[]string{"--postgres"}, 2, "no database, set --database-url or the environment variable DATABASE_URL to "},
		{[]string{"--postgres", "--database-url", "postgres://db@127.0.0.1:1/shop"}, 1, "connect to database: "},
	} {
		got := run(t, "", append([]string{"schema", "serve"}, c.args...))
		if got.Code != c.code || !strings.HasPrefix(got.Stderr, "annals: "+c.want) || got.Stdout != "" {
			t.Errorf("schema serve %q = %+v\nwant %s", c.args, got, c.want)
		}
	}
}

// A database that may not be written to is told of at the start, not to the first client.
func TestSchemaServeNeedsItsTables(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	got := run(t, "", []string{"schema", "serve", "--postgres", "--listen", busy(t)}, cli.WithPool(func(context.Context) (*pgxpool.Pool, error) { return pool, nil }))
	check(t, got, result{Code: 1, Stderr: "annals: serve schemas: make tables of schemas: ERROR: cannot execute CREATE SCHEMA in a read-only transaction (SQLSTATE 25006)\n"})
}
