package cli

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/internal/testcert"
)

func TestCheckConnection(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours").File(t)
	const remedy = ": set sslmode=verify-full, and sslrootcert to the authority of the server"
	const unverified = "the connection to db.example may be to another server, whose certificate or name is not verified" + remedy
	for dsn, want := range map[string]string{
		"host=db.example sslmode=disable":                        "the connection to db.example is not encrypted" + remedy,
		"host=db.example sslmode=prefer":                         unverified,
		"host=db.example sslmode=require":                        unverified,
		"host=db.example sslmode=verify-ca sslrootcert=" + ca:    unverified,
		"host=db.example sslmode=verify-full sslrootcert=" + ca:  "",
		"host=127.0.0.1 sslmode=disable":                         "",
		"host=::1 sslmode=disable":                               "",
		"host=localhost sslmode=disable":                         "",
		"host=/var/run/postgresql sslmode=disable":               "",
		"host=10.0.0.1 user=ada password=s3cr3t sslmode=disable": "the connection to 10.0.0.1 is not encrypted" + remedy,
	} {
		c, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := checkConnection(c); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", dsn, got, want)
		}
	}
}
