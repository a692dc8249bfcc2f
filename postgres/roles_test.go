package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// The conformance suite, with the rights of a service, and on the schema of a next
// release, which a program of today need not know.
func TestEventStoreAsService(t *testing.T) {
	t.Parallel()
	eventstoretest.Run(t, func(t *testing.T) eventstoretest.Target {
		admin := postgrestest.Pool(t)
		pool := postgrestest.Service(t, admin)
		prefix := postgres.WithRolePrefix(strings.TrimSuffix(pool.Config().ConnConfig.User, "_login"))
		if done, err := postgres.Migrate(t.Context(), admin, prefix, postgres.WithLater(nextSteps...)); err != nil || len(done) != len(nextSteps) {
			t.Fatalf("Migrate = %v, %v", done, err)
		}
		db := postgres.New(pool, postgres.WithPollInterval(2*time.Millisecond))
		if err := db.Check(t.Context()); err != nil {
			t.Fatalf("Check on a newer schema = %v", err)
		}
		elsewhere, err := pgxpool.NewWithConfig(t.Context(), pool.Config())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(elsewhere.Close)
		return eventstoretest.Target{
			Store:     db,
			Elsewhere: postgres.New(elsewhere, postgres.WithoutNotify()),
			SetClock: func(t *testing.T, offset time.Duration) {
				_, err := admin.Exec(t.Context(), fmt.Sprintf(
					`ALTER TABLE annals.events ALTER COLUMN recorded_at SET DEFAULT clock_timestamp() + interval '%d seconds'`, int(offset.Seconds())))
				if err != nil {
					t.Fatal(err)
				}
			},
			Begin: func(ctx context.Context) (eventstoretest.Tx, error) {
				tx, err := pool.BeginTx(ctx, pgx.TxOptions{})
				if err != nil {
					return eventstoretest.Tx{}, err
				}
				return eventstoretest.Tx{Store: db.Tx(tx), Commit: tx.Commit, Rollback: tx.Rollback}, nil
			},
		}
	})
}

// What a service does beside: everything else in the package, with its rights.
func TestServiceCanDoItsDuty(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	db := postgres.New(postgrestest.Service(t, s.pool))
	s.append(db, "a")
	s.append(db, "b")
	if done, err := postgres.Migrate(s.ctx, db.Pool()); err != nil || len(done) != 0 {
		t.Errorf("Migrate where there is nothing to do = %v, %v", done, err)
	}
	_, err := postgres.Migrate(s.ctx, db.Pool(), postgres.WithLater(nextSteps...))
	if want := "migrate schema annals: 001_events: ERROR: permission denied for schema annals (SQLSTATE 42501)"; err == nil || err.Error() != want {
		t.Errorf("Migrate = %v, want %s", err, want)
	}
	s.listening(db)
	_, streams := db.Streams(s.ctx, postgres.StreamsQuery{})
	_, head := db.Head(s.ctx)
	_, before := db.PositionBefore(s.ctx, time.Now())
	for what, err := range map[string]error{
		"Check": db.Check(s.ctx), "Streams": streams, "Head": head, "PositionBefore": before, "Privileges": db.Privileges(s.ctx),
	} {
		if err != nil {
			t.Errorf("%s = %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.PublishMark(ctx, time.Millisecond) }()
	s.until("the mark is published", func() bool {
		var at int64
		s.end(s.pool.QueryRow(s.ctx, `SELECT position FROM annals.published_mark`).Scan(&at))
		return at == 2
	})
	cancel()
	s.end(<-ended)
}

// Whatever a step makes has its rights in the list, or is the owner's alone on
// purpose.
func TestEverythingHasRights(t *testing.T) {
	t.Parallel()
	ownersAlone := []string{"mark_append", "parked_audits_id_seq"}
	pool := postgrestest.Pool(t)
	rows, err := pool.Query(t.Context(), `
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'annals'::regnamespace AND c.relkind IN ('r', 'v', 'S')
UNION ALL
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'annals'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 15 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		listed := regexp.MustCompile(`\.` + name + `\b`).MatchString(postgres.Rights())
		if listed == slices.Contains(ownersAlone, name) {
			t.Errorf("%s is in the list of rights: %v", name, listed)
		}
	}
}

// Every attack of the matrix, for real, as each role: refused with 42501, or
// somebody's duty.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, role := range []postgres.Role{postgres.RoleRead, postgres.RoleAppend, postgres.RoleWork, postgres.RoleImport} {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			admin := postgrestest.Pool(t)
			if _, err := postgres.New(admin).Append(t.Context(), order("o"), eventstore.None(), note("a")); err != nil {
				t.Fatal(err)
			}
			pool := postgrestest.Service(t, admin, role)
			db := postgres.New(pool)
			var owner string
			if err := admin.QueryRow(t.Context(), `SELECT relowner::regrole::text FROM pg_class WHERE oid = 'annals.events'::regclass`).Scan(&owner); err != nil {
				t.Fatal(err)
			}
			before := rightsAndRows(t, admin)
			for _, a := range postgres.Attacks() {
				may := a.Allowed(role)
				if a.Ask != "" {
					var can bool
					err := pool.QueryRow(t.Context(), db.SQL(a.Ask)).Scan(&can)
					if err != nil || can != may {
						t.Errorf("%s: asked, it can: %v, %v, want %v", a.What, can, err, may)
					}
				}
				if a.Try == "" {
					continue
				}
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), strings.ReplaceAll(db.SQL(a.Try), "{{owner}}", owner)); err != nil {
						return err
					}
					return errors.New("it can")
				})
				code := ""
				if pg := new(pgconn.PgError); errors.As(err, &pg) {
					code = pg.Code
				}
				if may && code == "42501" || !may && code != "42501" {
					t.Errorf("%s: %v, want 42501: %v", a.What, err, !may)
				}
			}
			if err := db.Privileges(t.Context(), role); err != nil {
				t.Errorf("Privileges = %v", err)
			}
			if diff := cmp.Diff(before, rightsAndRows(t, admin)); diff != "" {
				t.Errorf("something has changed (-want +got):\n%s", diff)
			}
		})
	}
}

// rightsAndRows is what an attack would change.
func rightsAndRows(t *testing.T, admin *pgxpool.Pool) []string {
	t.Helper()
	rows, err := admin.Query(t.Context(), `
SELECT 'sequence ' || last_value FROM annals.events_position_seq
UNION ALL
SELECT 'event ' || e FROM annals.events e
UNION ALL
SELECT 'mark ' || m.position FROM annals.published_mark m
UNION ALL
SELECT 'checkpoint ' || c FROM annals.checkpoints c
UNION ALL
SELECT format('relation %s %s %s', relname, relowner, relacl) FROM pg_class WHERE relnamespace = 'annals'::regnamespace
UNION ALL
SELECT format('function %s %s %s', oid::regprocedure, proowner, proacl) FROM pg_proc WHERE pronamespace = 'annals'::regnamespace
ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each right too many is found, and nothing is changed by finding it.
func TestPrivilegesFindsWhatARoleCan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ grant, want string }{
		{`GRANT UPDATE ON annals.events TO $`, "update an event"},
		{`GRANT DELETE ON annals.events TO $`, "delete an event"},
		{`GRANT TRUNCATE ON annals.events TO $`, "truncate the events"},
		{`GRANT INSERT ON annals.events TO $`, "choose a position"},
		{`GRANT INSERT (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata) ON annals.events TO $`, "insert an event without append_v1"},
		{`GRANT INSERT (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, recorded_at) ON annals.events TO $`, "choose a recorded time"},
		{`GRANT UPDATE ON annals.events_readable TO $`, "update an event through the view"},
		{`GRANT TRIGGER ON annals.events TO $`, "make a trigger on the events"},
		{`GRANT REFERENCES ON annals.events TO $`, "reference an event, which locks it"},
		{`GRANT SELECT ON annals.events TO $ WITH GRANT OPTION`, "grant what it has to others"},
		{`GRANT USAGE ON SEQUENCE annals.events_position_seq TO $`, "draw a position"},
		{`GRANT UPDATE ON SEQUENCE annals.events_position_seq TO $`, "set the sequence"},
		{`GRANT DELETE ON annals.checkpoints TO $`, "delete a checkpoint"},
		{`GRANT UPDATE ON annals.published_mark TO $`, "set the published mark"},
		{`GRANT UPDATE ON annals.lineage TO $`, "change the lineage of the log"},
		{`GRANT INSERT ON annals.migrations TO $`, "claim a migration"},
		{`GRANT CREATE ON SCHEMA annals TO $`, "make a function in the schema"},
		{`GRANT EXECUTE ON FUNCTION annals.mark_append TO $`, "call the trigger function"},
		{`GRANT EXECUTE ON FUNCTION annals.mark_append TO PUBLIC`, "do what everybody can, because PUBLIC has rights in the schema"},
		{`ALTER FUNCTION annals.append_v1 RESET search_path`, "shadow what a function with the owner's rights uses"},
		{`ALTER FUNCTION annals.append_v1 OWNER TO CURRENT_USER`, "use the rights of a superuser, who owns the functions that append"},
		{`ALTER ROLE $ CREATEROLE`, "make roles, and so become the owner"},
		{`GRANT pg_write_all_data TO $`, "delete an event"},
		{`GRANT pg_execute_server_program TO $`, "run a program on the server"},
		{`GRANT pg_write_server_files TO $`, "write files of the server"},
		{`GRANT pg_read_server_files TO $`, "read files of the server"},
		{`GRANT SET ON PARAMETER session_replication_role TO $`, "switch triggers off for the session"},
		{`GRANT INSERT, UPDATE ON annals.checkpoints TO $`, ""},
	} {
		t.Run(c.grant, func(t *testing.T) {
			t.Parallel()
			admin := postgrestest.Pool(t)
			if _, err := postgres.New(admin).Append(t.Context(), order("o"), eventstore.None(), note("a")); err != nil {
				t.Fatal(err)
			}
			pool := postgrestest.Service(t, admin)
			login := pool.Config().ConnConfig.User
			if _, err := admin.Exec(t.Context(), strings.ReplaceAll(c.grant, "$", login)); err != nil {
				t.Fatal(err)
			}
			before := rightsAndRows(t, admin)
			err := postgres.New(pool).Privileges(t.Context())
			if diff := cmp.Diff(before, rightsAndRows(t, admin)); diff != "" {
				t.Errorf("something has changed (-want +got):\n%s", diff)
			}
			if c.want == "" {
				if err != nil {
					t.Errorf("Privileges = %v, want nil: it is its duty", err)
				}
				return
			}
			want := fmt.Sprintf("check privileges in schema annals: role %s can %s: run annals roles, and log in as a role that owns nothing there and is a member of annals_append and annals_work alone", login, c.want)
			var found *postgres.PrivilegeError
			if err == nil || !errors.Is(err, postgres.ErrPrivilege) || !errors.As(err, &found) || !strings.Contains("\n"+err.Error()+"\n", "\n"+want+"\n") {
				t.Errorf("Privileges = %v\nwant       %s", err, want)
			}
		})
	}
}

func TestPrivilegesOfThoseWhoCanDoEverything(t *testing.T) {
	t.Parallel()
	admin := postgrestest.Pool(t)
	const remedy = ": run annals roles, and log in as a role that owns nothing there and is a member of annals_append and annals_work alone"
	user := admin.Config().ConnConfig.User
	if err := postgres.New(admin).Privileges(t.Context()); err == nil || err.Error() != "check privileges in schema annals: role "+user+" can do everything, as a superuser"+remedy {
		t.Errorf("Privileges = %v", err)
	}
	pool := postgrestest.Service(t, admin, postgres.RoleOwner)
	login := pool.Config().ConnConfig.User
	owner := strings.TrimSuffix(login, "_login") + "_owner"
	if err := postgres.New(pool).Privileges(t.Context()); err == nil || err.Error() != "check privileges in schema annals: role "+login+" can do everything, as a member of the owner "+owner+remedy {
		t.Errorf("Privileges = %v", err)
	}
	if err := postgres.New(pool, postgres.WithSchema("elsewhere")).Privileges(t.Context()); !errors.Is(err, postgres.ErrNotMigrated) || err.Error() != "check privileges in schema elsewhere: schema is not migrated, run annals migrate" {
		t.Errorf("Privileges = %v", err)
	}
	// The owner migrates: what it makes is the owner's.
	if _, err := postgres.Migrate(t.Context(), pool); err != nil {
		t.Errorf("Migrate as a member of the owner = %v", err)
	}
}

// An importer copies events in, under a mark like any append, but chooses no
// positions, and has no other way in.
func TestImportRoleCopies(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	pool := postgrestest.Service(t, s.pool, postgres.RoleImport)
	columns := []string{"category", "stream_id", "version", "event_id", "name", "schema_version", "content_type", "payload", "metadata", "closes"}
	row := func(id string, more ...any) [][]any {
		return [][]any{append([]any{"order", id, int64(1), [16]byte(note("").Metadata.ID), "order.noted", int16(1), "text/plain", []byte{}, []byte{}, false}, more...)}
	}
	tx := s.beginOn(pool)
	_, err := tx.CopyFrom(s.ctx, pgx.Identifier{"annals", "events"}, columns, pgx.CopyFromRows(row("copied")))
	s.end(err)
	if marks, err := s.marks(tx); err != nil || len(marks) != 1 {
		t.Errorf("marks %v, %v, want one", marks, err)
	}
	s.append(s.db, "beside")
	s.want("while it is open")
	s.commit(tx)
	s.want("at the end", "copied", "beside")
	for column, value := range map[string]any{"position": int64(1)} {
		_, err := pool.CopyFrom(s.ctx, pgx.Identifier{"annals", "events"}, append(slices.Clone(columns), column), pgx.CopyFromRows(row(column, value)))
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42501" {
			t.Errorf("COPY with %s = %v, want 42501", column, err)
		}
	}
	if _, err := postgres.New(pool).Append(s.ctx, order("o"), eventstore.Any(), note("x")); err == nil || !strings.Contains(err.Error(), "permission denied for function append_v1") {
		t.Errorf("Append = %v, want a refusal", err)
	}
	s.end(s.verdict())
}
