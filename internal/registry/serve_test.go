package registry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/internal/registry"
)

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func listen() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects, and sends the beginning of a request.
func (p *pipes) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.conns <- server
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	return client
}

// A client that does not go on has its time, and no more.
func TestServeWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sent string
		most time.Duration
	}{
		"nothing":       {"", 5 * time.Second},
		"half a head":   {"POST /subjects/s/versions HTTP/1.1\r\nHost: x\r\n", 5 * time.Second},
		"half a body":   {"POST /subjects/s/versions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", 10 * time.Second},
		"no more calls": {"GET /subjects HTTP/1.1\r\nHost: x\r\n\r\n", 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l, ended := listen(), make(chan error)
				go func() { ended <- registry.New(registry.Memory()).Serve(ctx, l) }()
				began, client := time.Now(), l.dial(t, tt.sent)
				if _, err := io.ReadAll(client); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != tt.most {
					t.Errorf("the connection was closed after %v, want %v", took, tt.most)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stuck is a store that does not answer before the context of the request has ended.
type stuck struct{ registry.Store }

func (stuck) View(ctx context.Context, _ func(registry.Tx) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// A request in flight has 5 s when the registry ends; then nothing of it is left, which
// synctest would tell.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, ended := listen(), make(chan error)
		go func() { ended <- registry.New(stuck{registry.Memory()}).Serve(ctx, l) }()
		client := l.dial(t, "GET /subjects HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("Serve = %v after %v, want nil after 5s", err, time.Since(began))
		}
		if got, err := io.ReadAll(client); err != nil || len(got) != 0 {
			t.Errorf("the client has got %q, %v", got, err)
		}
	})
}

// failing is a listener that fails.
type failing struct{ *pipes }

func (failing) Accept() (net.Conn, error) { return nil, errors.New("out of files") }

func TestServeFails(t *testing.T) {
	t.Parallel()
	err := registry.New(registry.Memory()).Serve(t.Context(), failing{listen()})
	if err == nil || err.Error() != "serve schemas: out of files" {
		t.Errorf("Serve = %v", err)
	}
}

// A page of another site changes nothing; programs, which name no site, do.
func TestServeRefusesOtherSites(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- registry.New(registry.Memory()).Serve(ctx, l) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		method, header, value string
		status                int
	}{
		{"POST", "Sec-Fetch-Site", "cross-site", 403},
		{"POST", "Origin", "https://example.com", 403},
		{"GET", "Origin", "https://example.com", 404}, // which its page does not get to see
		{"POST", "", "", 200},
		{"POST", "Sec-Fetch-Site", "same-origin", 200},
	} {
		req, err := http.NewRequestWithContext(ctx, tt.method, "http://"+l.Addr().String()+"/subjects/s/versions", strings.NewReader(record(a)))
		if err != nil {
			t.Fatal(err)
		}
		if tt.header != "" {
			req.Header.Set(tt.header, tt.value)
		}
		got, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(got.Body)
		_ = got.Body.Close()
		if err != nil || got.StatusCode != tt.status || tt.status == 403 && string(text) != `{"error_code":403,"message":"a page of another site may not change schemas"}` {
			t.Errorf("%+v = %d %s %v", tt, got.StatusCode, text, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
