package wireproxy

import (
	"context"
	"net"
	"sync"
)

// Proxy listens on a port of the loopback interface. It is safe for concurrent
// use.
type Proxy struct {
	upstream string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	script  func(Commit) Action // nil: Pass
	commits int
	open    chan struct{} // closed unless blackholed
	links   map[*link]struct{}
	closed  bool
}

// Start begins to listen. Upstream is the address of the server.
func Start(upstream string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{upstream: upstream, listener: listener, open: make(chan struct{}), links: map[*link]struct{}{}}
	close(p.open)
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Script sets what is asked at each commit point from now on, in their order,
// one at a time; it must not call the proxy. nil forwards them all.
func (p *Proxy) Script(script func(Commit) Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

func (p *Proxy) decide(isAppend bool) Action {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits++
	if p.script == nil {
		return Action{}
	}
	return p.script(Commit{Number: p.commits, Append: isAppend})
}

// Blackhole stops to forward anything, in both directions, without closing a
// connection; also what ends one is not forwarded. New connections are accepted
// and come no further. When it is off again all goes on.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		if on {
			p.open = make(chan struct{})
		}
	default:
		if !on {
			close(p.open)
		}
	}
}

// passable waits while the proxy is a black hole, or until the link has ended.
func (p *Proxy) passable(l *link) bool {
	for {
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-l.ended:
			return false
		case <-open:
		}
		p.mu.Lock()
		same := open == p.open
		p.mu.Unlock()
		if same {
			return true
		}
	}
}

// CloseAll closes every connection of now.
func (p *Proxy) CloseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.end()
	}
}

// Close closes the port and every connection, and waits for all goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.CloseAll()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		l := newLink(p, client)
		if !p.add(l) {
			l.end()
			return
		}
		p.running.Go(func() {
			defer p.remove(l)
			l.run()
		})
	}
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	l.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}
