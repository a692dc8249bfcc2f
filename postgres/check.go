package postgres

import (
	"context"
	"errors"
	"fmt"
)

// ErrSetup is matched by *SetupError.
var ErrSetup = errors.New("unsafe setup")

// SetupError says which setting of the server or the schema breaks what Annals
// promises.
type SetupError struct {
	Schema string
	What   string
	Got    string
	Want   string
	Remedy string // a statement, or what to look at
}

func (e *SetupError) Error() string {
	return fmt.Sprintf("check schema %s: %s is %s, want %s: %s", e.Schema, e.What, e.Got, e.Want, e.Remedy)
}

// Is reports whether target is ErrSetup.
func (e *SetupError) Is(target error) bool { return target == ErrSetup }

const (
	migratedSQL = `SELECT coalesce(max(version), 0) FROM {{schema}}.migrations`

	// Index: events_pkey for the highest position; catalogs. Lock: none.
	setupSQL = `
SELECT current_setting('server_version_num')::integer / 10000,
       current_setting('default_transaction_isolation'),
       current_setting('session_replication_role'),
       pg_is_in_recovery(),
       (SELECT m.position FROM {{schema}}.published_mark m),
       q.seqincrement,
       q.seqcache,
       q.seqmax,
       q.seqcycle,
       coalesce(pg_sequence_last_value(q.seqrelid), 0),
       (SELECT coalesce(max(e.position), 0) FROM {{schema}}.events e),
       coalesce((SELECT t.tgenabled::text
                 FROM pg_trigger t
                 WHERE t.tgrelid = '{{schema}}.events'::regclass
                   AND t.tgname = 'events_mark_append'), 'missing'),
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer
           - coalesce(current_setting('reserved_connections', true), '0')::integer,
       coalesce(inet_server_port(), 0)
FROM pg_sequence q
WHERE q.seqrelid = '{{schema}}.events_position_seq'::regclass`
)

// Check asks the server whether it can keep what Annals promises; call it when
// a service starts. It looks at the schema's version, the server's version, the
// default isolation level, the sequence that positions are drawn from, the
// trigger that marks appends, and the size of the pool. A schema with more steps, migrated by a newer
// program, is fine. A replica is fine if its primary publishes marks.
//
// Errors: ErrNotMigrated, and a *SetupError for each setting that is unsafe.
func (d *DB) Check(ctx context.Context) error {
	all, err := d.migrations()
	if err != nil {
		return err
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var have int
	err = d.pool.QueryRow(ctx, d.sql(migratedSQL)).Scan(&have)
	if hasCode(err, codeUndefinedTable, codeInvalidSchema) {
		have, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("check schema %s: %w", d.schema, late(ctx, err))
	}
	if want := all[len(all)-1].Version; have < want {
		return fmt.Errorf("check schema %s: at version %d, want %d, run annals migrate: %w", d.schema, have, want, ErrNotMigrated)
	}
	return d.checkSetup(ctx)
}

func (d *DB) checkSetup(ctx context.Context) error {
	var (
		version                  int
		isolation, role, trigger string
		increment, cache, most   int64
		lastDrawn, lastVisible   int64
		cycles, replica          bool
		mark                     int64
		connections, port        int
		problems                 []error
	)
	err := d.pool.QueryRow(ctx, d.sql(setupSQL)).Scan(&version, &isolation, &role, &replica, &mark, &increment, &cache, &most, &cycles, &lastDrawn, &lastVisible, &trigger, &connections, &port)
	if err != nil {
		return fmt.Errorf("check schema %s: %w", d.schema, missing(late(ctx, err)))
	}
	want := func(ok bool, what string, got, want any, remedy string) {
		if !ok {
			problems = append(problems, &SetupError{d.schema, what, fmt.Sprint(got), fmt.Sprint(want), d.config.sql(remedy)})
		}
	}
	const sequence = "ALTER SEQUENCE {{schema}}.events_position_seq "
	want(version >= MinServerVersion, "the version of Postgres", version, fmt.Sprint(MinServerVersion, " or newer"), "upgrade the server")
	want(isolation == "read committed", "default_transaction_isolation", isolation, "read committed", "change it for the role, the database or the pool's connections")
	want(role != "replica", "session_replication_role", role, "origin", "it switches off the trigger events_mark_append: change it for the role, the database or the pool's connections")
	want(trigger == "O" || trigger == "A", "the trigger events_mark_append", triggerState(trigger), "enabled", "ALTER TABLE {{schema}}.events ENABLE TRIGGER events_mark_append, or migrate a new schema if it is missing")
	want(increment == 1, "the increment of events_position_seq", increment, 1, sequence+"INCREMENT BY 1")
	want(cache == 1, "the cache of events_position_seq", cache, 1, sequence+"CACHE 1")
	want(most == maxPosition, "the maximum of events_position_seq", most, int64(maxPosition), sequence+fmt.Sprint("MAXVALUE ", int64(maxPosition)))
	want(!cycles, "events_position_seq", "cycling", "not cycling", sequence+"NO CYCLE")
	want(!replica || mark > 0 || lastVisible == 0, "the published mark", mark, "a position, because this server is a replica", "run PublishMark on the primary, or read there")
	want(lastDrawn >= lastVisible, "the last value of events_position_seq", lastDrawn, fmt.Sprint("at least ", lastVisible, ", the last position of the log"),
		fmt.Sprintf("SELECT setval('{{schema}}.events_position_seq', %d), after a look at how it was set back", lastVisible))
	pool := d.pool.Config()
	budget := int(pool.MaxConns)
	want(budget >= leastConnections, "MaxConns of the pool", budget, fmt.Sprint("at least ", leastConnections), "raise it: who holds a transaction open, and calls the store beside it, waits for itself")
	if !d.quiet {
		budget++ // Listen
	}
	if int(pool.ConnConfig.Port) == port { // else there is a pooler in between
		want(budget <= connections, "the connections of this process", budget, fmt.Sprint("at most ", connections, ", which the server allows"), "lower MaxConns of the pool, or raise max_connections")
	}
	return errors.Join(problems...)
}

// leastConnections is the smallest pool with which a handler may call the store
// beside its transaction.
const leastConnections = 2

// maxPosition fits beside the namespace in the key of a lock.
const maxPosition = 1<<48 - 1

func triggerState(s string) string {
	switch s {
	case "D":
		return "disabled"
	case "R":
		return "enabled for replication only"
	}
	return s
}
