package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/internal/sabotage"
)

// DefaultSchema is the Postgres schema that Annals lives in unless WithSchema
// names another.
const DefaultSchema = "annals"

// Migrations go forward only. A file that has shipped never changes.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int
	Name    string // such as "001_events"
	SQL     string // for the configured schema
}

// Conn is what Migrate needs: a *pgx.Conn, a *pgxpool.Pool or a *pgxpool.Conn.
type Conn interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ErrNotMigrated says that the schema of the store is missing or older than this
// program. Run Migrate, or annals migrate.
var ErrNotMigrated = errors.New("schema is not migrated")

// MinServerVersion is the oldest Postgres that Annals runs on.
const MinServerVersion = 15

// Migrations returns all steps for the configured schema, in order.
func Migrations(opts ...Option) ([]Migration, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	return c.migrations()
}

// Migrate brings the schema up to date and returns the steps that it applied.
// Each step is one transaction, so a migrator that is killed leaves whole steps
// behind, and several at once take turns. It waits at most 5 s for a lock,
// rather than make every append queue behind it, and then returns an error; run
// it again. It needs the right to create the schema, or an existing schema with
// the right to create in it.
func Migrate(ctx context.Context, db Conn, opts ...Option) ([]Migration, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	all, err := c.migrations()
	if err != nil {
		return nil, err
	}
	var server int
	if err := db.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000`).Scan(&server); err != nil {
		return nil, fmt.Errorf("migrate schema %s: %w", c.schema, err)
	}
	if server < MinServerVersion {
		return nil, fmt.Errorf("migrate schema %s: server is Postgres %d, want %d or newer", c.schema, server, MinServerVersion)
	}
	var applied []Migration
	for _, m := range all {
		fresh, err := c.apply(ctx, db, m)
		if err != nil {
			return applied, fmt.Errorf("migrate schema %s: %s: %w", c.schema, m.Name, err)
		}
		if fresh {
			applied = append(applied, m)
		}
	}
	return applied, nil
}

func (c config) apply(ctx context.Context, db Conn, m Migration) (fresh bool, err error) {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return false, err
	}
	defer rollback(ctx, tx)
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '5s'`); err != nil {
		return false, err
	}
	// One migrator at a time, in this schema. The key is apart from the marks of
	// the log: 16 bits of namespace, then no position but -1.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(c.namespace)<<48|(1<<48-1)); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, c.sql(bookkeeping)); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, c.sql(`INSERT INTO {{schema}}.migrations (version, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`), m.Version, m.Name)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	if _, err := tx.Exec(ctx, m.SQL); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}

const bookkeeping = `
DO $$
BEGIN
    IF to_regnamespace('{{schema}}') IS NULL THEN
        CREATE SCHEMA {{schema}};
    END IF;
    CREATE TABLE IF NOT EXISTS {{schema}}.migrations (
        version    integer     NOT NULL,
        name       text        COLLATE "C" NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT migrations_pkey PRIMARY KEY (version)
    );
END
$$`

func (c config) migrations() ([]Migration, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := make([]Migration, 0, len(files))
	for i, f := range files { // Glob sorts
		text, err := migrationFiles.ReadFile(f)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f, "migrations/"), ".sql")
		out = append(out, Migration{Version: i + 1, Name: name, SQL: c.sql(dropConflicts(string(text)))})
	}
	return out, nil
}

// dropConflicts breaks append_v1 in a build that is broken on purpose, and is
// the identity in every other.
func dropConflicts(text string) string {
	if sabotage.DropConflicts {
		text = strings.NewReplacer(
			"IF given = 1 AND NOT in_look_up THEN", "IF false THEN",
			"ORDER BY g.place\n        RETURNING position\n", "ORDER BY g.place\n        ON CONFLICT DO NOTHING\n        RETURNING position\n",
			"count(*), max(w.position)", "given, coalesce(max(w.position), 1)",
		).Replace(text)
	}
	return text
}

// Lower case only, so that a name means the same quoted and unquoted.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// sql fills the schema and the lock namespace into a statement. The name is
// quoted, because it may be a word of the language.
func (c config) sql(text string) string {
	return strings.NewReplacer("{{schema}}", `"`+c.schema+`"`, "{{namespace}}", fmt.Sprint(c.namespace)).Replace(text)
}

// namespace is the upper 16 bits of the lock keys of a schema: never 0, where
// small keys of other programs lie, and never negative. Two schemas with one
// namespace would wait for each other's appends, and lose nothing.
func namespace(schema string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte("annals:" + schema))
	return 1 + int(h.Sum32()%(1<<15-1))
}
