package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/internal/registry"
)

// serveFlags are those of schema serve.
type serveFlags struct {
	listen   listenFlag
	network  bool
	postgres bool
}

func (a *app) schemaServe() *cobra.Command {
	f := serveFlags{listen: listenFlag{"127.0.0.1", "8081"}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a schema registry for development",
		Long: `Run a schema registry for development, with the REST interface of Confluent, until it is interrupted. It checks
compatibility for real, by BACKWARD_TRANSITIVE unless it is told otherwise. It prints its URL when it can be asked.

It is not for production: everybody who reaches it may do everything, and there is no TLS. So it listens on this
machine alone, unless --allow-network is given. In production the same programs use the registry of Confluent, Apicurio
or Redpanda, by its URL.

It forgets everything when it ends. With --postgres it keeps schemas in the database, in the Postgres schema
annals_registry, which it makes if need be; what is deleted there, or left out of a backup, makes events unreadable.
--timeout bounds the start.

  annals schema serve
  annals schema serve --listen 127.0.0.1:0 --postgres`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return a.serveSchemas(ctx, cmd, f)
		}),
	}
	cmd.Flags().Var(&f.listen, "listen", "address to listen on; port 0 takes any that is free")
	cmd.Flags().BoolVar(&f.network, "allow-network", false, "listen on addresses that other machines reach, too, without authorization and TLS")
	cmd.Flags().BoolVar(&f.postgres, "postgres", false, "keep schemas in the database, and not in memory")
	return cmd
}

func (a *app) serveSchemas(ctx context.Context, cmd *cobra.Command, f serveFlags) error {
	if !f.network && !f.listen.loopback() {
		return usage(fmt.Errorf("--listen: other machines reach %v, and the registry has no authorization and no TLS: want an address such as 127.0.0.1:%s, or --allow-network", f.listen, f.listen.port))
	}
	if cmd.Flags().Changed("database-url") && !f.postgres {
		return usage(errors.New("--database-url: want --postgres, too: without it schemas are kept in memory"))
	}
	store, done, err := a.schemaStore(ctx, f)
	if err != nil {
		return err
	}
	defer done()
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", f.listen.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("serve schemas: %v is in use: end what listens there, or give another address with --listen (port 0 takes any that is free)", f.listen)
	case err != nil:
		return fmt.Errorf("serve schemas: %w", err)
	}
	if err := a.serving(cmd, listener, f); err != nil {
		return errors.Join(err, listener.Close())
	}
	return registry.New(store, registry.WithLogger(a.logger(cmd.ErrOrStderr()))).Serve(ctx, listener)
}

// schemaStore returns where schemas are kept, once it can be read, and what ends its use.
func (a *app) schemaStore(ctx context.Context, f serveFlags) (registry.Store, func(), error) {
	if !f.postgres {
		return registry.Memory(), func() {}, nil
	}
	opening, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	pool, done, err := a.pool(opening)
	if err != nil {
		return nil, nil, a.explain(opening, err)
	}
	store := registry.Postgres(pool)
	if err := store.View(opening, func(registry.Tx) error { return nil }); err != nil {
		done()
		return nil, nil, a.explain(opening, fmt.Errorf("serve schemas: %w", err))
	}
	return store, done, nil
}

// servingRecord says where the registry is.
type servingRecord struct {
	URL string `json:"url"`
}

// serving prints where the registry is, and warns.
func (a *app) serving(cmd *cobra.Command, listener net.Listener, f serveFlags) error {
	kept := "in memory until it ends"
	if f.postgres {
		kept = "in the Postgres schema annals_registry"
	}
	who := "this machine"
	if !f.listen.loopback() {
		who = "the network"
	}
	if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "a schema registry for development, not for production: no authorization, no TLS, open to %s; schemas are kept %s\n", who, kept); err != nil {
		return err
	}
	r := servingRecord{"http://" + listener.Addr().String()}
	if a.output.value != "json" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), r.URL)
		return err
	}
	p := a.printer(cmd)
	if err := p.object(r); err != nil {
		return err
	}
	return p.flush()
}

// logger writes errors of a server to w, without secrets and fit for a terminal.
func (a *app) logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
		err, ok := attr.Value.Any().(error)
		if !ok {
			return attr
		}
		if err = a.report(err); err == nil {
			return slog.Attr{}
		}
		return slog.String(attr.Key, err.Error())
	}}))
}

// listenFlag is an address to listen on.
type listenFlag struct{ host, port string }

func (f *listenFlag) Set(s string) error {
	host, port, err := net.SplitHostPort(s)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return errors.New("want host:port, such as 127.0.0.1:8081")
	}
	if host == "localhost" {
		host = "127.0.0.1" // whatever a resolver says
	}
	f.host, f.port = host, port
	return nil
}

func (f listenFlag) String() string { return net.JoinHostPort(f.host, f.port) }
func (listenFlag) Type() string     { return "host:port" }

// loopback reports whether no network leads there. A name that has to be looked up may lead
// anywhere.
func (f listenFlag) loopback() bool {
	address, err := netip.ParseAddr(f.host)
	return err == nil && address.IsLoopback()
}
