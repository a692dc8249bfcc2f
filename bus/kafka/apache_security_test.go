package kafka_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/internal/devenv/apache"
	"github.com/annals-go/annals/internal/testcert"
)

// TestApacheSecurity: Apache Kafka with a listener of SASL_SSL that wants certificates of
// clients, SCRAM users and ACLs: accounts with the rights of docs/security.md do all that they
// have to, and whoever is not let in is told why.
func TestApacheSecurity(t *testing.T) {
	t.Parallel()
	ca, other := testcert.New(t, "ours"), testcert.New(t, "theirs")
	read := func(file string) []byte {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	cert, key := testcert.Files(t, ca.Server(t))
	var users []string
	for _, user := range []string{"ledger", "consumer", "stranger"} {
		users = append(users, "--add-scram", "SCRAM-SHA-512=[name="+user+",password=secret-"+user+"]")
	}
	c, err := apache.Start(t.Context(), apache.Config{
		Own: true, Protocol: "SASL_SSL", Format: users,
		Files: map[string][]byte{"server.pem": slices.Concat(read(key), read(cert)), "ca.pem": read(ca.File(t))},
		Properties: map[string]string{
			"authorizer.class.name":   "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":             "User:ANONYMOUS", // of the inner listener
			"sasl.enabled.mechanisms": "SCRAM-SHA-512",
			"listener.name.clients.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.clients.ssl.client.auth":                "required",
			"ssl.keystore.type":                                    "PEM",
			"ssl.keystore.location":                                "DIR/server.pem",
			"ssl.truststore.type":                                  "PEM",
			"ssl.truststore.location":                              "DIR/ca.pem",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	root, err := kgo.NewClient(kgo.SeedBrokers(c.Inner...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	grant(t, kadm.NewClient(root))

	as := func(user string) []kgo.Opt {
		return []kgo.Opt{
			kgo.SeedBrokers(c.Seeds...), kgo.DialTLSConfig(ca.Client(ca.User(t, user))),
			kgo.SASL(scram.Auth{User: user, Pass: "secret-" + user}.AsSha512Mechanism()),
		}
	}
	for kind, protocol := range map[string][]kgo.Opt{"consumer": nil, "classic": {kgo.Balancers(kgo.CooperativeStickyBalancer())}} {
		t.Run(kind, func(t *testing.T) {
			throughAll(t, as("ledger"), as("consumer"), protocol)
		})
	}
	tls := func(opts ...kgo.Opt) []kgo.Opt { return append(opts, kgo.SeedBrokers(c.Seeds...)) }
	mechanism := kgo.SASL(scram.Auth{User: "ledger", Pass: "s3cr3t"}.AsSha512Mechanism())
	for name, refused := range map[string]struct {
		opts []kgo.Opt
		want string
	}{
		"wrong password":        {tls(kgo.DialTLSConfig(ca.Client(ca.User(t, "x"))), mechanism), `refuses user "ledger" by SCRAM-SHA-512: SASL_AUTHENTICATION_FAILED: `},
		"another mechanism":     {tls(kgo.DialTLSConfig(ca.Client(ca.User(t, "x"))), kgo.SASL(scram.Auth{User: "ledger", Pass: "s3cr3t"}.AsSha256Mechanism())), "does not take SCRAM-SHA-256: UNSUPPORTED_SASL_MECHANISM: "},
		"no credentials":        {tls(kgo.DialTLSConfig(ca.Client(ca.User(t, "x")))), "ends the connection before the first answer: check that its port is one for TLS, and whether it wants a certificate or SASL"},
		"plaintext":             {tls(mechanism), "ends the connection before the first answer: check whether its port is one for TLS (kgo.DialTLSConfig), or wants SASL (kgo.SASL)"},
		"unknown authority":     {tls(kgo.DialTLSConfig(other.Client()), mechanism), "has a certificate of an authority that is not trusted: "},
		"no client certificate": {tls(kgo.DialTLSConfig(ca.Client()), mechanism), "refuses the connection: remote error: tls: "},
		"TLS to plaintext":      {[]kgo.Opt{kgo.SeedBrokers(c.Inner...), kgo.DialTLSConfig(ca.Client())}, "ends the connection before the first answer: check that its port is one for TLS, and whether it wants a certificate or SASL"},
	} {
		for call, err := range allCalls(t, refused.opts) {
			var access *kafka.AccessError
			if !errors.As(err, &access) || !strings.Contains(err.Error(), refused.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s, %s = %v, want one that says: %s", name, call, err, refused.want)
			}
		}
	}
	for call, err := range allCalls(t, as("stranger")) {
		if call == "Publish" && (err == nil || !strings.Contains(err.Error(), "the account lacks an ACL of the topic")) {
			t.Errorf("%s of a stranger = %v", call, err)
		}
	}
}

// grant makes the ACLs of docs/security.md.
func grant(t *testing.T, admin *kadm.Client) {
	t.Helper()
	for _, acl := range []*kadm.ACLBuilder{
		kadm.NewACLs().Allow("User:ledger").AllowHosts().Topics("shop.").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpCreate, kadm.OpDescribe, kadm.OpDescribeConfigs, kadm.OpRead, kadm.OpWrite),
		kadm.NewACLs().Allow("User:ledger").AllowHosts().TransactionalIDs("shop.cursor.").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpDescribe, kadm.OpWrite),
		kadm.NewACLs().Allow("User:consumer").AllowHosts().Topics("shop.").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpDescribe, kadm.OpRead),
		kadm.NewACLs().Allow("User:consumer").AllowHosts().Groups("shop.").ResourcePatternType(kadm.ACLPatternPrefixed).
			Operations(kadm.OpRead),
	} {
		results, err := admin.CreateACLs(t.Context(), acl)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}
