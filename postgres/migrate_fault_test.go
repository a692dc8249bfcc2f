package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/postgres"
)

// onDDL runs a statement when a command that changes the schema ends, if the
// number of such commands so far, counted beyond rollbacks, meets a condition.
const onDDL = `
CREATE SEQUENCE public.commands;
CREATE FUNCTION public.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.commands') %s THEN
        PERFORM %s;
    END IF;
END $$;
CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION public.on_ddl();`

// The migrator's session is ended at each command of each step in turn: whole
// steps are there, the next run does the others, and the schema is the same.
func TestFaultMigratorIsTerminatedAtEachCommand(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Minute)
	defer cancel()
	_, err := postgres.Migrate(ctx, s.pool, postgres.WithSchema("whole"))
	s.end(err)
	want := catalog(t, s.pool, "whole")
	s.exec(fmt.Sprintf(onDDL, "= current_setting('test.at')::bigint", "pg_terminate_backend(pg_backend_pid())"))
	const schema = "whole" // of one name, so that the catalogs can be compared
	for at := 1; ; at++ {
		if _, err := s.pool.Exec(ctx, `ALTER EVENT TRIGGER on_ddl DISABLE; DROP SCHEMA whole CASCADE; SELECT setval('public.commands', 1, false); ALTER EVENT TRIGGER on_ddl ENABLE`); err != nil {
			t.Fatal(err)
		}
		config := s.pool.Config().ConnConfig
		config.RuntimeParams["test.at"] = fmt.Sprint(at)
		conn, err := pgx.ConnectConfig(ctx, config)
		s.end(err)
		first, err := postgres.Migrate(ctx, conn, postgres.WithSchema(schema))
		_ = conn.Close(ctx)
		if err == nil {
			t.Logf("terminated at each of %d commands", at-1)
			if at < 40 {
				t.Errorf("%d commands, want more: was the trigger fired?", at-1)
			}
			return
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "57P01" {
			t.Fatalf("command %d: %v, want the end of the session", at, err)
		}
		config.RuntimeParams["test.at"] = "0"
		conn, err = pgx.ConnectConfig(ctx, config)
		s.end(err)
		second, err := postgres.Migrate(ctx, conn, postgres.WithSchema(schema))
		_ = conn.Close(ctx)
		all, _ := postgres.Migrations()
		if err != nil || len(first)+len(second) != len(all) {
			t.Fatalf("command %d: %d steps before, %d after, %v, want %d in all", at, len(first), len(second), err, len(all))
		}
		if diff := cmp.Diff(want, catalog(t, s.pool, schema)); diff != "" {
			t.Fatalf("command %d (-want +got):\n%s", at, diff)
		}
	}
}

const migratorEnv = "ANNALS_TEST_MIGRATOR"

// TestMigratorProcess is the migrator that TestFaultMigratorProcessIsKilled
// starts and kills. On its own it does nothing.
func TestMigratorProcess(t *testing.T) {
	t.Parallel()
	url := os.Getenv(migratorEnv) //nolint:forbidigo // a process of a test
	if url == "" {
		return
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Migrate(t.Context(), conn, postgres.WithSchema("killed")); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed in the middle of a step, at several of its commands:
// its server process goes on with the step, finds nobody, and rolls it back,
// while another migrator waits its turn.
func TestFaultMigratorProcessIsKilled(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 3*time.Minute)
	defer cancel()
	s.ctx = ctx
	s.exec(fmt.Sprintf(onDDL, ">= (SELECT last_value FROM public.stop_at)", fmt.Sprintf("pg_advisory_xact_lock_shared(%d)", gateKey)))
	s.exec(`CREATE SEQUENCE public.stop_at`)
	for _, at := range []int{3, 9, 20, 30, 40} {
		if _, err := s.pool.Exec(ctx, fmt.Sprintf(`ALTER EVENT TRIGGER on_ddl DISABLE; DROP SCHEMA IF EXISTS killed CASCADE; SELECT setval('public.commands', 1, false), setval('public.stop_at', %d); ALTER EVENT TRIGGER on_ddl ENABLE`, at)); err != nil {
			t.Fatal(err)
		}
		keeper := s.begin()
		_, err := keeper.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, gateKey)
		s.end(err)
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMigratorProcess$")
		child.Env = append(os.Environ(), migratorEnv+"="+s.pool.Config().ConnString())
		s.end(child.Start())
		s.until("the migrator is in the middle of a step", func() bool {
			var waits bool
			s.end(s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND objsubid = 1 AND NOT granted)`, gateKey).Scan(&waits))
			return waits
		})
		s.end(child.Process.Kill()) // SIGKILL
		_ = child.Wait()
		ended := make(chan error, 1)
		go func() {
			_, err := postgres.Migrate(ctx, s.pool, postgres.WithSchema("killed"))
			ended <- err
		}()
		s.end(keeper.Rollback(ctx))
		if err := <-ended; err != nil {
			t.Fatalf("Migrate behind one that was killed at command %d = %v", at, err)
		}
		if err := postgres.New(s.pool, postgres.WithSchema("killed")).Check(ctx); err != nil {
			t.Errorf("Check = %v", err)
		}
	}
}
