package avro_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/internal/guidetest"
	served "github.com/annals-go/annals/internal/registry"
	"github.com/annals-go/annals/internal/testcert"
)

// secureRegistry starts a registry that takes nothing but TLS, with the certificate, and
// that user and password or that token. It repeats to others what they were authorized with.
func secureRegistry(t *testing.T, c *tls.Config, user, password, token string) (url string) {
	t.Helper()
	inner := served.New(served.Memory())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		if (u != user || p != password) && r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error_code":401,"message":%q}`, fmt.Sprint("not you: ", r.Header.Get("Authorization"), " ", u, " ", p))
			return
		}
		inner.ServeHTTP(w, r)
	}))
	s.TLS = c
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// TestClientOfSecureRegistry: what docs/security.md names goes to a registry that wants it,
// and an error says what is wrong, without what the client was authorized with.
func TestClientOfSecureRegistry(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t, "ours"), testcert.New(t, "theirs")
	at := func(cert tls.Certificate, clients ...*testcert.Authority) string {
		c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		for _, a := range clients {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.Pool()
		}
		return secureRegistry(t, c, "anna", `s3cr3t"/&:p`, "t0k3n-t0k3n")
	}
	url, strict := at(ca.Server(t)), at(ca.Server(t), ca)
	trust, right := sr.DialTLSConfig(ca.Client()), sr.BasicAuth("anna", `s3cr3t"/&:p`)
	const unknown = "list subjects: what the format looks up is out of reach: the registry does not know who asks (401): check the user and password, or the token: not you:"
	for name, c := range map[string]struct {
		url  string
		opts []sr.ClientOpt
		want string // empty: it works
	}{
		"password":            {url, []sr.ClientOpt{trust, right}, ""},
		"token":               {url, []sr.ClientOpt{trust, sr.BearerToken("t0k3n-t0k3n")}, ""},
		"URL":                 {strings.Replace(url, "://", "://anna:s3cr3t%22%2F&%3Ap@", 1), []sr.ClientOpt{trust}, ""},
		"client certificate":  {strict, []sr.ClientOpt{sr.DialTLSConfig(ca.Client(ca.User(t, "anna"))), right}, ""},
		"wrong password":      {url, []sr.ClientOpt{trust, sr.BasicAuth("anna", "wr0ng-s3cr3t")}, unknown + " [hidden] anna [hidden]"},
		"wrong token":         {url, []sr.ClientOpt{trust, sr.BearerToken("wr0ng-t0k3n")}, unknown + " [hidden]"},
		"nobody":              {url, []sr.ClientOpt{trust}, unknown},
		"other authority":     {url, []sr.ClientOpt{sr.DialTLSConfig(other.Client()), right}, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"system authorities":  {url, []sr.ClientOpt{right}, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"other host":          {at(ca.Server(t, "registry.example")), []sr.ClientOpt{trust, right}, "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
		"expired":             {at(ca.Expired(t)), []sr.ClientOpt{trust, right}, "x509: certificate has expired or is not yet valid: "},
		"without certificate": {strict, []sr.ClientOpt{trust, right}, "remote error: tls: certificate required"},
		"plaintext to TLS":    {strings.Replace(url, "https", "http", 1), []sr.ClientOpt{right}, "what answers is no registry (400): check whether its URL is to begin with https, and whether it wants a certificate: Client sent an HTTP request to an HTTPS server."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, append(c.opts, sr.URLs(c.url))...)
			id, err := client.Register(t.Context(), "m.Cents", cents)
			if err == nil {
				_, err = client.Schema(t.Context(), id)
			}
			_, listed := client.Subjects(t.Context())
			switch {
			case c.want == "" && (err != nil || listed != nil):
				t.Errorf("got %v, %v", err, listed)
			case c.want != "" && (listed == nil || !strings.Contains(listed.Error(), c.want)):
				t.Errorf("got  %v\nwant %s", listed, c.want)
			case c.want != "" && (!errors.Is(listed, codec.ErrUnavailable) || !errors.Is(err, codec.ErrUnavailable)):
				t.Errorf("got %v, %v, want ErrUnavailable: no event is to be parked for it", err, listed)
			}
			for _, secret := range []string{"s3cr3t", "t0k3n", "YW5uYT"} {
				if strings.Contains(fmt.Sprint(err, listed), secret) {
					t.Errorf("an error tells %s: %v, %v", secret, err, listed)
				}
			}
		})
	}
}

// TestClientLeavesSettingsAlone: the TLS settings of a service are those of several clients,
// and a transport writes into those it is given.
func TestClientLeavesSettingsAlone(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	url := secureRegistry(t, &tls.Config{Certificates: []tls.Certificate{ca.Server(t)}, MinVersion: tls.VersionTLS12}, "anna", "secret", "")
	settings := ca.Client()
	for name, opts := range map[string][]sr.ClientOpt{
		"client of its own":  nil,
		"client of the user": {sr.HTTPClient(&http.Client{})},
		"with a transport":   {sr.HTTPClient(&http.Client{Transport: &http.Transport{}})},
	} {
		client := newClient(t, append(opts, sr.URLs(url), sr.DialTLSConfig(settings), sr.BasicAuth("anna", "secret"))...)
		if _, err := client.Subjects(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(settings.NextProtos) > 0 {
			t.Errorf("%s: the client has written %q into the settings", name, settings.NextProtos)
		}
	}
}

// TestGuideToSecurity: what docs/security.md shows is what is compiled here.
func TestGuideToSecurity(t *testing.T) {
	t.Parallel()
	guidetest.Indented(t, "../../docs/security.md", "example_secure_test.go")
}
