package cli

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"
)

// checkConnection returns a finding for a connection over a network that others could read,
// or that could lead to another server.
func checkConnection(c *pgx.ConnConfig) error {
	switch {
	case isLocal(c.Host):
		return nil
	case c.TLSConfig == nil:
		return fmt.Errorf("the connection to %s is not encrypted: set sslmode=verify-full, and sslrootcert to the authority of the server", c.Host)
	case c.TLSConfig.InsecureSkipVerify:
		return fmt.Errorf("the connection to %s may be to another server, whose certificate or name is not verified: set sslmode=verify-full, and sslrootcert to the authority of the server", c.Host)
	}
	return nil
}

// isLocal reports a host that no network leads to: a socket, or a loopback address.
func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
