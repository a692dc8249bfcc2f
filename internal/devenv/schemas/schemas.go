// Package schemas gives examples, tests and demos a schema registry without an installation step.
//
// # Usage
//
// [Start] takes the registry that SCHEMA_REGISTRY_URL names. Without it, it starts one in this process, that of
// package internal/registry, and returns its address:
//
//	r, err := schemas.Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	registry, err := avro.NewClient(sr.URLs(r.URL))
//
// # Promises
//
// The registry started here speaks HTTP on a free port of 127.0.0.1 and checks compatibility: the code that uses it is
// the code that runs against a real one. Close leaves no goroutine and no port behind.
//
// # No promises
//
// It keeps everything in memory until Close, unless it was started by [StartOn]. Anybody on this machine may use it; TLS
// is off. What it does otherwise than the registry of Confluent stands in package internal/registry. A registry from
// SCHEMA_REGISTRY_URL is not started, emptied or stopped, and its URL may hold a password: do not print it.
//
// # Testing
//
// A registry starts in milliseconds: start one per test.
package schemas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/internal/registry"
)

// Registry is a schema registry to use until Close. Safe for concurrent use.
type Registry struct {
	// URL is where it is, http://host:port.
	URL string

	// External means that SCHEMA_REGISTRY_URL named the registry: Close leaves it alone.
	External bool

	stop  context.CancelFunc // nil when External
	ended chan struct{}      // closed when the server has ended
}

// Start returns the registry that SCHEMA_REGISTRY_URL names, else starts one. It connects to no registry. The registry
// runs until Close.
func Start(ctx context.Context) (*Registry, error) {
	return start(ctx, os.Getenv("SCHEMA_REGISTRY_URL"))
}

// StartEmbedded starts a registry in this process whatever SCHEMA_REGISTRY_URL says, for tests that delete what they
// find.
func StartEmbedded(ctx context.Context) (*Registry, error) { return start(ctx, "") }

// StartOn starts a registry in this process that keeps schemas in the Postgres schema annals_registry of a database, and
// makes it if need be. The next registry of the database has them. The pool must outlive the registry.
func StartOn(ctx context.Context, pool *pgxpool.Pool) (*Registry, error) {
	return serve(ctx, registry.Postgres(pool))
}

func start(ctx context.Context, external string) (*Registry, error) {
	if external != "" {
		u, err := url.Parse(external)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// Not shown: it may hold a password.
			return nil, errors.New("start schema registry: SCHEMA_REGISTRY_URL is not of the form https://host:port")
		}
		return &Registry{URL: external, External: true}, nil
	}
	return serve(ctx, registry.Memory())
}

func serve(ctx context.Context, store registry.Store) (*Registry, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start schema registry: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start schema registry: %w", err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Registry{URL: "http://" + listener.Addr().String(), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		if err := registry.New(store).Serve(serving, listener); err != nil {
			slog.Default().Error("schema registry has stopped", "error", err)
		}
	}()
	return r, nil
}

// Close stops the registry and forgets its schemas, unless they are in a database. Requests in flight have 5 s to end.
// It may be called more than once, from any goroutine. It does nothing to an external registry.
func (r *Registry) Close() {
	if r.stop == nil {
		return
	}
	r.stop()
	<-r.ended
}
