package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestManyMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	all, err := postgres.Migrations(postgres.WithSchema("user"))
	if err != nil || len(all) == 0 || all[0].Version != 1 || all[0].Name != "001_events" || strings.Contains(all[0].SQL, "{{") {
		t.Fatalf("Migrations = %v, %v", all, err)
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		applied int
	)
	for range 3 {
		wg.Go(func() {
			done, err := postgres.Migrate(t.Context(), pool, postgres.WithSchema("user"))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			applied += len(done)
		})
	}
	wg.Wait()
	if applied != len(all) {
		t.Errorf("%d steps were applied, want each of %d once", applied, len(all))
	}
	if err := postgres.New(pool, postgres.WithSchema("user")).Check(t.Context()); err != nil {
		t.Error(err)
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
