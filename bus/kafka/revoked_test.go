package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/testcert"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// door is where a broker listens. It can throw out who is in, and close the door on who
// comes next.
type door struct {
	net.Listener
	mu     sync.Mutex
	in     []net.Conn
	refuse int // how many of the next it closes at once
	shut   int // how many it has closed
}

func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		d.mu.Lock()
		closed := d.refuse > 0
		if closed {
			d.refuse--
			d.shut++
		} else {
			d.in = append(d.in, c)
		}
		d.mu.Unlock()
		if !closed {
			return c, nil
		}
		_ = c.Close()
	}
}

// slam throws out who is in, and the next n that come.
func (d *door) slam(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.in {
		_ = c.Close()
	}
	d.in, d.refuse = nil, n
}

// refused returns how many were thrown out at the door.
func (d *door) refused() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shut
}

// behind starts a broker behind a door, with TLS if it is given a certificate.
func behind(t *testing.T, cert *tls.Certificate, opts ...kfake.Opt) (*door, kgo.Opt) {
	t.Helper()
	d := &door{}
	at := secured(t, append(opts, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		d.Listener = l
		if cert != nil {
			return tls.NewListener(d, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}), err
		}
		return d, err
	}))...)
	return d, at
}

// journal keeps a log, and tells when it has a line.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newJournal() *journal { return &journal{changed: make(chan struct{}, 1)} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	select {
	case j.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// logger logs all.
func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// await waits until the log says it.
func (j *journal) await(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(j.String(), text) {
		select {
		case <-j.changed:
		case <-ctx.Done():
			t.Fatalf("the log does not say %s: %s", text, j.String())
		}
	}
}

func note(t *testing.T, db *memory.DB, id string) {
	t.Helper()
	raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
	if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: id}, eventstore.Any(), raw); err != nil {
		t.Fatal(err)
	}
}

// workingOn starts a relay and a consumer of its topic, and returns what ends them and tells
// how they did.
func workingOn(ctx context.Context, t *testing.T, db *memory.DB, to bus.Publisher, s *store, log *journal, opts ...kgo.Opt) (relay *bus.Relay, end func()) {
	t.Helper()
	retry := worker.Retry{Attempts: 2, Base: 5 * time.Millisecond, Cap: 50 * time.Millisecond, Budget: 1}
	relay = bus.NewRelay(db, to, bus.WithDomain("shop"), bus.WithRetry(retry), bus.WithLogger(log.logger()))
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := relay.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	wait.Go(func() {
		opts := append([]kgo.Opt{kgo.MetadataMinAge(50 * time.Millisecond), kafka.WithLogger(log.logger())}, opts...)
		for ctx.Err() == nil { // as a worker does
			if err := kafka.NewConsumer("shop.totals", []string{"shop.order"}, opts...).Consume(ctx, s); worker.IsPermanent(err) {
				t.Errorf("Consume = %v", err)
				return
			}
		}
	})
	return relay, func() { cancel(); wait.Wait() }
}

// The password of a relay and of a consumer that run already is taken away: they say so, keep
// trying, park nothing, and go on when it is given back. No log tells it, not even that of
// the client.
func TestPasswordIsRevoked(t *testing.T) {
	t.Parallel()
	for kind, protocol := range map[string][]kgo.Opt{"consumer": nil, "classic": {kgo.Balancers(kgo.CooperativeStickyBalancer())}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			passwordIsRevoked(t, protocol...)
		})
	}
}

func passwordIsRevoked(t *testing.T, protocol ...kgo.Opt) {
	t.Helper()
	d, at := behind(t, nil, kfake.EnableSASL(), kfake.SeedTopics(1, "shop.order"), kfake.Superuser("SCRAM-SHA-512", "root", "s3cr3t-root"), kfake.Superuser("SCRAM-SHA-256", "ada", "s3cr3t-ada"))
	ctx := bounded(t)
	root, err := kgo.NewClient(at, kgo.SASL(scram.Auth{User: "root", Pass: "s3cr3t-root"}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	set := func(password string) {
		t.Helper()
		out, err := kadm.NewClient(root).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "ada", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password}})
		if err == nil {
			err = out.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db, s, log, inner := memory.New(), newStore(), newJournal(), newJournal()
	opts := append(protocol, at, kgo.SASL(scram.Auth{User: "ada", Pass: "s3cr3t-ada"}.AsSha256Mechanism()), kgo.WithLogger(kgo.BasicLogger(inner, kgo.LogLevelDebug, nil)))
	relay, end := workingOn(ctx, t, db, publisherOf(t, opts...), s, log, opts...)
	note(t, db, "o-1")
	s.await(ctx, t, 1)

	set("s3cr3t-new")
	d.slam(0)
	note(t, db, "o-2")
	const refused = `closes the connection while it authenticates user \"ada\" by SCRAM-SHA-256`
	log.await(ctx, t, `msg="is not let in by a broker" group=shop.totals broker=`)
	log.await(ctx, t, `msg=paused name=relay/main`)
	if !strings.Contains(log.String(), refused) {
		t.Errorf("the log does not say that the broker %s: %s", refused, log.String())
	}
	set("s3cr3t-ada")
	s.await(ctx, t, 2)
	end()
	if parked, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || len(parked) != 0 {
		t.Errorf("parked %+v, %v, want nothing", parked, err)
	}
	if n := strings.Count(log.String(), "is not let in by a broker"); n > 3 {
		t.Errorf("it was logged %d times", n)
	}
	if !strings.Contains(inner.String(), "SASL") && !strings.Contains(inner.String(), "sasl") {
		t.Errorf("the client has not logged of SASL")
	}
	if all := log.String() + inner.String(); strings.Contains(all, "s3cr3t") {
		t.Errorf("a log tells a password: %s", all)
	}
}

// A broker that is restarted closes connections while they begin, with TLS and with SASL,
// more often than a call takes for a refusal: neither a relay nor a consumer ends for it,
// nothing is parked, and both go on.
func TestGlitchIsNoEnd(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	cert := ca.Server(t)
	for name, c := range map[string]struct {
		cert *tls.Certificate
		opts []kgo.Opt
		with []kfake.Opt

		ledger bool
	}{
		"plaintext":   {},
		"TLS":         {cert: &cert, opts: []kgo.Opt{kgo.DialTLSConfig(ca.Client())}},
		"TLS, ledger": {cert: &cert, opts: []kgo.Opt{kgo.DialTLSConfig(ca.Client())}, ledger: true},
		"SASL": {opts: []kgo.Opt{kgo.SASL(scram.Auth{User: "ada", Pass: "secret"}.AsSha256Mechanism())},
			with: []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", "secret")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, at := behind(t, c.cert, append(c.with, kfake.SeedTopics(1, "shop.order"))...)
			ctx := bounded(t)
			db, s, log := memory.New(), newStore(), newJournal()
			opts := append(c.opts, at)
			to := bus.Publisher(publisherOf(t, opts...))
			if c.ledger {
				to = ledger(t, nil, opts...)
			}
			relay, end := workingOn(ctx, t, db, to, s, log, opts...)
			for i := range 3 {
				note(t, db, fmt.Sprint("o-", i))
				s.await(ctx, t, i+1)
				d.slam(20)
			}
			note(t, db, "o-9")
			s.await(ctx, t, 4)
			end()
			if d.refused() < 20 {
				t.Errorf("%d connections were refused, want more", d.refused())
			}
			if parked, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || len(parked) != 0 {
				t.Errorf("parked %+v, %v, want nothing", parked, err)
			}
		})
	}
}
