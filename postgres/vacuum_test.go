package postgres_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annals-go/annals/postgres"
)

func TestVacuumSettings(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"": "",
		`ALTER TABLE annals.events RESET (autovacuum_vacuum_insert_threshold)`: `check schema annals: storage of events is {autovacuum_analyze_scale_factor=0.02, autovacuum_freeze_min_age=0, ` +
			`autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=100000}, want also autovacuum_vacuum_insert_threshold=100000: ` +
			`ALTER TABLE "annals".events SET (autovacuum_vacuum_insert_threshold=100000)`,
		`ALTER TABLE annals.checkpoints RESET (fillfactor); ALTER TABLE annals.checkpoints SET (autovacuum_vacuum_scale_factor = 0.5)`: `check schema annals: storage of checkpoints is {autovacuum_vacuum_cost_delay=0, ` +
			`autovacuum_vacuum_scale_factor=0.5, autovacuum_vacuum_threshold=50}, want also fillfactor=50, autovacuum_vacuum_scale_factor=0.01: ` +
			`ALTER TABLE "annals".checkpoints SET (fillfactor=50, autovacuum_vacuum_scale_factor=0.01)`,
		`ALTER TABLE annals.published_mark SET (autovacuum_enabled = false)`:    `check schema annals: autovacuum of published_mark is autovacuum_enabled=false, want on: ALTER TABLE "annals".published_mark RESET (autovacuum_enabled)`,
		`ALTER TABLE annals.events SET (autovacuum_freeze_max_age = 300000000)`: "", // a setting of the user's own
		`UPDATE pg_class SET relfrozenxid = (((pg_current_xact_id()::text::bigint - 400000000) % 4294967296 + 4294967296) % 4294967296)::text::xid WHERE oid = 'annals.events'::regclass`: `check schema annals: the age of events is %d transactions, want at most 300000000: ` +
			`VACUUM (FREEZE) "annals".events, after a look at what keeps autovacuum from it, such as an old transaction or replication slot`,
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.exec(sql)
			err := s.db.CheckVacuum(s.ctx)
			if want == "" {
				if err != nil {
					t.Errorf("CheckVacuum = %v", err)
				}
				return
			}
			var age int64
			s.end(s.pool.QueryRow(s.ctx, `SELECT age(relfrozenxid) FROM pg_class WHERE oid = 'annals.events'::regclass`).Scan(&age))
			match := fmt.Sprint(err) == want || fmt.Sprint(err) == fmt.Sprintf(want, age) || fmt.Sprint(err) == fmt.Sprintf(want, age-1)
			var unsafe *postgres.SetupError
			if !match || !errors.Is(err, postgres.ErrSetup) || !errors.As(err, &unsafe) {
				t.Errorf("CheckVacuum = %v\nwant          %s", err, want)
			}
		})
	}
}

func TestVacuumOfNothing(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	err := postgres.New(s.pool, postgres.WithSchema("elsewhere")).CheckVacuum(s.ctx)
	if want := "check schema elsewhere: no table checkpoints, run annals migrate: schema is not migrated"; err == nil || err.Error() != want || !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("CheckVacuum = %v, want %s", err, want)
	}
}

// A run of vacuum with the settings of the table freezes all rows and marks all
// pages, so the next one reads new pages only.
func TestVacuumFreezesWhatWasInserted(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.exec(`
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', 's', n, gen_random_uuid(), 'order.noted', 1, 'text/plain', '', ''
FROM generate_series(1, 20000) n`)
	conn, err := s.pool.Acquire(s.ctx)
	s.end(err)
	defer conn.Release()
	// Autovacuum takes the age from the table; by hand it is a setting.
	for _, sql := range []string{`SET vacuum_freeze_min_age = 0`, `VACUUM annals.events`, `RESET vacuum_freeze_min_age`} {
		_, err := conn.Exec(s.ctx, sql)
		s.end(err)
	}
	var (
		pages, visible int
		frozen         bool
	)
	s.end(conn.QueryRow(s.ctx, `
SELECT relpages, relallvisible, age(relfrozenxid) < (SELECT age(e.xmin) FROM annals.events e LIMIT 1)
FROM pg_class
WHERE oid = 'annals.events'::regclass`).Scan(&pages, &visible, &frozen))
	if pages < 100 || visible != pages || !frozen {
		t.Errorf("%d of %d pages are all visible, all rows are frozen: %v", visible, pages, frozen)
	}
}

// Doctor names who holds readers up: an open append, one that is prepared, and a
// lock that somebody takes by hand.
func TestDelays(t *testing.T) {
	t.Parallel()
	s := stage(t, annals, ownServer(t))
	s.append(s.db, "a")
	if got, err := s.db.Delays(s.ctx); err != nil || len(got) != 0 {
		t.Errorf("Delays = %+v, %v, want none", got, err)
	}
	open := s.begin()
	s.append(s.db.Tx(open), "open")
	_, err := open.Exec(s.ctx, `SET application_name = 'report'`)
	s.end(err)
	prepared := s.begin()
	s.append(s.db.Tx(prepared), "prepared")
	_, err = prepared.Exec(s.ctx, `PREPARE TRANSACTION 'left behind'`)
	s.end(err)
	got, err := s.db.Delays(s.ctx)
	s.end(err)
	user := s.pool.Config().ConnConfig.User
	if len(got) != 2 {
		t.Fatalf("Delays = %+v, want two", got)
	}
	want := []postgres.Delay{
		{Mark: 1, PID: int(open.Conn().PgConn().PID()), Role: user, Application: "report", State: "idle in transaction", Open: got[0].Open},
		{Mark: 2, Prepared: "left behind", Role: user, Open: got[1].Open},
	}
	who := []string{
		fmt.Sprintf(`pid %d of role %s (application "report", idle in transaction)`, open.Conn().PgConn().PID(), user),
		fmt.Sprintf(`prepared transaction "left behind" of role %s`, user),
	}
	for i := range want {
		if got[i] != want[i] || got[i].Who() != who[i] || got[i].Open <= 0 {
			t.Errorf("Delays = %+v, %s, want %+v, %s", got[i], got[i].Who(), want[i], who[i])
		}
	}
	s.commit(open)
	s.exec(`ROLLBACK PREPARED 'left behind'`)
}
