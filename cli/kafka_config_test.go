package cli_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/internal/testcert"
)

// writeFile writes a file of that mode, and returns where.
func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.properties")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A broker that takes TLS, a client certificate and SASL alone: the file says all of it.
func TestKafkaConfig(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	cert, key := testcert.Files(t, ca.User(t, "ada"))
	start := func(name string) string {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "ada", "pa=ss#word"),
			kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.Server(t, name)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS12}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c.ListenAddrs()[0]
	}
	url, db := database(t)
	appendTo(t, db, "order-1", placed("{}"))
	for name, more := range map[string]string{"127.0.0.1": "", "kafka.example": "ssl.endpoint.identification.algorithm = none\n"} {
		at := start(name)
		skip := ca.Client(ca.User(t, "ada"))
		skip.ServerName = name
		client, err := kafka.NewClient(kgo.SeedBrokers(at), kgo.DialTLSConfig(skip), kgo.SASL(scram.Auth{User: "ada", Pass: "pa=ss#word"}.AsSha512Mechanism()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if err := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithName(strings.ReplaceAll(name, ".", "")), bus.WithDomain("shop")).Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		file := secretFile(t, fmt.Sprintf("# of the relay\nsecurity.protocol=sasl_ssl\nsasl.mechanisms=SCRAM-SHA-512\n\nsasl.username = ada\nsasl.password = pa=ss#word\nssl.ca.location=%s\nssl.certificate.location=%s\nssl.key.location=%s\n%s", ca.File(t), cert, key, more), 0o600)
		relay := strings.ReplaceAll(name, ".", "")
		got := run(t, url, []string{"relay", "replay", relay, "--domain", "shop", "--brokers", at, "--kafka-config", file, "--id", "again"})
		if got.Code != 0 || !strings.Contains(got.Stderr, "published 1 events of relay/"+relay+" again") {
			t.Errorf("%s: relay replay = %+v", name, got)
		}
		// The brokers may stand in the file, or in the environment.
		cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": url, "KAFKA_BROKERS": at}))
		cmd.SetArgs([]string{"relay", "replay", relay, "--domain", "shop", "--kafka-config", file})
		if code := cli.Execute(t.Context(), cmd); code != 0 {
			t.Errorf("%s: relay replay with KAFKA_BROKERS = %d", name, code)
		}
	}
	at := start("kafka.example")
	file := secretFile(t, fmt.Sprintf("bootstrap.servers=%s\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=ada\nsasl.password=pa=ss#word\nssl.ca.location=%s\n", at, ca.File(t)), 0o600)
	got := run(t, url, []string{"relay", "replay", "127001", "--kafka-config", file})
	if want := "broker " + at + " has a certificate of another name: "; got.Code != 1 || !strings.Contains(got.Stderr, want) {
		t.Errorf("relay replay = %+v, want %s", got, want)
	}
}

// What is wrong with a file is told by line and key, never with a value.
func TestKafkaConfigIsRefused(t *testing.T) {
	t.Parallel()
	const known = "bootstrap.servers, client.id, sasl.mechanism, sasl.mechanisms, sasl.password, sasl.username, security.protocol, ssl.ca.location, ssl.certificate.location, ssl.endpoint.identification.algorithm, ssl.key.location"
	const sasl = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=ada\nsasl.password=s3cr3t\n"
	for text, want := range map[string]string{
		"sasl.password s3cr3t":                           "line 1 (which is not shown): want key=value, such as security.protocol=SASL_SSL",
		"# \nsasl.password:s3cr3t=":                      "line 2 (which is not shown): want key=value, such as security.protocol=SASL_SSL",
		"sasl.jaas.config=s3cr3t":                        "line 1: unknown key sasl.jaas.config, want one of " + known,
		"ssl.key.password=s3cr3t":                        "line 1: ssl.key.password is not supported: give a key that is not encrypted, in a file that its owner alone can read",
		"sasl.mechanism=PLAIN\nsasl.mechanisms=PLAIN":    "line 2: sasl.mechanism is set twice",
		"sasl.password=":                                 "line 1: sasl.password has no value",
		"security.protocol=s3cr3t":                       "security.protocol: want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
		"sasl.password=s3cr3t":                           "sasl.password has no effect with security.protocol=PLAINTEXT: want one with SASL",
		"ssl.ca.location=s3cr3t":                         "ssl.ca.location has no effect with security.protocol=PLAINTEXT: want one with SSL",
		"security.protocol=SASL_SSL":                     "sasl.mechanism is missing, which security.protocol=SASL_... needs",
		strings.Replace(sasl, "PLAIN\n", "s3cr3t\n", 1):  "sasl.mechanism: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
		"security.protocol=SSL\nssl.ca.location=/s3cr3t": "ssl.ca.location: no such file or directory",
		"security.protocol=SSL\nssl.ca.location=" + secretFile(t, "s3cr3t", 0o600):                              "ssl.ca.location: the file has no certificate, want PEM",
		"security.protocol=SSL\nssl.key.location=s3cr3t":                                                        "ssl.certificate.location and ssl.key.location: want both or none",
		"security.protocol=SSL\nssl.certificate.location=/s3cr3t\nssl.key.location=/s3cr3t":                     "ssl.key.location: no such file or directory",
		"security.protocol=SSL\nssl.certificate.location=/s3cr3t\nssl.key.location=" + secretFile(t, "", 0o644): "ssl.key.location: everybody can read the file (mode 0644), and it holds a secret: chmod o-r",
		"security.protocol=SSL\nssl.endpoint.identification.algorithm=s3cr3t":                                   "ssl.endpoint.identification.algorithm: want https or none",
	} {
		file := secretFile(t, text, 0o640)
		check(t, run(t, "", []string{"relay", "replay", "--brokers", "127.0.0.1:1", "--kafka-config", file}), result{Code: 2, Stderr: "annals: relay replay: --kafka-config " + file + ": " + want + "\n"})
	}
	file := secretFile(t, sasl, 0o644)
	check(t, run(t, "", []string{"relay", "replay", "--brokers", "127.0.0.1:1", "--kafka-config", file}), result{Code: 2, Stderr: "annals: relay replay: --kafka-config " + file + ": everybody can read the file (mode 0644), and it holds a secret: chmod o-r\n"})
	check(t, run(t, "", []string{"relay", "replay", "--brokers", "127.0.0.1:1", "--kafka-config", "/nowhere"}), result{Code: 2, Stderr: "annals: relay replay: --kafka-config: open /nowhere: no such file or directory\n"})
}
