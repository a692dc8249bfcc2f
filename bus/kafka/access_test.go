package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/testcert"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// Whoever is not let in is told why, by every call, long before its time is up.
func TestRefusedAccess(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t, "ours"), testcert.New(t, "theirs")
	users := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", "right"), kfake.Superuser("PLAIN", "pete", "right")}
	as := func(user string) kgo.Opt { return kgo.SASL(scram.Auth{User: user, Pass: "s3cr3t"}.AsSha256Mechanism()) }
	certificates := " check the certificate of the client (ssl.certificate.location), and that the broker trusts its authority"
	for name, c := range map[string]struct {
		server []kfake.Opt
		client []kgo.Opt
		want   string // %s: the broker
	}{
		"wrong password": {users, []kgo.Opt{as("ada")},
			`closes the connection while it authenticates user "ada" by SCRAM-SHA-256: check the user, the password, and which mechanism the broker has for it`},
		"unknown user": {users, []kgo.Opt{as("a=b,c")},
			`closes the connection while it authenticates user "a=b,c" by SCRAM-SHA-256: check the user, the password, and which mechanism the broker has for it`},
		"wrong plain password": {users, []kgo.Opt{kgo.SASL(plain.Auth{User: "pete", Pass: "s3cr3t"}.AsMechanism())},
			`closes the connection while it authenticates user "pete" by PLAIN: check the user, the password, and which mechanism the broker has for it`},
		"no credentials": {users, nil,
			"ends the connection before the first answer: check whether its port is one for TLS (kgo.DialTLSConfig), or wants SASL (kgo.SASL)"},
		"expired certificate": {[]kfake.Opt{serverTLS(ca.Expired(t))}, []kgo.Opt{kgo.DialTLSConfig(ca.Client())},
			"has a certificate that is not valid at this time: x509: certificate has expired or is not yet valid: "},
		"another host": {[]kfake.Opt{serverTLS(ca.Server(t, "kafka.example"))}, []kgo.Opt{kgo.DialTLSConfig(ca.Client())},
			"has a certificate of another name: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs: check the address of the broker (advertised.listeners), and the names in its certificate"},
		"unknown authority": {[]kfake.Opt{serverTLS(ca.Server(t))}, []kgo.Opt{kgo.DialTLSConfig(other.Client())},
			"has a certificate of an authority that is not trusted: x509: certificate signed by unknown authority: check RootCAs of the TLS configuration (ssl.ca.location)"},
		"plaintext to TLS": {[]kfake.Opt{serverTLS(ca.Server(t))}, nil,
			"ends the connection before the first answer: check whether its port is one for TLS (kgo.DialTLSConfig), or wants SASL (kgo.SASL)"},
		"no client certificate": {[]kfake.Opt{serverTLS(ca.Server(t), ca)}, []kgo.Opt{kgo.DialTLSConfig(ca.Client())},
			"refuses the connection: remote error: tls: certificate required:" + certificates},
		"client certificate of others": {[]kfake.Opt{serverTLS(ca.Server(t), ca)}, []kgo.Opt{kgo.DialTLSConfig(shown(ca, other.User(t, "ada")))},
			"refuses the connection: remote error: tls: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := append([]kgo.Opt{secured(t, append(c.server, kfake.SeedTopics(1, "shop.order"))...)}, c.client...)
			for call, err := range allCalls(t, opts) {
				var refused *kafka.AccessError
				switch {
				case !errors.As(err, &refused) || !strings.Contains(err.Error(), "broker "+refused.Broker+" "+c.want):
					t.Errorf("%s = %v, want one that says: %s", call, err, c.want)
				case worker.IsPermanent(err) || errors.Is(err, context.DeadlineExceeded):
					t.Errorf("%s = %v, want no permanent error, before the deadline", call, err)
				case strings.Contains(err.Error(), "s3cr3t"):
					t.Errorf("%s tells the password: %v", call, err)
				}
			}
		})
	}
}

// shown has a client show a certificate whatever authorities the broker names.
func shown(ca *testcert.Authority, cert tls.Certificate) *tls.Config {
	c := ca.Client()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return c
}

// allCalls are the errors of all that talks to a broker.
func allCalls(t *testing.T, opts []kgo.Opt) map[string]error {
	t.Helper()
	ctx, p, out := bounded(t), publisherOf(t, opts...), map[string]error{}
	_, out["Topics"] = p.Topics(ctx, "shop.order")
	out["Create"] = p.Create(ctx, bus.Contract{Topic: "shop.more"})
	out["Publish"] = p.Publish(ctx, []bus.Message{{Topic: "shop.order", Value: []byte("x")}})
	out["Newest"] = p.Newest(ctx, "shop.order", func(int32, bus.Message) bool { return true })
	_, out["Open"] = ledger(t, nil, opts...).Open(ctx, "main")
	client, err := kafka.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	_, out["Lag"] = kafka.Lag(ctx, client, nil, "shop.order")
	out["Receive"] = kafka.NewConsumer("totals", []string{"shop.order"}, opts...).Receive(ctx, nil)
	out["Receive, classic"] = kafka.NewConsumer("totals", []string{"shop.order"}, append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))...).Receive(ctx, nil)
	return out
}

// A port without TLS may answer nothing to it. The call ends with its context then, and
// tells what the client has seen.
func TestTLSToPlaintext(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	for call, err := range allCalls(t, []kgo.Opt{secured(t), kgo.DialTLSConfig(ca.Client()), kgo.DialTimeout(50e6)}) {
		if want := " does not answer to TLS: "; err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), ": check that its port is one for TLS, and that it can be reached") {
			t.Errorf("%s = %v, want one that says%s", call, err, want)
		}
	}
}

// What an account may not do is told with the right that it lacks.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	at := secured(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "shop.order", "other.order"),
		kfake.User("SCRAM-SHA-256", "relay", "s3cr3t", relayRights()...), kfake.User("SCRAM-SHA-256", "consumer", "s3cr3t", consumerRights()...))
	as := func(user string) []kgo.Opt {
		return []kgo.Opt{at, kgo.SASL(scram.Auth{User: user, Pass: "s3cr3t"}.AsSha256Mechanism())}
	}
	ctx := bounded(t)
	const topicRights = "TOPIC_AUTHORIZATION_FAILED: Not authorized to access topics: [Topic authorization failed.]: the account lacks an ACL of the topic: WRITE and DESCRIBE to publish, READ to consume, CREATE to make it"
	_, open := ledger(t, nil, as("relay")...).Open(ctx, "main")
	for call, c := range map[string]struct {
		err  error
		want string
	}{
		"Publish elsewhere":   {publisherOf(t, as("relay")...).Publish(ctx, []bus.Message{{Topic: "other.order", Value: []byte("x")}}), "read topics: describe topic other.order: " + topicRights},
		"Publish by a reader": {publisherOf(t, as("consumer")...).Publish(ctx, []bus.Message{{Topic: "shop.order", Value: []byte("x")}}), ": the account lacks an ACL of "},
		"Create by a reader":  {publisherOf(t, as("consumer")...).Create(ctx, bus.Contract{Topic: "shop.more"}), "create topic shop.more: " + topicRights},
		"Consume elsewhere":   {kafka.NewConsumer("shop.totals", []string{"other.order"}, as("consumer")...).Receive(ctx, &nothing{}), "describe topic other.order: " + topicRights},
		"another group":       {kafka.NewConsumer("totals", []string{"shop.order"}, as("consumer")...).Receive(ctx, &nothing{}), "Group authorization failed.: the account lacks an ACL of the consumer group: READ"},
		"another group, classic": {kafka.NewConsumer("totals", []string{"shop.order"}, append(as("consumer"), kgo.Balancers(kgo.CooperativeStickyBalancer()))...).Receive(ctx, &nothing{}),
			"Group authorization failed.: the account lacks an ACL of the consumer group: READ"},
		"Open without the id": {open, "Transactional ID authorization failed.: the account lacks an ACL of the transactional id: WRITE and DESCRIBE"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || worker.IsPermanent(c.err) {
			t.Errorf("%s = %v, want, not permanent: %s", call, c.err, c.want)
		}
	}
}

// nothing receives nothing.
type nothing struct{}

func (nothing) Begin(context.Context, ...string) (worker.Checkpoint, error) { return nil, nil }
func (nothing) Deliver(context.Context, bus.Delivery) error                 { return nil }

// It is no event's fault that a relay is not let in: it says why, waits, parks nothing, and
// goes on when it is let in. The password comes from a file that is read at each connection,
// so that it can change.
func TestRelayWaitsForAccess(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wr0ng")
	rotating := kgo.SASL(scram.Sha256(func(context.Context) (scram.Auth, error) {
		password, err := os.ReadFile(file)
		return scram.Auth{User: "ada", Pass: string(password)}, err
	}))
	at := secured(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", "s3cr3t"))
	db := memory.New()
	raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
	if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(), raw); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	client, err := kafka.NewClient(at, rotating)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"), bus.WithRetry(worker.Retry{Attempts: 2}), bus.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	err = relay.Drain(bounded(t))
	if want := `while it authenticates user "ada" by SCRAM-SHA-256`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Drain = %v, want one that says %s", err, want)
	}
	if parked, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || len(parked) != 0 {
		t.Errorf("parked %+v, %v, want nothing", parked, err)
	}
	write("s3cr3t")
	if err := relay.Drain(bounded(t)); err != nil {
		t.Errorf("Drain with the new password = %v", err)
	}
	for _, secret := range []string{"wr0ng", "s3cr3t"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells a password: %s", log.String())
		}
	}
}
