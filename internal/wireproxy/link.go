package wireproxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Codes in the place of a protocol version.
const (
	cancelCode = 80877102
	sslCode    = 80877103
	gssCode    = 80877104
)

// link is one connection of a client, with its connection to the server.
type link struct {
	proxy  *Proxy
	client net.Conn
	ended  chan struct{}

	mu     sync.Mutex
	server net.Conn // nil before the first message
	over   bool
	status byte   // of the last ReadyForQuery
	action Action // for the answer that comes next

	// of the goroutine that reads the client
	statements, portals map[string]bool // whether they append
	appends             bool            // since the last Sync
}

func newLink(p *Proxy, client net.Conn) *link {
	return &link{proxy: p, client: client, ended: make(chan struct{}), statements: map[string]bool{}, portals: map[string]bool{}}
}

// end closes both ends.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.ended)
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

// reset closes the client's end with RST.
func (l *link) reset() {
	if tcp, ok := l.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	l.end()
}

// run forwards until one end is closed.
func (l *link) run() {
	first, code, err := l.startup()
	if err != nil || !l.proxy.passable(l) {
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.proxy.upstream)
	if err != nil {
		return
	}
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		_ = server.Close()
		return
	}
	l.server = server
	l.mu.Unlock()
	if _, err := server.Write(first); err != nil {
		return
	}
	if code == cancelCode {
		_, _ = io.Copy(io.Discard, server) // until the server closes it
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		defer l.end()
		l.down()
	})
	l.up()
	answers.Wait()
}

// startup reads the first message of a session, or a request to cancel. It
// refuses encryption.
func (l *link) startup() (message []byte, code uint32, err error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(l.client, head); err != nil {
			return nil, 0, err
		}
		n, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if n < 8 || n > 1<<16 {
			return nil, 0, io.ErrUnexpectedEOF
		}
		message := make([]byte, n)
		copy(message, head)
		if _, err := io.ReadFull(l.client, message[8:]); err != nil {
			return nil, 0, err
		}
		if code != sslCode && code != gssCode {
			return message, code, nil
		}
		if _, err := l.client.Write([]byte{'N'}); err != nil {
			return nil, 0, err
		}
	}
}

// read reads one message: its type, its length and its body.
func read(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(5)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(r, message)
	return message, err
}

// up forwards what the client sends. When it returns, and does not leave the
// rest to the answer, the link has ended.
func (l *link) up() {
	r := bufio.NewReaderSize(l.client, 64<<10)
	var out []byte
	for {
		message, err := read(r)
		if !l.proxy.passable(l) || err != nil {
			l.end()
			return
		}
		if isAppend, ok := l.commits(message); ok {
			action := l.proxy.decide(isAppend)
			if !l.commit(r, out, message, action) {
				return
			}
			out = nil
			continue
		}
		out = append(out, message...)
		if message[0] == 'X' { // also while nobody hears the server
			l.forward(out)
			l.end()
			return
		}
		if r.Buffered() == 0 {
			if !l.forward(out) {
				return
			}
			out = nil
		}
	}
}

func (l *link) forward(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if _, err := l.server.Write(b); err != nil {
		l.end()
		return false
	}
	return true
}

// commit does what the script says. It reports whether the client is still read.
func (l *link) commit(r *bufio.Reader, before, message []byte, a Action) bool {
	if a.Kind != Unread && !l.forward(before) {
		return false
	}
	switch a.Kind {
	case CutBefore:
		l.end()
		return false
	case Late, Unread:
		_, _ = r.ReadByte() // it gives up
		_ = l.client.Close()
		if !l.wait(a.For) {
			return false
		}
	default:
	}
	if a.Kind == Unread {
		message = append(before, message...)
	}
	l.mu.Lock()
	l.action = a
	l.mu.Unlock()
	return l.forward(message) && a.Kind != Late && a.Kind != Unread
}

// wait reports whether the link lasts so long.
func (l *link) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ended:
		return false
	}
}

// down forwards what the server answers.
func (l *link) down() {
	r := bufio.NewReaderSize(l.server, 64<<10)
	var out []byte
	for {
		message, err := read(r)
		if !l.proxy.passable(l) || err != nil {
			return
		}
		out = append(out, message...)
		ready := message[0] == 'Z'
		l.mu.Lock()
		a := l.action
		if ready {
			l.status, l.action = message[len(message)-1], Action{}
		}
		l.mu.Unlock()
		switch {
		case a.Kind == Pass && r.Buffered() > 0, a.Kind != Pass && !ready:
			continue
		case a.Kind != Pass && !l.answer(out, a):
			return
		}
		if _, err := l.client.Write(out); err != nil {
			return
		}
		out = nil
	}
}

// answer has the whole answer to what has committed. It reports whether it is to
// be delivered.
func (l *link) answer(out []byte, a Action) bool {
	switch a.Kind {
	case CutMiddle:
		_, _ = l.client.Write(out[:len(out)/2])
		return false
	case Swallow:
		<-l.ended // the client gives up, and up sees it
		return false
	case StallReset:
		if l.wait(a.For) {
			l.reset()
		}
		return false
	case Delay:
		return l.wait(a.For)
	default: // CutAfter, Late, Unread
		return false
	}
}

// commits reports whether the message would commit, and whether that is an
// append by itself.
func (l *link) commits(message []byte) (isAppend, ok bool) {
	l.mu.Lock()
	inBlock := l.status != 'I'
	l.mu.Unlock()
	body := message[5:]
	switch message[0] {
	case 'Q':
		var m pgproto3.Query
		if m.Decode(body) == nil {
			return isAppendSQL(m.String), isCommitSQL(m.String) || !inBlock && isAppendSQL(m.String)
		}
	case 'P':
		var m pgproto3.Parse
		if m.Decode(body) == nil {
			l.statements[m.Name] = isAppendSQL(m.Query)
		}
	case 'B':
		var m pgproto3.Bind
		if m.Decode(body) == nil {
			l.portals[m.DestinationPortal] = l.statements[m.PreparedStatement]
		}
	case 'E':
		var m pgproto3.Execute
		if m.Decode(body) == nil {
			l.appends = l.appends || l.portals[m.Portal]
		}
	case 'S':
		appends := l.appends
		l.appends = false
		return true, appends && !inBlock
	}
	return false, false
}
