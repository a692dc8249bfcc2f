package devenv

import (
	"fmt"
	"net"
)

// freePorts returns eight loopback ports that nobody listened on a moment ago. Another process may take one before
// the server does, which is why there are several.
func freePorts() ([]int, error) {
	var ports []int
	for range 8 {
		l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // binding a loopback port does not wait
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// Held until all are known, or the kernel could name the same port twice.
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
