package postgres_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres/postgrestest"
)

// gate stands between a pool and its server. Closed, it holds back the next
// answer of the server; what it answers has been done by then.
type gate struct {
	mu     sync.Mutex
	closed bool
	held   chan struct{} // an answer is held back
	pass   chan bool     // whether it may pass; if not the connection is cut
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.held, g.pass = make(chan struct{}), make(chan bool)
}

// pool is a pool of one connection behind the gate.
func (g *gate) pool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // a ping has an answer, too
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &gatedConn{conn, g}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.mu.Lock()
	hold := c.gate.closed && err == nil
	c.gate.closed = c.gate.closed && !hold // one answer
	c.gate.mu.Unlock()
	if !hold {
		return n, err
	}
	close(c.gate.held)
	if <-c.gate.pass {
		return n, nil
	}
	_ = c.Close()
	return 0, net.ErrClosed
}
