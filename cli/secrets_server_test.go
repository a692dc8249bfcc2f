package cli_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/internal/registry"
	"github.com/annals-go/annals/internal/testcert"
)

// secretive executes annals, and fails if it tells a secret.
func secretive(t *testing.T, secrets []string, args []string, env map[string]string, opts ...cli.Option) result {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := cli.New(append([]cli.Option{cli.WithEnv(env)}, opts...)...)
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	got := result{cli.Execute(t.Context(), cmd), stdout.String(), stderr.String()}
	for _, secret := range secrets {
		if strings.Contains(got.Stdout+got.Stderr, secret) {
			t.Errorf("annals %s tells %s: %+v", strings.Join(args, " "), secret, got)
		}
	}
	return got
}

// repeatingRegistry starts a registry that lets nobody in, answers with that status, and
// repeats what it was asked with. It returns what that was, too.
func repeatingRegistry(t *testing.T, status int) (url string, asked func() string) {
	t.Helper()
	var (
		mu   sync.Mutex
		seen []string
	)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		said := fmt.Sprint(r.Header.Get("Authorization"), " ", user, " ", password, " ", r.URL)
		mu.Lock()
		seen = append(seen, said)
		mu.Unlock()
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error_code":%d,"message":%q}`, status, said)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(seen, "\n")
	}
}

// No command prints what it asks a registry with, whoever repeats it.
func TestNoSchemaCommandTellsSecrets(t *testing.T) {
	t.Parallel()
	const password, token = `M4RK"/&pw`, "M4RK.t0k.en"
	const inURL = "anna:M4RK%22%2F&pw@"
	secrets := []string{"M4RK", "YW5uYTpNNFJL"} // as they are, and in base64
	right := httptest.NewServer(registry.New(registry.Memory(), registry.WithBasicAuth("anna", password)))
	t.Cleanup(right.Close)
	codecs := cli.WithCodecs(orderCodec[orderV2](avroAt(t, "http://127.0.0.1:1")))
	commands := func(url string) (all [][]string) {
		for _, output := range []string{"table", "json"} {
			for _, words := range []string{"ls", "check --dir " + t.TempDir(), "check --registry " + url, "register", "ls --registry " + url} {
				all = append(all, append(append([]string{"schema"}, strings.Fields(words)...), "--output", output))
			}
		}
		return all
	}
	for name, c := range map[string]struct {
		user string // of the URL
		env  map[string]string
		sent string
	}{
		"URL":      {inURL, nil, password},
		"password": {"", map[string]string{"SCHEMA_REGISTRY_USER": "anna", "SCHEMA_REGISTRY_PASSWORD": password}, password},
		"token":    {"", map[string]string{"SCHEMA_REGISTRY_TOKEN": token}, "Bearer " + token},
	} {
		ask := func(url string, args []string, opts ...cli.Option) result {
			env := map[string]string{"SCHEMA_REGISTRY_URL": url}
			for k, v := range c.env {
				env[k] = v
			}
			return secretive(t, secrets, args, env, opts...)
		}
		for _, status := range []int{401, 403, 409, 422, 500} {
			url, asked := repeatingRegistry(t, status)
			url = strings.Replace(url, "://", "://"+c.user, 1)
			for _, args := range commands(url) {
				for _, opts := range [][]cli.Option{nil, {codecs}} {
					if got := ask(url, args, opts...); got.Code == 0 && !slices.Contains(args, "--dir") {
						t.Errorf("%s: annals %s = %+v, want an error", name, strings.Join(args, " "), got)
					}
				}
			}
			if !strings.Contains(asked(), c.sent) {
				t.Errorf("%s: the registry was not asked with it: %s", name, asked())
			}
		}
		url := strings.Replace(right.URL, "://", "://"+c.user, 1)
		for _, args := range commands(url) {
			got := ask(url, args, codecs)
			const want = "the registry does not know who asks (401): check the user and password, or the token"
			if refused := strings.Contains(got.Stderr, want); refused != (name == "token") && !slices.Contains(args, "--dir") {
				t.Errorf("%s: annals %s = %+v, refused %v", name, strings.Join(args, " "), got, refused)
			}
		}
		// Where nobody is, and what no URL is.
		for _, url := range []string{"http://" + c.user + closedAddress(t), "http://" + c.user + "%zz", "ftp://" + c.user + "h", "http://anna:12/M4RK@h"} {
			for _, args := range commands(url) {
				ask(url, args, codecs)
			}
		}
	}
}

// repeatingPostgres starts a server that asks for the password in the open, and refuses it
// with a message that repeats it. It returns its address, and what it was told.
func repeatingPostgres(t *testing.T) (address string, told func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		all  []string
	)
	t.Cleanup(func() { _ = l.Close(); wait.Wait() })
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer func() { _ = conn.Close() }()
				b := pgproto3.NewBackend(conn, conn)
				if _, err := b.ReceiveStartupMessage(); err != nil {
					return
				}
				b.Send(&pgproto3.AuthenticationCleartextPassword{})
				if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
					return
				}
				answer, err := b.Receive()
				if err != nil {
					return
				}
				password := answer.(*pgproto3.PasswordMessage).Password
				mu.Lock()
				all = append(all, password)
				mu.Unlock()
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "wrong: " + password})
				_ = b.Flush()
			})
		}
	})
	return l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// A password is taken out of what a server says, wherever it came from: the environment of
// the process, which pgx reads by itself, too.
func TestServerThatRepeatsThePassword(t *testing.T) {
	const inURL, inEnv = "M4RK-url-pw", "M4RK-env-pw"
	t.Setenv("PGPASSWORD", inEnv)
	at, told := repeatingPostgres(t)
	for user, password := range map[string]string{"ada:" + inURL: inURL, "ada": inEnv} {
		url := "postgres://" + user + "@" + at + "/shop?sslmode=disable"
		for _, output := range []string{"table", "json"} {
			for _, words := range []string{"migrate", "roles", "doctor", "status", "parked ls", "relay ls", "relay replay main --brokers 127.0.0.1:1", "rewind relay/main",
				"verify", "stream ls", "stream show order-1", "log", "log --follow", "export", "schema check --dir " + t.TempDir()} {
				args := append(strings.Fields(words), "--output", output)
				got := secretive(t, []string{"M4RK"}, args, map[string]string{"DATABASE_URL": url}, cli.WithCodecs(orderCodec[orderV2](avroAt(t, "http://127.0.0.1:1"))))
				if got.Code != 1 || !strings.Contains(got.Stderr+got.Stdout, "wrong: xxxxx") && !strings.HasPrefix(words, "schema") {
					t.Errorf("annals %s = %+v, want what the server says, without the password", words, got)
				}
			}
		}
		if !slices.Contains(told(), password) {
			t.Errorf("the server was told %q, want %s", told(), password)
		}
	}
}

// A registry behind TLS: --registry-ca says whom to trust, and what is wrong is told.
func TestSchemaRegistryOverTLS(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t, "ours"), testcert.New(t, "theirs")
	s := httptest.NewUnstartedServer(registry.New(registry.Memory(), registry.WithBasicAuth("anna", "M4RK-pw")))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t)}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, c := range []struct {
		ca, password string
		want         string // empty: it works
	}{
		{ca.File(t), "M4RK-pw", ""},
		{ca.File(t), "M4RK-wrong", "list subjects: what the format looks up is out of reach: the registry does not know who asks (401): check the user and password, or the token: "},
		{other.File(t), "M4RK-pw", "x509: certificate signed by unknown authority"},
		{"", "M4RK-pw", "x509: certificate signed by unknown authority"},
	} {
		args := []string{"schema", "ls", "--registry", s.URL}
		if c.ca != "" {
			args = append(args, "--registry-ca", c.ca)
		}
		got := secretive(t, []string{"M4RK"}, args, map[string]string{"SCHEMA_REGISTRY_USER": "anna", "SCHEMA_REGISTRY_PASSWORD": c.password})
		if (got.Code == 0) != (c.want == "") || !strings.Contains(got.Stderr, c.want) {
			t.Errorf("annals %s = %+v, want %q", strings.Join(args, " "), got, c.want)
		}
	}
}
