package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Role is one of the duties that a store knows. The role of the database is
// named after the schema, such as annals_append; see WithRolePrefix. None can log
// in: a service logs in with a role of its own, which is a member of those that it
// needs.
type Role string

// The roles. All but RoleOwner may read everything in the schema.
const (
	RoleRead   Role = "read"   // reads, and nothing else
	RoleAppend Role = "append" // appends, by the functions alone
	RoleWork   Role = "work"   // runs projections, relays and consumers: checkpoints, terms, what is parked, contracts, the inbox, the published mark
	RoleImport Role = "import" // copies events in: no position, no recorded time
	RoleOwner  Role = "owner"  // owns everything, and migrates
)

// serviceRoles are those of a service that appends, and runs its workers.
var serviceRoles = []Role{RoleAppend, RoleWork}

// rights are all that a role other than the owner has, one line for each kind of
// thing. A step that makes a table or function adds it here; what is not here
// nobody but the owner may do.
var rights = []struct {
	may string
	who []Role
}{
	{"USAGE ON SCHEMA {{schema}}", everybody},
	{"SELECT ON {{schema}}.migrations, {{schema}}.lineage, {{schema}}.events, {{schema}}.events_readable, {{schema}}.checkpoints, {{schema}}.published_mark", everybody},
	{"SELECT ON {{schema}}.terms, {{schema}}.members, {{schema}}.parked, {{schema}}.parked_items, {{schema}}.parked_audits", everybody},
	{"SELECT ON {{schema}}.topics, {{schema}}.inbox, {{schema}}.inbox_floors", everybody},
	// The last position drawn, for the bound and for Check. It draws none.
	{"SELECT ON SEQUENCE {{schema}}.events_position_seq", everybody},
	{"EXECUTE ON FUNCTION {{schema}}.readable, {{schema}}.checksum_v1, {{schema}}.read_stream_v1, {{schema}}.server_v1, {{schema}}.served_since, {{schema}}.lineage_v1, {{schema}}.log_bound_v1, {{schema}}.same_server, {{schema}}.read_log_v1, {{schema}}.read_log_where_v1, {{schema}}.position_before_v1, {{schema}}.lag_v1", everybody},

	{"EXECUTE ON FUNCTION {{schema}}.append_v1, {{schema}}.append_all_v1, {{schema}}.look_up_v1, {{schema}}.allows", []Role{RoleAppend}},

	// A cache, which its service writes and cleans.
	{"SELECT, INSERT, UPDATE, DELETE ON {{schema}}.snapshots", []Role{RoleAppend}},
	{"EXECUTE ON FUNCTION {{schema}}.load_snapshot_v1, {{schema}}.drop_snapshot_v1, {{schema}}.delete_snapshots_v1", []Role{RoleAppend}},

	{"INSERT, UPDATE ON {{schema}}.checkpoints", []Role{RoleWork}},
	{"EXECUTE ON FUNCTION {{schema}}.publish_mark_v1", []Role{RoleWork}},
	// Terms are never deleted, so an epoch never comes again; nor are audits changed.
	{"INSERT, UPDATE ON {{schema}}.terms", []Role{RoleWork}},
	{"INSERT, UPDATE, DELETE ON {{schema}}.members, {{schema}}.parked", []Role{RoleWork}},
	{"INSERT, DELETE ON {{schema}}.parked_items", []Role{RoleWork}},
	{"INSERT ON {{schema}}.parked_audits", []Role{RoleWork}},
	{"EXECUTE ON FUNCTION {{schema}}.term_key_v1, {{schema}}.fence_v1, {{schema}}.renew_v1, {{schema}}.claim_v1", []Role{RoleWork}},

	{"INSERT, UPDATE ON {{schema}}.topics", []Role{RoleWork}},
	// What has taken effect is not new again: only the functions delete, and raise floors.
	{"INSERT ON {{schema}}.inbox", []Role{RoleWork}},
	{"EXECUTE ON FUNCTION {{schema}}.forget_v1, {{schema}}.take_back_v1", []Role{RoleWork}},

	// Column by column: not the position. Import keeps the recorded time of the file
	// where it does not go back.
	{"INSERT (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum, recorded_at) ON {{schema}}.events", []Role{RoleImport}},
	{"SELECT, INSERT, UPDATE ON {{schema}}.imports", []Role{RoleImport}},
}

var everybody = []Role{RoleRead, RoleAppend, RoleWork, RoleImport}

// role returns the name of a role in the database.
func (c config) role(r Role) string {
	prefix := c.roles
	if prefix == "" {
		prefix = c.schema
	}
	return prefix + "_" + string(r)
}

// RoleName returns the name that a role has in the database.
func RoleName(r Role, opts ...Option) (string, error) {
	c, err := configure(opts)
	if err != nil {
		return "", err
	}
	return c.role(r), nil
}

// Roles returns the SQL that makes the roles, gives the owner all that is in the
// schema, and gives each role its rights: these, and no others. It can be run
// again, and is to be run again after a migration that was applied by other means
// than Migrate.
//
// The first statement needs CREATEROLE, unless the roles are there. The second
// needs to be the owner of what is there, and takes ACCESS EXCLUSIVE on each table
// whose owner changes. The others need to be the new owner, or a member.
func Roles(opts ...Option) (string, error) {
	c, err := configure(opts)
	if err != nil {
		return "", err
	}
	return c.makeRoles() + c.own() + c.grants(), nil
}

// GrantRoles runs the SQL of Roles in one transaction, and is as patient as
// Migrate. It refuses a schema that is older or newer than this program, whose
// rights it does not know.
//
// Errors: ErrNotMigrated, ErrBlocked.
func GrantRoles(ctx context.Context, db Conn, opts ...Option) error {
	c, err := configure(opts)
	if err != nil {
		return err
	}
	all, err := c.migrations()
	if err != nil {
		return err
	}
	want := all[len(all)-1].Version
	err = c.patiently(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
		var have int
		if err := tx.QueryRow(ctx, c.sql(migratedSQL)).Scan(&have); err != nil {
			return missing(err)
		}
		switch {
		case have < want:
			return fmt.Errorf("at version %d, want %d, run annals migrate: %w", have, want, ErrNotMigrated)
		case have > want:
			return fmt.Errorf("at version %d, this program knows %d: run the program that migrated it", have, want)
		}
		_, err := tx.Exec(ctx, "RESET ROLE;\n"+c.makeRoles()+c.own()+c.grants()) // who runs it may make roles, not the owner
		return err
	})
	if err != nil {
		return fmt.Errorf("grant roles of schema %s: %w", c.schema, err)
	}
	return nil
}

// hasRolesSQL is whether a role was given the use of the schema.
const hasRolesSQL = `
SELECT EXISTS (
    SELECT
    FROM pg_namespace n
    CROSS JOIN LATERAL aclexplode(n.nspacl) a
    WHERE n.nspname = $1
      AND a.grantee = to_regrole(quote_ident($2))
)`

// makeRoles makes the roles that are not there. Another database of the cluster
// may make them at the same time.
func (c config) makeRoles() string {
	var names []string
	for _, r := range append(slices.Clone(everybody), RoleOwner) {
		names = append(names, "'"+c.role(r)+"'")
	}
	return `-- The roles, which belong to the cluster. None can log in.
DO $$
DECLARE
    given text;
BEGIN
    FOREACH given IN ARRAY ARRAY[` + strings.Join(names, ", ") + `] LOOP
        IF to_regrole(quote_ident(given)) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', given);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- somebody else was quicker
            END;
        END IF;
    END LOOP;
END
$$;

`
}

// own gives the schema and what is in it to the owner. A sequence of a column
// follows its table.
func (c config) own() string {
	return strings.NewReplacer("{{owner}}", c.role(RoleOwner), "{{plain}}", c.schema).Replace(`-- The owner. Functions that append have its rights, so it has no others.
DO $$
DECLARE
    change text;
BEGIN
    IF NOT pg_has_role('{{owner}}', 'MEMBER') THEN
        GRANT "{{owner}}" TO CURRENT_USER;
    END IF;
    FOR change IN
        SELECT format('ALTER SCHEMA %I OWNER TO "{{owner}}"', n.nspname)
        FROM pg_namespace n
        WHERE n.nspname = '{{plain}}'
          AND n.nspowner <> '{{owner}}'::regrole
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO "{{owner}}"', c.oid::regclass)
        FROM pg_class c
        WHERE c.relnamespace = '"{{plain}}"'::regnamespace
          AND c.relkind IN ('r', 'v')
          AND c.relowner <> '{{owner}}'::regrole
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO "{{owner}}"', p.oid::regprocedure)
        FROM pg_proc p
        WHERE p.pronamespace = '"{{plain}}"'::regnamespace
          AND p.proowner <> '{{owner}}'::regrole
    LOOP
        EXECUTE change;
    END LOOP;
END
$$;

`)
}

// grants gives each role its rights, and no others.
func (c config) grants() string {
	var b strings.Builder
	var names []string
	for _, r := range everybody {
		names = append(names, `"`+c.role(r)+`"`)
	}
	all := strings.Join(names, ", ")
	b.WriteString("-- The rights: first none.\n")
	for _, what := range []string{"SCHEMA {{schema}}", "ALL TABLES IN SCHEMA {{schema}}", "ALL SEQUENCES IN SCHEMA {{schema}}", "ALL FUNCTIONS IN SCHEMA {{schema}}"} {
		fmt.Fprintf(&b, "REVOKE ALL ON %s FROM PUBLIC, %s;\n", what, all)
	}
	for _, r := range rights {
		var to []string
		for _, who := range r.who {
			to = append(to, `"`+c.role(who)+`"`)
		}
		fmt.Fprintf(&b, "GRANT %s\nTO %s;\n", r.may, strings.Join(to, ", "))
	}
	return c.sql(b.String())
}
