//go:build unix

package scenario_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// line is a network between clients and a server that can be bad in the ways in
// which no end is told: it is slow, it swallows everything, or it loses
// connections and tells the client late.
type line struct {
	upstream string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	rate    int           // bytes a second of each direction of a connection; 0 forwards nothing
	changed chan struct{} // closed when the rate has changed
	calls   map[*call]struct{}
}

// unlimited is the rate of a good line.
const unlimited = 1 << 30

// call is a connection through the line.
type call struct {
	client, server net.Conn
	lost           bool // guarded by line.mu: the client is told later
	stranded       bool // guarded by line.mu: nobody is told, ever
}

func newLine(t *testing.T, upstream string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{upstream: upstream, listener: listener, rate: unlimited, changed: make(chan struct{}), calls: map[*call]struct{}{}}
	l.running.Go(l.accept)
	t.Cleanup(func() {
		l.setRate(unlimited)
		_ = listener.Close()
		l.mu.Lock()
		for c := range l.calls {
			_, _ = c.client.Close(), c.server.Close()
		}
		l.mu.Unlock()
		l.running.Wait()
	})
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) setRate(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	close(l.changed)
	l.changed = make(chan struct{})
}

// lose ends all connections at the server, and tells the clients after a while.
func (l *line) lose(later time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		c.lost = true
		_ = c.server.Close()
		time.AfterFunc(later, func() { _ = c.client.Close() })
	}
}

// strand has the line forget the connections there are, and serve new ones: what is sent
// on the old ones goes nowhere, as behind a router that was replaced.
func (l *line) strand() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		c.stranded = true
	}
}

// cut ends all connections.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		_, _ = c.client.Close(), c.server.Close()
	}
}

func (l *line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &call{client: client, server: server}
		l.mu.Lock()
		l.calls[c] = struct{}{}
		l.mu.Unlock()
		l.running.Go(func() { l.carry(c, server, client) })
		l.running.Go(func() { l.carry(c, client, server) })
	}
}

// carry forwards one direction, and then its end, as slowly as anything else.
func (l *line) carry(c *call, to, from net.Conn) {
	part := make([]byte, 4096)
	for {
		n, err := from.Read(part)
		l.wait(n)
		l.mu.Lock()
		stranded := c.stranded
		l.mu.Unlock()
		if n > 0 && !stranded {
			if _, err := to.Write(part[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	l.mu.Lock()
	lost := c.lost
	delete(l.calls, c)
	l.mu.Unlock()
	if !lost {
		_, _ = c.client.Close(), c.server.Close()
		return
	}
	_, _ = io.Copy(io.Discard, c.client) // until the client is told
}

// wait returns when the line has forwarded so many bytes.
func (l *line) wait(n int) {
	for {
		l.mu.Lock()
		rate, changed := l.rate, l.changed
		l.mu.Unlock()
		var done <-chan time.Time // never
		if rate > 0 {
			done = time.After(time.Duration(n) * time.Second / time.Duration(rate))
		}
		select {
		case <-done:
			return
		case <-changed:
		}
	}
}
