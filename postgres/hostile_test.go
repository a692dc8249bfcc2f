package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// What a session sets for itself cannot take its append out of the order of the
// log: whatever the mark is said to be, a reader sees one below the positions.
func hostileMark(s *script) {
	var name string
	s.end(s.pool.QueryRow(s.ctx, `
SELECT 'annals.mark_' || substring(prosrc FROM '\((\d+)::bigint << 48')
FROM pg_proc
WHERE oid = 'annals.mark_append'::regproc`).Scan(&name))
	for _, value := range []string{"-1", "-281474976710656", "-9223372036854775808", "9223372036854775807", "281474976710655", "281474976710656", "0", "1", ""} {
		for _, when := range []string{"before", "after"} {
			hostile := s.begin()
			id := when + "_" + value
			if when == "after" {
				s.append(s.db.Tx(hostile), id+"_first")
			}
			_, err := hostile.Exec(s.ctx, `SELECT set_config($1, $2, true)`, name, value)
			s.end(err)
			s.append(s.db.Tx(hostile), id)
			s.append(s.db, "beside_"+id)
			s.read()
			s.commit(hostile)
			s.read()
		}
	}
	// What is no number fails that append alone.
	for _, value := range []string{"x", "1e3", "9223372036854775808", "NULL"} {
		hostile := s.begin()
		_, err := hostile.Exec(s.ctx, `SELECT set_config($1, $2, true)`, name, value)
		s.end(err)
		if _, err := s.db.Tx(hostile).Append(s.ctx, order("x"), eventstore.Any(), note("x")); err == nil {
			s.errorf("%s = %q: append succeeded", name, value)
		}
		s.end(hostile.Rollback(s.ctx))
	}
	// Neither can it give the lock back before it ends.
	hostile := s.begin()
	s.append(s.db.Tx(hostile), "unlock")
	for _, sql := range []string{
		`SELECT pg_advisory_unlock_all()`,
		`SELECT pg_advisory_unlock_shared((classid::bigint << 32) | objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`,
		`SELECT pg_advisory_unlock((classid::bigint << 32) | objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`,
	} {
		_, err := hostile.Exec(s.ctx, sql)
		s.end(err)
	}
	s.append(s.db, "beside_unlock")
	s.read()
	s.commit(hostile)
	s.read()
}

// Who calls append_all_v1 by hand cannot leave out a version, nor turn the order
// of a stream around.
func TestAppendAllKeepsVersionsDense(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	pool := postgrestest.Service(t, s.pool, postgres.RoleAppend)
	for _, c := range []struct{ counts, appends, places, want string }{
		{`{1}`, `{1}`, `{1}`, ""},
		{`{1}`, `{1}`, `{2}`, "append to 1 streams: event 1 is out of its place"},
		{`{2}`, `{1,1}`, `{2,1}`, "append to 1 streams: event 1 is out of its place"},
		{`{2}`, `{1,1}`, `{1,3}`, "append to 1 streams: event 2 is out of its place"},
		{`{2}`, `{1,NULL}`, `{1,2}`, "append to 1 streams: event 2 is out of its place"},
		{`{1}`, `{1,1}`, `{1,5}`, "append to 1 streams: 2 events, want 1 as counted"},
		{`{0}`, `{1}`, `{3}`, "append to 1 streams: 1 events, want 0 as counted"},
	} {
		_, err := pool.Exec(s.ctx, `
SELECT annals.append_all_v1('{order}', '{o}', '{any}', '{0}', '{f}', $1::text::integer[], $2::text::integer[], $3::text::integer[],
    ARRAY[gen_random_uuid(), gen_random_uuid()], '{order.noted,order.noted}', '{1,1}', '{text/plain,text/plain}', '{"",""}', '{"",""}', true)`, c.counts, c.appends, c.places)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want+" (SQLSTATE 22023)")) {
			t.Errorf("counts %s, appends %s, places %s: %v, want %q", c.counts, c.appends, c.places, err, c.want)
		}
	}
}

// Whatever a service has made before names in temporary objects and in a schema
// of its own, and puts into its search path, the functions use what is theirs.
func TestNothingShadowsWhatFunctionsUse(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	pool := postgrestest.Service(t, s.pool, postgres.RoleAppend, postgres.RoleWork)
	login := pool.Config().ConnConfig.User
	s.exec(`CREATE SCHEMA evil AUTHORIZATION ` + login)
	s.exec(`CREATE TABLE public.taken (what text)`)
	s.exec(`GRANT INSERT ON public.taken TO PUBLIC`)
	conn, err := pool.Acquire(s.ctx)
	s.end(err)
	defer conn.Release()
	for _, sql := range []string{
		`CREATE TEMP TABLE events (LIKE annals.events)`,
		`CREATE TEMP TABLE published_mark (LIKE annals.published_mark)`,
		`CREATE TEMP TABLE pg_locks (locktype text, objsubid smallint, classid oid, objid oid, database oid)`,
		`CREATE TEMP TABLE pg_database (oid oid, datname name)`,
		`CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (false)`,
		`CREATE DOMAIN pg_temp.int8 AS pg_catalog.int8 CHECK (false)`,
		`CREATE FUNCTION evil.take() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN 0; END $$`,
		`CREATE FUNCTION evil.cardinality(uuid[]) RETURNS integer LANGUAGE sql AS 'SELECT evil.take()::integer'`,
		`CREATE FUNCTION evil.cardinality(bigint[]) RETURNS integer LANGUAGE sql AS 'SELECT evil.take()::integer'`,
		`CREATE FUNCTION evil.cardinality(integer[]) RETURNS integer LANGUAGE sql AS 'SELECT evil.take()::integer'`,
		`CREATE FUNCTION evil.plus(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT evil.take()'`,
		`CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.take()'`,
		`CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = evil.plus)`,
		`CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.plus)`,
		`CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.take() = 0'`,
		`CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same)`,
		`CREATE FUNCTION evil.same(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT evil.take() IS NULL'`,
		`CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.same)`,
		`CREATE FUNCTION evil.pg_sequence_last_value(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT evil.take() - 1'`,
		`CREATE FUNCTION evil.pg_advisory_xact_lock_shared(bigint) RETURNS void LANGUAGE sql AS 'SELECT evil.take()'`,
		`CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT evil.take()::text'`,
		`GRANT USAGE ON SCHEMA evil TO PUBLIC`,
		`SET search_path = pg_temp, evil, pg_catalog`,
	} {
		if _, err := conn.Exec(s.ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	tx, err := conn.BeginTx(s.ctx, pgx.TxOptions{})
	s.end(err)
	store := postgres.New(pool).Tx(tx)
	one, err := store.Append(s.ctx, order("o"), eventstore.None(), note("a"))
	s.end(err)
	several, err := store.Append(s.ctx, order("o"), eventstore.Exactly(1), note("b"), note("c"))
	s.end(err)
	all, err := store.AppendAll(s.ctx, eventstore.Write{Stream: order("p"), Events: []event.Raw{note("d"), note("e")}})
	s.end(err)
	_, err = store.Append(s.ctx, order("o"), eventstore.None(), note("a"))
	if err == nil || !strings.Contains(err.Error(), "stream is at 3") {
		t.Errorf("Append = %v, want a conflict", err)
	}
	_, err = tx.Exec(s.ctx, `SELECT annals.publish_mark_v1()`)
	s.end(err)
	var marks int
	s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1`, int64(conn.Conn().PgConn().PID())).Scan(&marks))
	s.append(s.db, "beside")
	s.read()
	s.end(tx.Commit(s.ctx))
	s.read()
	if one.Version != 1 || several.Version != 3 || all[0].Version != 2 || marks != 1 {
		t.Errorf("appended at %v, %v, %v with %d marks", one, several, all, marks)
	}
	var stored, shadowed, taken int
	s.end(s.pool.QueryRow(s.ctx, `SELECT (SELECT count(*) FROM annals.events), (SELECT count(*) FROM public.taken)`).Scan(&stored, &taken))
	s.end(conn.QueryRow(s.ctx, `SELECT pg_catalog.count(*) FROM pg_temp.events`).Scan(&shadowed))
	if stored != 6 || shadowed != 0 || taken != 0 {
		t.Errorf("%d events stored, %d in the shadow, %d calls of what is not ours", stored, shadowed, taken)
	}
	if err := s.verdict(); err != nil {
		t.Error(err)
	}
}
