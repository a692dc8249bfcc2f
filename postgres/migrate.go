package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"strconv"
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
// behind, and several at once take turns.
//
// It may run while services append and read. Appends queue behind a step that
// waits for a lock, so it waits for at most 300 ms, and tries again after a
// moment, for up to 15 s; then it returns a *BlockedError, which names who holds
// the lock. Run it again: it goes on with the step that it stopped at. For its
// turn among migrators it waits up to 30 s.
//
// Where there is nothing to do it needs no right but to read the schema, so a
// service may call it at each start. Else it needs the right to create the
// schema, or to act as its owner: in a store with roles, to be a member of the
// owning role, which then owns what is made. If the roles of GrantRoles have
// rights in the schema, the last step grants them what is new.
//
// Errors: ErrBlocked.
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
	var versions []int
	for _, m := range all {
		versions = append(versions, m.Version)
	}
	var complete bool
	if err := db.QueryRow(ctx, c.sql(completeSQL), versions).Scan(&complete); err == nil && complete {
		return nil, nil // else the steps say what is wrong
	}
	var applied []Migration
	for i, m := range all {
		var fresh bool
		err := c.patiently(ctx, db, func(ctx context.Context, tx pgx.Tx) (err error) {
			fresh, err = c.step(ctx, tx, m, i == len(all)-1)
			return err
		})
		if err != nil {
			return applied, fmt.Errorf("migrate schema %s: %s: %w", c.schema, m.Name, err)
		}
		if fresh {
			applied = append(applied, m)
		}
	}
	return applied, nil
}

// step applies m unless the schema has it. The last step of all grants the roles
// what the steps have made.
func (c config) step(ctx context.Context, tx pgx.Tx, m Migration, last bool) (fresh bool, err error) {
	if _, err := tx.Exec(ctx, c.sql(bookkeeping)); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, c.sql(noteStepSQL), m.Version, m.Name)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	if _, err := tx.Exec(ctx, m.SQL); err != nil {
		return false, err
	}
	if !last {
		return true, nil
	}
	var granted bool
	if err := tx.QueryRow(ctx, hasRolesSQL, c.schema, c.role(RoleRead)).Scan(&granted); err != nil || !granted {
		return true, err
	}
	_, err = tx.Exec(ctx, c.grants())
	return true, err
}

// completeSQL needs no right but to read the table.
const completeSQL = `
SELECT count(*) = cardinality($1::integer[])
FROM {{schema}}.migrations
WHERE version = ANY ($1)`

const noteStepSQL = `
INSERT INTO {{schema}}.migrations (version, name)
VALUES ($1, $2)
ON CONFLICT DO NOTHING`

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
	out := make([]Migration, 0, len(files)+len(c.later))
	for _, f := range files { // Glob sorts
		text, err := migrationFiles.ReadFile(f)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f, "migrations/"), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		out = append(out, Migration{Version: version, Name: name, SQL: c.sql(dropConflicts(string(text)))})
	}
	for _, m := range c.later {
		m.SQL = c.sql(m.SQL)
		out = append(out, m)
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
