package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// reachOf returns a reach of a client that connects to nothing by itself.
func reachOf(t *testing.T, tell func(*AccessError), opts ...kgo.Opt) *reach {
	t.Helper()
	r := newReach(tell)
	client, err := kgo.NewClient(append(opts, kgo.WithHooks(r))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return r
}

var (
	one = kgo.BrokerMetadata{Host: "one", Port: 9092}
	two = kgo.BrokerMetadata{Host: "two", Port: 9092}
	ada = kgo.SASL(plain.Auth{User: "ada", Pass: "s3cr3t"}.AsMechanism())
)

func (r *reach) refuse(at kgo.BrokerMetadata) {
	r.OnBrokerConnect(at, 0, nil, kerr.SaslAuthenticationFailed)
}

// What others ask meanwhile does not keep a call from giving up.
func TestOneCallDoesNotKeepAnother(t *testing.T) {
	t.Parallel()
	r := reachOf(t, nil, ada)
	ctx, done := r.watch(t.Context())
	defer done()
	for range refusals {
		_, other := r.watch(t.Context())
		r.refuse(one)
		other()
	}
	if e := new(AccessError); !errors.As(context.Cause(ctx), &e) || e.Broker != "one:9092" {
		t.Errorf("after %d refusals the call has ended with %v, want an AccessError", refusals, context.Cause(ctx))
	}
	next, ended := r.watch(t.Context())
	defer ended()
	r.refuse(one)
	if next.Err() != nil {
		t.Errorf("a later call has given up after one refusal: %v", context.Cause(next))
	}
}

// A call whose time is over says which broker has refused it, though others let it in.
func TestRefusalByOneOfSeveral(t *testing.T) {
	t.Parallel()
	r := reachOf(t, nil, ada)
	ctx, cancel := context.WithCancel(t.Context())
	ctx, done := r.watch(ctx)
	defer done()
	r.refuse(one)
	r.OnBrokerConnect(two, 0, nil, nil)
	cancel()
	if e := new(AccessError); !errors.As(explain(ctx, context.Canceled), &e) || e.Broker != "one:9092" {
		t.Errorf("got %v, want that the first broker refuses", explain(ctx, context.Canceled))
	}
	r.OnBrokerConnect(one, 0, nil, nil)
	if err := explain(ctx, context.Canceled); errors.As(err, new(*AccessError)) {
		t.Errorf("got %v, want nothing of what has passed", err)
	}
}

// A refusal that lasts is told when it begins, and once a minute then, by a logger that
// may do what it likes.
func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := 0
		var r *reach
		r = reachOf(t, func(e *AccessError) {
			told++
			_, done := r.watch(t.Context()) // a logger that publishes
			done()
		}, ada)
		for range refusals - 1 {
			if r.refuse(one); told != 0 {
				t.Errorf("told after %d refusals, want it after %d", refusals-1, refusals)
			}
		}
		for minute := range 3 {
			for range 59 {
				for range 20 {
					r.refuse(one)
				}
				if minute == 1 {
					r.OnBrokerConnect(two, 0, nil, nil) // another broker lets it in
				}
				time.Sleep(time.Second) //nolint:forbidigo // of the bubble
			}
			if told != minute+1 {
				t.Errorf("minute %d: told %d times, want %d", minute, told, minute+1)
			}
			time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble
		}
	})
}

// A broker that is down, or that no packet reaches, refuses nobody.
func TestUnreachableIsNoRefusal(t *testing.T) {
	t.Parallel()
	r := reachOf(t, nil, ada, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	for name, err := range map[string]error{
		"refused":     &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errors.New("connection refused"))},
		"no answer":   &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded},
		"reset":       &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errors.New("connection reset by peer"))},
		"not a name":  &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "one"}},
		"broken pipe": &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", errors.New("broken pipe"))},
	} {
		if e := accessError(r.client, "one:9092", err); e != nil {
			t.Errorf("%s: got %v, want no refusal", name, e)
		}
	}
}

// A mechanism that waits for a password, as of a vault, holds up nothing: it is asked for a
// name only as long as the client lives, and not for long.
func TestNameOfAUserIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reachOf(t, nil, kgo.SASL(stuck{}))
		r.refuse(one)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.last == nil || !strings.Contains(r.last.Error(), "refuses the account by PLAIN: ") {
			t.Errorf("got %v", r.last)
		}
	})
}

type stuck struct{}

func (stuck) Name() string { return "PLAIN" }
func (stuck) Authenticate(ctx context.Context, _ string) (sasl.Session, []byte, error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}
