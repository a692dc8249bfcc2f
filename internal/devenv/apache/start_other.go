//go:build !unix || aix || solaris

package apache

import (
	"context"
	"fmt"
	"runtime"
)

type nodes struct{ super interface{ close() error } }

func (*nodes) kill(int) error                     { return errNotOurs }
func (*nodes) stop(context.Context, int) error    { return errNotOurs }
func (*nodes) restart(context.Context, int) error { return errNotOurs }
func (*nodes) freeze(int) error                   { return errNotOurs }
func (*nodes) thaw(int) error                     { return errNotOurs }

func start(context.Context, Config) (*Cluster, error) {
	return nil, fmt.Errorf("no broker can be started on %s: set KAFKA_BROKERS", runtime.GOOS)
}

// Jars fetches nothing on this system.
func Jars(context.Context, string, ...string) (string, error) {
	return "", fmt.Errorf("no jars are fetched on %s", runtime.GOOS)
}

// Java finds none on this system.
func Java(context.Context) (string, error) {
	return "", fmt.Errorf("no java is run on %s", runtime.GOOS)
}

func startApicurio(context.Context, env) (*Apicurio, error) {
	return nil, fmt.Errorf("it cannot be started on %s", runtime.GOOS)
}
