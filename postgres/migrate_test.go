package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestManyMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, many := range []int{2, 8} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.Pool(t)
			all, err := postgres.Migrations(postgres.WithSchema("user"))
			if err != nil || len(all) == 0 || all[0].Version != 1 || all[0].Name != "001_events" || strings.Contains(all[0].SQL, "{{") {
				t.Fatalf("Migrations = %v, %v", all, err)
			}
			var (
				wg      sync.WaitGroup
				mu      sync.Mutex
				applied = map[string]int{}
			)
			for range many {
				wg.Go(func() {
					conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
					done, err := postgres.Migrate(t.Context(), conn, postgres.WithSchema("user"))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					for _, m := range done {
						applied[m.Name]++
					}
				})
			}
			wg.Wait()
			for _, m := range all {
				if applied[m.Name] != 1 {
					t.Errorf("%s was applied %d times, want once", m.Name, applied[m.Name])
				}
			}
			if err := postgres.New(pool, postgres.WithSchema("user")).Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A step that cannot have its lock lets appends pass, gives up in time, and says
// who is in the way. Then it goes on.
func TestMigrateIsBlocked(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	tx := s.begin()
	s.append(s.db.Tx(tx), "a")
	_, err := tx.Exec(s.ctx, `SET application_name = 'report'`)
	s.end(err)
	later := postgres.WithLater(nextSteps...)
	ended := make(chan error, 1)
	go func() {
		_, err := postgres.Migrate(s.ctx, s.pool, later, postgres.WithPatience(3*time.Second))
		ended <- err
	}()
	var slowest time.Duration
	appends := 0
	for err == nil && len(ended) == 0 {
		began := time.Now()
		s.append(s.db, "b")
		slowest = max(slowest, time.Since(began))
		appends++
	}
	err = <-ended
	var blocked *postgres.BlockedError
	if !errors.Is(err, postgres.ErrBlocked) || !errors.As(err, &blocked) {
		t.Fatalf("Migrate = %v, want a BlockedError", err)
	}
	want := fmt.Sprintf(`migrate schema annals: 901_tag: blocked by pid %d (application "report", idle in transaction, open for %v): ERROR: canceling statement due to lock timeout (SQLSTATE 55P03)`, tx.Conn().PgConn().PID(), blocked.Open)
	if err.Error() != want || blocked.Open < 3*time.Second/2 {
		t.Errorf("Migrate = %v\nwant      %s", err, want)
	}
	t.Logf("%d appends beside it, the slowest took %v", appends, slowest)
	if slowest > time.Second || appends < 10 {
		t.Errorf("%d appends beside it, the slowest took %v, want less than 1s", appends, slowest)
	}
	s.commit(tx)
	if done, err := postgres.Migrate(s.ctx, s.pool, later); err != nil || len(done) != 2 {
		t.Errorf("Migrate = %v, %v, want the steps that are left", done, err)
	}
}

// What migrators and listeners lock is no mark, not even of a log that is full.
func TestLocksOfOthersAreNoMarks(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.listening(s.db)
	const last = 1<<48 - 1
	s.exec(`SELECT setval('annals.events_position_seq', $1)`, int64(last-2))
	s.hole()
	s.append(s.db, "last")
	s.want("behind a hole, while somebody listens", "last")
	// An append that inserts nothing holds the mark of the last position.
	tx := s.begin()
	_, err := tx.Exec(s.ctx, `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', 'o', 1, gen_random_uuid(), 'order.noted', 1, 'text/plain', '', ''
WHERE false`)
	s.end(err)
	if marks, err := s.marks(tx); err != nil || len(marks) != 1 || marks[0] != last {
		t.Fatalf("marks %v, %v, want %d", marks, err, int64(last))
	}
	if done, err := postgres.Migrate(s.ctx, s.pool, postgres.WithSchema("annals"), postgres.WithPatience(time.Millisecond)); err != nil || len(done) != 0 {
		t.Errorf("Migrate = %v, %v", done, err)
	}
	s.end(s.verdict())
}

// What a role may do is granted when a later step makes something new, and not in
// a store without roles.
func TestMigrateKeepsTheRightsOfRoles(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	service := postgrestest.Service(t, s.pool)
	prefix := postgres.WithRolePrefix(strings.TrimSuffix(service.Config().ConnConfig.User, "_login"))
	s.exec(`REVOKE EXECUTE ON FUNCTION annals.append_v1 FROM ` + strings.TrimSuffix(service.Config().ConnConfig.User, "_login") + `_append`) // as if a step had made it
	if _, err := postgres.Migrate(s.ctx, s.pool, prefix, postgres.WithLater(nextSteps...)); err != nil {
		t.Fatal(err)
	}
	var owners int
	s.end(s.pool.QueryRow(s.ctx, `SELECT count(DISTINCT proowner) FROM pg_proc WHERE pronamespace = 'annals'::regnamespace`).Scan(&owners))
	if owners != 1 {
		t.Errorf("functions have %d owners, want one: what a step makes is the owner's", owners)
	}
	db := postgres.New(service)
	s.append(db, "a")
	if err := errors.Join(db.Check(s.ctx), db.Privileges(s.ctx)); err != nil {
		t.Error(err)
	}
	if err := postgres.GrantRoles(s.ctx, s.pool, prefix); err == nil || !strings.HasPrefix(err.Error(), "grant roles of schema annals: at version 902, this program knows ") {
		t.Errorf("GrantRoles = %v, want a refusal", err)
	}
	err := postgres.GrantRoles(s.ctx, s.pool, postgres.WithSchema("elsewhere"), prefix)
	if !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("GrantRoles = %v, want ErrNotMigrated", err)
	}
}

// A migrator that is killed leaves whole steps behind, and the next goes on.
func TestKilledMigrator(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Holding the table that the second step needs keeps a migrator in its middle.
	if _, err := pool.Exec(ctx, `
CREATE SCHEMA half;
CREATE FUNCTION public.stop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.object_identity LIKE 'half.append_v1%') THEN
        RAISE EXCEPTION 'killed';
    END IF;
END $$;
CREATE EVENT TRIGGER stop ON ddl_command_end EXECUTE FUNCTION public.stop();`); err != nil {
		t.Fatal(err)
	}
	done, err := postgres.Migrate(ctx, pool, postgres.WithSchema("half"))
	if err == nil || !strings.HasPrefix(err.Error(), "migrate schema half: 003_append: ") || len(done) != 2 {
		t.Fatalf("Migrate = %v, %v, want it to stop in 003_append", done, err)
	}
	if _, err := pool.Exec(ctx, `DROP EVENT TRIGGER stop`); err != nil {
		t.Fatal(err)
	}
	done, err = postgres.Migrate(ctx, pool, postgres.WithSchema("half"))
	if err != nil || len(done) == 0 || done[0].Name != "003_append" {
		t.Errorf("Migrate = %v, %v, want it to go on", done, err)
	}
}

func TestOptionBounds(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]postgres.Option{
		`option WithSchema: "": want lower-case letters, digits and underscores, at most 40`:          postgres.WithSchema(""),
		`option WithSchema: "a\"; DROP": want lower-case letters, digits and underscores, at most 40`: postgres.WithSchema(`a"; DROP`),
		`option WithPollInterval: 0s: want at least 1ms`:                                              postgres.WithPollInterval(0),
		`option WithCallTimeout: 99ms: want at least 100ms`:                                           postgres.WithCallTimeout(99 * time.Millisecond),
		`option WithRolePrefix: "A": want lower-case letters, digits and underscores, at most 40`:     postgres.WithRolePrefix("A"),
	} {
		if _, err := postgres.Migrations(o); err == nil || err.Error() != want {
			t.Errorf("Migrations = %v, want %s", err, want)
		}
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != "postgres: "+want {
					t.Errorf("panic %q, want %q", got, "postgres: "+want)
				}
			}()
			postgres.New(nil, o)
		}()
	}
}
