package cli_test

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/postgres"
)

// No command prints a secret, whatever it is given and whether it succeeds: not the password
// of the database, not that of the brokers, not a key.
func TestNoCommandTellsSecrets(t *testing.T) {
	t.Parallel()
	const dsn, sasl, pem = "M4RK-DSN", "M4RK-SASL", "M4RK-KEY"
	_, admin := serviceOf(t, postgres.RoleRead)
	config := admin.Config().ConnConfig
	login := fmt.Sprintf("marked_%d", os.Getpid())
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'", login, dsn)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.Exec(t.Context(), "DROP ROLE "+login) })
	good := (&url.URL{Scheme: "postgres", User: url.UserPassword(login, dsn), Host: fmt.Sprintf("%s:%d", config.Host, config.Port), Path: config.Database, RawQuery: "sslmode=disable"}).String()
	wrong := strings.Replace(good, dsn, "wrong-"+dsn, 1)

	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", "another"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	refused := secretFile(t, "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.username=ada\nsasl.password="+sasl+"\nbootstrap.servers="+c.ListenAddrs()[0], 0o600)
	mangled := secretFile(t, "sasl.password "+sasl+"\n", 0o600)
	key := secretFile(t, "-----BEGIN PRIVATE KEY-----\n"+pem+"\n-----END PRIVATE KEY-----\n", 0o600)
	badKey := secretFile(t, "security.protocol=SSL\nssl.certificate.location="+key+"\nssl.key.location="+key, 0o600)

	var commands [][]string
	for _, output := range []string{"table", "json"} {
		for _, words := range []string{
			"migrate --status", "roles --print", "doctor", "doctor --privileges", "status", "parked ls", "relay ls", "relay replay main --brokers 127.0.0.1:1",
			"relay replay main --kafka-config " + refused, "relay replay main --kafka-config " + mangled, "relay replay main --kafka-config " + badKey,
			"rewind relay/main --kafka-config " + refused, "rewind projection/none --to 0", "doctor --elsewhere " + wrong,
			"verify", "stream ls", "stream show order-1", "log", "log --follow --limit 0", "export", "import " + good, "schema serve --postgres --listen " + c.ListenAddrs()[0], "version", "nosuch", "status --nosuch " + good, good,
		} {
			commands = append(commands, append(strings.Fields(words), "--output", output, "--timeout", "5s"))
		}
	}
	for _, database := range []string{good, wrong, "host=127.0.0.1 port=1 user=u dbname=d password=" + dsn, "postgres://u:" + dsn + "@127.0.0.1:1/d?sslmode=nosuch", ""} {
		for _, args := range commands {
			var out strings.Builder
			cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": database}))
			cmd.SetArgs(args)
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			cmd.SetIn(strings.NewReader(""))
			cli.Execute(t.Context(), cmd)
			if strings.Contains(out.String(), "M4RK") {
				t.Errorf("annals %s tells a secret: %s", strings.Join(args, " "), out.String())
			}
		}
	}
}
