// Package postgres implements the event store, the log, the checkpoints and the
// snapshots on PostgreSQL 15 or newer. Every SQL statement of Annals is in this package,
// because appends, checkpoints and read models share transactions.
//
// # Usage
//
//	pool, err := pgxpool.New(ctx, url)
//	_, err = postgres.Migrate(ctx, pool)
//	db := postgres.New(pool)
//
// The pool is the user's: Annals changes no setting of its connections, and a
// call takes one connection and holds it only for its own statements. In a
// transaction of the caller, db.Tx(tx) is the store.
//
// # Connections
//
// No call takes a second connection while it holds one. What a process takes
// from the pool at most: one for each call under way, of which the appends that
// gather in groups share two; one for each running worker; one for a notification
// after an append. Listen has one beside the pool. With fewer they take turns; two
// are the least, because a handler may call the store beside its transaction.
// Check compares the pool with that and with what the server allows.
//
// # Ordering
//
// Positions are drawn from a sequence, and transactions commit in another
// order than they draw. ReadLog hands out an event only when nothing can appear
// before it any more: a run of positions without a hole is final by itself, and
// at a hole the reader asks which transactions may still fill it (DESIGN.md has
// the proof). An open transaction that has appended delays readers of what
// comes after it; no other transaction does. A replica knows as much as the
// primary has published: run PublishMark where replicas are read.
//
// # Failure
//
// Append is one statement, so one commit. When its answer is lost it is sent
// again with the same ids until there is one. Every call ends when its context
// does, or WithCallTimeout says so. An append whose outcome is not known by then
// returns an error that matches eventstore.ErrOutcomeUnknown; Transact does the
// same for transactions of your own, and proves what became of its COMMIT. A
// connection that was given up is closed in the background; it counts in the pool
// until the server has answered that, or for 15 s.
//
// # Testing
//
// Package postgrestest gives each test a migrated database of its own.
package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

var (
	_ eventstore.Store       = (*DB)(nil)
	_ worker.Store[pgx.Tx]   = (*DB)(nil)
	_ worker.Classifier      = (*DB)(nil)
	_ bus.Contracts          = (*DB)(nil)
	_ bus.InboxStore[pgx.Tx] = (*DB)(nil)
	_ eventstore.Store       = txStore{}
	_ eventstore.Listener    = (*DB)(nil)
)

// DB is an event store in one schema of a database. It is safe for concurrent
// use and has nothing to close.
type DB struct {
	config
	pool       *pgxpool.Pool
	statements sync.Map // template to statement
	group      *group   // nil: each append is a statement of its own
	bound      tracker
	life       life
	signal     signal
	pages      pageSize
	buffers    sync.Pool // of *[]event.Recorded
}

type config struct {
	schema    string
	namespace int
	poll      time.Duration
	alone     bool // no groups
	quiet     bool // no notifications
	log       *slog.Logger
	roles     string        // what the names of roles begin with; empty: the schema
	patience  time.Duration // of a change of the schema, with locks
	later     []Migration   // of tests: steps after those of this release

	callTimeout time.Duration
	gate        eventstore.Gate // nil: none
}

// Option changes a DB.
type Option func(*config) error

// WithSchema sets the Postgres schema: lower-case letters, digits and
// underscores, at most 40. Default "annals". Several stores in one database
// need one each.
func WithSchema(name string) Option {
	return func(c *config) error {
		if !schemaName.MatchString(name) {
			return fmt.Errorf("option WithSchema: %q: want lower-case letters, digits and underscores, at most 40", name)
		}
		c.schema = name
		return nil
	}
}

// WithPollInterval sets how long a reader that has seen everything waits before
// it looks again. Appends of this process wake it at once, and those of others
// while Listen runs; the interval bounds the delay of what both have missed.
// Default 50 ms, at least 1 ms. Raise it when many idle readers load the server.
func WithPollInterval(d time.Duration) Option {
	return func(c *config) error {
		if d < time.Millisecond {
			return fmt.Errorf("option WithPollInterval: %v: want at least 1ms", d)
		}
		c.poll = d
		return nil
	}
}

// WithoutGroups makes each append a statement and a commit of its own. Default:
// appends of this process that are under way at the same time share them, which
// is several times faster from about 16 callers on. An append on its own waits
// for nobody in either case. Set it when the statements of each append must be
// told apart on the server.
func WithoutGroups() Option {
	return func(c *config) error {
		c.alone = true
		return nil
	}
}

// WithoutNotify stops appends from sending notifications to the readers of
// other processes, and Listen from connecting: readers then find the events of
// others when they poll. Default: one after an append, at most one every 10 ms,
// and none while nobody listens. Set it behind a pooler in transaction mode,
// where nobody hears it, and where Listen would leave its lock on a connection
// that others use.
func WithoutNotify() Option {
	return func(c *config) error {
		c.quiet = true
		return nil
	}
}

// WithRolePrefix sets what the names of the roles begin with: lower-case letters,
// digits and underscores, at most 40. Default: the name of the schema, as in
// annals_append. Roles belong to the whole cluster: set it where two databases of
// a cluster have stores in schemas of one name, whose services shall not have
// rights to each other's.
func WithRolePrefix(prefix string) Option {
	return func(c *config) error {
		if !schemaName.MatchString(prefix) {
			return fmt.Errorf("option WithRolePrefix: %q: want lower-case letters, digits and underscores, at most 40", prefix)
		}
		c.roles = prefix
		return nil
	}
}

// WithLogger sets where the store says that it cannot listen. Default
// slog.Default(). Everything else is returned as an error.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l == nil {
			return errors.New("option WithLogger: nil: want a logger")
		}
		c.log = l
		return nil
	}
}

func configure(opts []Option) (config, error) {
	c := config{schema: DefaultSchema, poll: 50 * time.Millisecond, log: slog.Default(), callTimeout: DefaultCallTimeout, patience: changePatience}
	for _, o := range opts {
		if err := o(&c); err != nil {
			return c, err
		}
	}
	c.namespace = namespace(c.schema)
	return c, nil
}

// New returns the store in the pool's database. It does no I/O; see Check. It
// panics if an option is out of its bounds, and names it.
func New(pool *pgxpool.Pool, opts ...Option) *DB {
	c, err := configure(opts)
	if err != nil {
		panic("postgres: " + err.Error())
	}
	d := &DB{config: c, pool: pool}
	d.bound.turn = make(chan struct{}, 1)
	d.signal.grown, d.signal.listener = make(chan struct{}), make(chan struct{}, 1)
	if !c.alone {
		d.group = newGroup(d)
	}
	return d
}

// sql is config.sql, made once for each template.
func (d *DB) sql(template string) string {
	if s, ok := d.statements.Load(template); ok {
		return s.(string)
	}
	s := d.config.sql(template)
	d.statements.Store(template, s)
	return s
}

// Schema returns the name of the Postgres schema.
func (d *DB) Schema() string { return d.schema }
