package wireproxy_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/internal/wireproxy"
	"github.com/annals-go/annals/postgres/postgrestest"
)

const schema = `
CREATE TABLE rows (n int PRIMARY KEY);
CREATE FUNCTION append_v1(n int) RETURNS int
LANGUAGE sql
AS 'INSERT INTO rows VALUES (n) RETURNING n'`

// bench is a proxy with a connection through it, and one beside it.
type bench struct {
	*testing.T
	proxy  *wireproxy.Proxy
	direct *pgx.Conn
	url    string // through the proxy
}

func newBench(t *testing.T) *bench {
	t.Helper()
	direct := postgrestest.URL(t, schema)
	at, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	p, err := wireproxy.Start(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	at.Host = p.Addr()
	b := &bench{T: t, proxy: p, url: at.String()}
	b.direct = b.connect(direct)
	return b
}

func (b *bench) connect(url string) *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func (b *bench) stored(n int) bool {
	b.Helper()
	var stored bool
	if err := b.direct.QueryRow(b.Context(), `SELECT EXISTS (SELECT FROM rows WHERE n = $1)`, n).Scan(&stored); err != nil {
		b.Fatal(err)
	}
	return stored
}

func (b *bench) eventually(what string, so func() bool) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			b.Fatal("still not so: " + what)
		}
	}
}

// Three ways to commit.
var ways = map[string]func(ctx context.Context, conn *pgx.Conn, n int) error{
	"a transaction": func(ctx context.Context, conn *pgx.Conn, n int) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		if _, err := tx.Exec(ctx, `SELECT append_v1($1)`, n); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		return tx.Commit(ctx)
	},
	"a statement": func(ctx context.Context, conn *pgx.Conn, n int) error {
		return conn.QueryRow(ctx, `SELECT append_v1($1)`, n).Scan(&n)
	},
	"a simple query": func(ctx context.Context, conn *pgx.Conn, n int) error {
		return conn.QueryRow(ctx, fmt.Sprintf(`SELECT append_v1(%d)`, n), pgx.QueryExecModeSimpleProtocol).Scan(&n)
	},
}

func TestEachKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := 0
	for what, do := range ways {
		for _, kind := range append(wireproxy.Kinds(), wireproxy.Pass) {
			n++
			conn := b.connect(b.url)
			var acted atomic.Int32
			b.proxy.Script(func(c wireproxy.Commit) wireproxy.Action {
				acted.Add(1)
				if c.Append != (what != "a transaction") {
					t.Errorf("%s: Append is %v", what, c.Append)
				}
				return wireproxy.Action{Kind: kind, For: 20 * time.Millisecond}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := do(ctx, conn, n)
			cancel()
			if passes := kind == wireproxy.Pass || kind == wireproxy.Delay; passes != (err == nil) {
				t.Errorf("%s, %s: %v", what, kind, err)
			}
			switch kind {
			case wireproxy.CutBefore:
				if b.stored(n) {
					t.Errorf("%s, %s: is stored", what, kind)
				}
			case wireproxy.Late, wireproxy.Unread:
				b.eventually(fmt.Sprintf("%s, %s: is stored", what, kind), func() bool { return b.stored(n) })
			default:
				if !b.stored(n) {
					t.Errorf("%s, %s: is not stored", what, kind)
				}
			}
			if got := acted.Load(); got != 1 {
				t.Errorf("%s, %s: %d commit points, want 1", what, kind, got)
			}
		}
	}
}

// What commits nothing is no commit point.
func TestNoCommitPoint(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Script(func(c wireproxy.Commit) wireproxy.Action {
		t.Errorf("commit point %+v", c)
		return wireproxy.Action{}
	})
	conn := b.connect(b.url)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := tx.Exec(t.Context(), `SELECT append_v1($1)`, n); err != nil {
			t.Error(err)
		}
		if _, err := tx.Exec(t.Context(), fmt.Sprintf(`SELECT append_v1(%d)`, n+10)); err != nil {
			t.Error(err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := conn.Exec(t.Context(), `INSERT INTO rows VALUES ($1)`, 2); err != nil {
		t.Error(err)
	}
}

func TestBlackhole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	conn := b.connect(b.url)
	b.proxy.Blackhole(true)
	b.proxy.Blackhole(true)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), `INSERT INTO rows VALUES (1)`)
		done <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if c, err := pgx.Connect(ctx, b.url); err == nil {
		_ = c.Close(t.Context())
		t.Error("a connection was made through a black hole")
	}
	select {
	case err := <-done:
		t.Errorf("Exec = %v, want no answer", err)
	default:
	}
	if b.stored(1) {
		t.Error("the statement came through a black hole")
	}
	b.proxy.Blackhole(false)
	if err := <-done; err != nil {
		t.Errorf("Exec = %v, want it to go on", err)
	}
}

func TestCloseAllAndClose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	conn := b.connect(b.url)
	b.proxy.CloseAll()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a closed connection answers")
	}
	conn = b.connect(b.url)
	b.proxy.Blackhole(true)
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if err := b.proxy.Close(); err != nil { // waits for the goroutines
		t.Error(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a closed proxy answers")
	}
}

func TestTLSIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	at.RawQuery = "sslmode=prefer"
	conn := b.connect(at.String())
	if err := conn.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
