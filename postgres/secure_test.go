package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/testcert"
	"github.com/annals-go/annals/postgres"
)

// tlsServer is one that takes TLS alone, with a certificate for the hosts.
func tlsServer(t *testing.T, ca *testcert.Authority, hosts ...string) *url.URL {
	t.Helper()
	cert, key := testcert.Files(t, ca.Server(t, hosts...))
	var pem [2][]byte
	for i, file := range []string{cert, key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pem[i] = text
	}
	server, err := devenv.Postgres(t.Context(), devenv.WithTLS(pem[0], pem[1]), devenv.WithoutFsync(), devenv.WithSetting("shared_buffers", "16MB"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// with returns a URL with those parameters in place of its own.
func with(u *url.URL, parameters ...string) string {
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	out := *u
	out.RawQuery = q.Encode()
	return out.String()
}

// Everything, the connection that listens too, goes over TLS to a server that is verified,
// by a password that is bound to that connection and may have changed.
func TestVerifyFull(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	u := tlsServer(t, ca)
	config, err := pgxpool.ParseConfig(with(u, "sslmode", "verify-full", "sslrootcert", ca.File(t), "channel_binding", "require", "require_auth", "scram-sha-256"))
	if err != nil {
		t.Fatal(err)
	}
	password := config.ConnConfig.Password
	config.MaxConns = 1 // so that a second one is that of the listener
	config.ConnConfig.Password = "of yesterday"
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Password = password
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := postgres.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	db := postgres.New(pool, postgres.WithPollInterval(time.Hour)) // so that only a notification wakes it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	listening := make(chan error, 1)
	go func() { listening <- db.Listen(ctx) }()
	raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
	if _, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(), raw); err != nil {
		t.Fatal(err)
	}
	var backends, secure int
	for backends < 2 { // the pool's and the listener's
		err := pool.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE s.ssl) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL").Scan(&backends, &secure)
		if err != nil {
			t.Fatal(err)
		}
	}
	if secure != backends {
		t.Errorf("%d of %d connections are encrypted", secure, backends)
	}
	cancel()
	<-listening
}

// A server that is not the one that is meant is refused, and so is a connection without TLS.
func TestVerifyFullRefuses(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t, "ours"), testcert.New(t, "theirs")
	u, elsewhere := tlsServer(t, ca), tlsServer(t, ca, "db.example")
	for name, c := range map[string]struct{ url, want string }{
		"wrong authority": {with(u, "sslmode", "verify-full", "sslrootcert", other.File(t)), "x509: certificate signed by unknown authority"},
		"wrong host":      {with(elsewhere, "sslmode", "verify-full", "sslrootcert", ca.File(t)), "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
		"without TLS":     {with(u, "sslmode", "disable"), "no pg_hba.conf entry for host"},
		"another way":     {with(u, "sslmode", "require", "require_auth", "md5"), "require_auth"},
	} {
		pool, err := pgxpool.New(t.Context(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		err = pool.Ping(t.Context())
		password, _ := u.User.Password()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: Ping = %v, want one that says %s", name, err, c.want)
		}
		if got := fmt.Sprint(postgres.New(pool).Classify(err)); got != "systemic" {
			t.Errorf("%s is %s, want systemic", name, got)
		}
	}
}
