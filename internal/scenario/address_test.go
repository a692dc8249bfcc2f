package scenario_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/annals-go/annals/internal/devenv"
)

// address is one under which clients find the server, whichever that is now.
type address struct {
	listener net.Listener

	mu      sync.Mutex
	server  string // host:port; "" while there is none
	current map[net.Conn]bool
}

// listen returns an address, and the URL by which clients reach the server there.
func listen(t *testing.T, server *devenv.Server) (*address, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &address{listener: l, current: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = l.Close()
		a.to("")
	})
	go a.accept()
	a.to(hostOf(t, server.URL))
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	return a, u.String()
}

func hostOf(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// to cuts all connections, and sends those to come to the server.
func (a *address) to(server string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = server
	for c := range a.current {
		_ = c.Close()
	}
	clear(a.current)
}

func (a *address) accept() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go a.forward(c)
	}
}

// forward is held under the lock while it connects, so that no connection to a
// server that was left comes about.
func (a *address) forward(client net.Conn) {
	a.mu.Lock()
	server, err := net.Dial("tcp", a.server)
	if err != nil {
		a.mu.Unlock()
		_ = client.Close()
		return
	}
	a.current[client], a.current[server] = true, true
	a.mu.Unlock()
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
	}
	go pipe(server, client)
	pipe(client, server)
}
