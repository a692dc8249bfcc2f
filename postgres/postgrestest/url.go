package postgrestest

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// withDatabase returns the connection string with another database in it. Both
// forms that libpq knows are read: a URL, and key=value words, of which the
// last of a key counts.
func withDatabase(conn, name string) (string, error) {
	if !strings.HasPrefix(conn, "postgres://") && !strings.HasPrefix(conn, "postgresql://") {
		return conn + " dbname=" + name, nil
	}
	u, err := url.Parse(conn)
	if err != nil {
		// The text of the error would hold the password.
		return "", fmt.Errorf("connection string is no URL")
	}
	u.Path = "/" + name
	out := u.String()
	if _, err := pgx.ParseConfig(out); err != nil {
		return "", err
	}
	return out, nil
}
