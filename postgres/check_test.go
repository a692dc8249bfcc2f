package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
)

func TestCheckNamesWhatIsUnsafe(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		`ALTER SEQUENCE annals.events_position_seq CACHE 10`: `check schema annals: the cache of events_position_seq is 10, want 1: ALTER SEQUENCE "annals".events_position_seq CACHE 1`,
		`ALTER SEQUENCE annals.events_position_seq CYCLE`:    `check schema annals: events_position_seq is cycling, want not cycling: ALTER SEQUENCE "annals".events_position_seq NO CYCLE`,
		`ALTER SEQUENCE annals.events_position_seq MAXVALUE 9223372036854775807`: `check schema annals: the maximum of events_position_seq is 9223372036854775807, want 281474976710655: ` +
			`ALTER SEQUENCE "annals".events_position_seq MAXVALUE 281474976710655`,
		`ALTER SEQUENCE annals.events_position_seq INCREMENT BY 2`: `check schema annals: the increment of events_position_seq is 2, want 1: ALTER SEQUENCE "annals".events_position_seq INCREMENT BY 1`,
		`SELECT setval('annals.events_position_seq', 1, false)`: `check schema annals: the last value of events_position_seq is 0, want at least 3, the last position of the log: ` +
			`SELECT setval('"annals".events_position_seq', 3), after a look at how it was set back`,
		`ALTER TABLE annals.events DISABLE TRIGGER events_mark_append`: `check schema annals: the trigger events_mark_append is disabled, want enabled: ` +
			`ALTER TABLE "annals".events ENABLE TRIGGER events_mark_append, or migrate a new schema if it is missing`,
		`ALTER TABLE annals.events ENABLE REPLICA TRIGGER events_mark_append`: `check schema annals: the trigger events_mark_append is enabled for replication only, want enabled: ` +
			`ALTER TABLE "annals".events ENABLE TRIGGER events_mark_append, or migrate a new schema if it is missing`,
		`DROP TRIGGER events_mark_append ON annals.events`: `check schema annals: the trigger events_mark_append is missing, want enabled: ` +
			`ALTER TABLE "annals".events ENABLE TRIGGER events_mark_append, or migrate a new schema if it is missing`,
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			for range 3 {
				s.append(s.db, "s")
			}
			s.end(s.db.Check(s.ctx))
			_, err := s.pool.Exec(s.ctx, sql)
			s.end(err)
			err = s.db.Check(s.ctx)
			var unsafe *postgres.SetupError
			if !errors.Is(err, postgres.ErrSetup) || !errors.As(err, &unsafe) || err.Error() != want {
				t.Errorf("Check = %v\nwant    %s", err, want)
			}
		})
	}
}

func TestCheckNamesUnsafeSessions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	config, err := pgxpool.ParseConfig(s.pool.Config().ConnString())
	s.end(err)
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	config.ConnConfig.RuntimeParams["session_replication_role"] = "replica"
	pool, err := pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	t.Cleanup(pool.Close)
	got := postgres.New(pool).Check(s.ctx)
	want := `check schema annals: default_transaction_isolation is repeatable read, want read committed: change it for the role, the database or the pool's connections
check schema annals: session_replication_role is replica, want origin: it switches off the trigger events_mark_append: change it for the role, the database or the pool's connections`
	if got == nil || got.Error() != want {
		t.Errorf("Check = %v\nwant    %s", got, want)
	}
	if strings.Count(got.Error(), "\n") != 1 {
		t.Error("want one line for each")
	}
}
