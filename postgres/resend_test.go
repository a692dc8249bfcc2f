package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/wireproxy"
	"github.com/annals-go/annals/postgres"
)

// wire is a script whose store is behind a proxy; s.pool is not.
type wire struct {
	*script
	proxy   *wireproxy.Proxy
	through *pgxpool.Pool
}

func newWire(t *testing.T, options ...postgres.Option) *wire {
	t.Helper()
	return wired(newGroupScript(t), options...)
}

func wired(s *script, options ...postgres.Option) *wire {
	s.Helper()
	return wiredIn(s, pgx.QueryExecModeCacheStatement, options...)
}

func wiredIn(s *script, mode pgx.QueryExecMode, options ...postgres.Option) *wire {
	s.Helper()
	t, w := s.T, &wire{script: s}
	at, err := url.Parse(w.pool.Config().ConnString())
	w.end(err)
	w.proxy, err = wireproxy.Start(at.Host)
	w.end(err)
	t.Cleanup(func() { _ = w.proxy.Close() })
	at.Host = w.proxy.Addr()
	config, err := pgxpool.ParseConfig(at.String())
	w.end(err)
	config.MaxConns = 4
	config.ConnConfig.DefaultQueryExecMode = mode
	w.through, err = pgxpool.NewWithConfig(w.ctx, config)
	w.end(err)
	t.Cleanup(w.through.Close)
	w.db = postgres.New(w.through, append(options, postgres.WithoutNotify())...)
	return w
}

// disturb acts at the next commit points, one after the other.
func (w *wire) disturb(actions ...wireproxy.Action) {
	next := 0
	w.proxy.Script(func(wireproxy.Commit) wireproxy.Action {
		if next == len(actions) {
			return wireproxy.Action{}
		}
		next++
		return actions[next-1]
	})
}

func (w *wire) cut(kinds ...wireproxy.Kind) {
	var actions []wireproxy.Action
	for _, k := range kinds {
		actions = append(actions, wireproxy.Action{Kind: k})
	}
	w.disturb(actions...)
}

// Whatever happens to the first attempt, and to the second, the caller is told
// that its events are stored, and they are stored once.
func TestMissingAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	storedBefore := map[wireproxy.Kind]bool{
		wireproxy.CutAfter: true, wireproxy.CutMiddle: true, wireproxy.Swallow: true, wireproxy.StallReset: true, wireproxy.Late: true,
	}
	for _, kind := range wireproxy.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, postgres.WithCallTimeout(5*time.Second))
			action := wireproxy.Action{Kind: kind, For: 50 * time.Millisecond}
			check := func(what string, repeated bool, err error) {
				t.Helper()
				// A statement that is read late is stored before it is sent again, or after.
				if err != nil || repeated != storedBefore[kind] && kind != wireproxy.Unread {
					t.Errorf("%s: repeated %v, %v", what, repeated, err)
				}
			}
			w.disturb(action)
			res, err := w.db.Append(w.ctx, order("alone"), eventstore.None(), note("1"), note("2"))
			check("Append", res.Repeated, err)

			w.disturb(action)
			all, err := w.db.AppendAll(w.ctx,
				eventstore.Write{Stream: order("all 1"), Expect: eventstore.None(), Events: []event.Raw{note("1")}},
				eventstore.Write{Stream: order("all 2"), Events: []event.Raw{note("1"), note("2")}})
			if err != nil {
				t.Fatal(err)
			}
			check("AppendAll", all[0].Repeated && all[1].Repeated, err)

			release := w.db.HoldLanes()
			calls := w.gather(w.later("group 1", eventstore.None(), note("1")), w.later("group 2", eventstore.Any(), note("1"), note("2")))
			w.disturb(action)
			release()
			for _, c := range calls {
				res, err := c.wait()
				check("Append in a group", res.Repeated, err)
			}
			w.until("the late statements have run", func() bool { return w.active() == 0 })
			for id, want := range map[string]int{"alone": 2, "all 1": 1, "all 2": 2, "group 1": 1, "group 2": 2} {
				if got := w.stored(id); got != want {
					t.Errorf("%s has %d events, want %d", id, got, want)
				}
			}
		})
	}
}

// active returns how many transactions of the database are open, beside this one.
func (s *script) active() int {
	s.Helper()
	var n int
	s.end(s.pool.QueryRow(s.ctx, `
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database()
  AND state <> 'idle'
  AND pid <> pg_backend_pid()`).Scan(&n))
	return n
}

// A refusal of what was sent again is an answer when it binds the first attempt
// too; else the outcome stays unknown, and does not look like a conflict.
func TestRefusalOfAResend(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	last := note("last")
	last.Closes = true
	known := note("known")
	for id, e := range map[string]event.Raw{"taken": note("x"), "closed": last, "reused": known} {
		_, err := postgres.New(w.pool).Append(w.ctx, order(id), eventstore.None(), e)
		w.end(err)
	}
	other := known
	other.Payload = []byte("other")
	for _, tt := range []struct {
		id     string
		expect eventstore.Expect
		e      event.Raw
		is     error
		text   string
	}{
		{"taken", eventstore.None(), note("x"), eventstore.ErrConflict, "append order-taken: expected no event, stream is at 1"},
		{"closed", eventstore.Any(), note("x"), eventstore.ErrClosed, "append order-closed: stream was closed at version 1"},
		{"reused", eventstore.Exactly(7), other, eventstore.ErrIDReused, "append order-reused: event id " + known.Metadata.ID.String() + " is already used at version 1 for something else"},
		{"taken", eventstore.Exactly(7), note("x"), eventstore.ErrOutcomeUnknown, "append order-taken: outcome unknown: sent again, it was refused for now: append order-taken: expected version 7, stream is at 1, after: "},
		{"new", eventstore.Exists(), note("x"), eventstore.ErrOutcomeUnknown, "append order-new: outcome unknown: sent again, it was refused for now: append order-new: expected at least one event, stream is at 0, after: "},
	} {
		w.cut(wireproxy.CutBefore)
		_, err := w.db.Append(w.ctx, order(tt.id), tt.expect, tt.e)
		if !errors.Is(err, tt.is) || !strings.HasPrefix(err.Error(), tt.text) || errors.Is(err, eventstore.ErrConflict) != (tt.is == eventstore.ErrConflict) { //nolint:errorlint // of the table
			t.Errorf("Append to %s = %v\nwant %s", tt.id, err, tt.text)
		}
		w.cut(wireproxy.CutBefore)
		_, err = w.db.AppendAll(w.ctx, eventstore.Write{Stream: order(tt.id), Expect: tt.expect, Events: []event.Raw{tt.e}}, eventstore.Write{Stream: order("beside"), Events: []event.Raw{note("x")}})
		if !errors.Is(err, tt.is) || errors.Is(err, eventstore.ErrConflict) != (tt.is == eventstore.ErrConflict) { //nolint:errorlint // of the table
			t.Errorf("AppendAll with %s = %v\nwant %s", tt.id, err, tt.text)
		}
	}
	if got := w.stored("beside"); got != 0 {
		t.Errorf("%d events beside refused ones, want 0", got)
	}
	release := w.db.HoldLanes()
	members := w.gather(w.later("taken", eventstore.Exactly(7), note("x")), w.later("group", eventstore.Exactly(1), note("x")))
	w.cut(wireproxy.CutBefore)
	release()
	for _, c := range members {
		if _, err := c.wait(); !errors.Is(err, eventstore.ErrOutcomeUnknown) || errors.Is(err, eventstore.ErrConflict) {
			t.Errorf("Append to %s in a group = %v, want ErrOutcomeUnknown", c.stream, err)
		}
	}
}

// A look-up reads the stream and the ids, each as of its own moment. An append that
// commits in between is not taken for a rival of itself.
func TestFirstAttemptCommitsDuringALookUp(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var function string
	s.end(s.pool.QueryRow(s.ctx, `SELECT pg_get_functiondef('annals.look_up_v1'::regproc)`).Scan(&function))
	const second = "    SELECT count(*),"
	if strings.Count(function, second) != 1 {
		t.Fatalf("%q is not once in look_up_v1: mend the test", second)
	}
	_, err := s.pool.Exec(s.ctx, strings.Replace(function, second, "    PERFORM pg_advisory_xact_lock(4711);\n"+second, 1))
	s.end(err)
	e := note("x")
	e.Metadata.ID = event.NewID()
	holder := s.begin()
	_, err = holder.Exec(s.ctx, `SELECT pg_advisory_xact_lock(4711)`)
	s.end(err)
	outcome := make(chan string, 1)
	go func() {
		var got string
		err := s.pool.QueryRow(s.ctx, `SELECT outcome FROM annals.look_up_v1('order', 's', 'none', 0, $1, $2, $3, $4, $5, false)`,
			[][16]byte{e.Metadata.ID}, []string{e.Name}, []int16{int16(e.Schema)}, []string{e.ContentType}, [][]byte{e.Payload}).Scan(&got)
		if err != nil {
			got = err.Error()
		}
		outcome <- got
	}()
	s.until("the look-up is between its two reads", func() bool {
		var waits bool
		s.end(holder.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objid = 4711 AND NOT l.granted)`).Scan(&waits))
		return waits
	})
	_, err = s.db.Append(s.ctx, order("s"), eventstore.None(), e)
	s.end(err)
	s.commit(holder)
	if got := <-outcome; got != "repeated" {
		t.Errorf("look-up = %s, want repeated", got)
	}
}

// An error of the server rejects the attempt that it answers, and no earlier one.
func TestResendOutlivesWhatTheServerRejects(t *testing.T) {
	t.Parallel()
	w := newWire(t, postgres.WithCallTimeout(1500*time.Millisecond))
	w.exec(`
CREATE SEQUENCE public.refusals;
GRANT USAGE ON SEQUENCE public.refusals TO PUBLIC;
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.stream_id = 'never' OR nextval('public.refusals') <= 3 THEN
		RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER full_disk BEFORE INSERT ON annals.events FOR EACH ROW EXECUTE FUNCTION full_disk();`)
	w.disturb(wireproxy.Action{Kind: wireproxy.CutBefore})
	if res, err := w.db.Append(w.ctx, order("s"), eventstore.None(), note("x")); err != nil || res.Version != 1 || res.Repeated {
		t.Errorf("Append = %+v, %v, want it stored at last", res, err)
	}
	_, err := w.db.Append(w.ctx, order("never"), eventstore.None(), note("x"))
	if err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-never: ERROR: no space left") {
		t.Errorf("Append = %v, want the rejection of a first attempt", err)
	}
	w.cut(wireproxy.CutBefore)
	_, err = w.db.Append(w.ctx, order("never"), eventstore.None(), note("x"))
	if !errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-never: outcome unknown: no answer within 1.5s (WithCallTimeout), after: ") {
		t.Errorf("Append = %v, want ErrOutcomeUnknown: an earlier attempt may be stored", err)
	}
}

// A connection that breaks in a caller's transaction ends that: its append is not
// stored, and its error is a plain one.
func TestConnectionBreaksInACallersTransaction(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.exec(`
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
CREATE TRIGGER dawdle BEFORE INSERT ON annals.events FOR EACH ROW EXECUTE FUNCTION dawdle();`)
	for what, do := range map[string]func(context.Context, eventstore.Store) error{
		"Append": func(ctx context.Context, store eventstore.Store) error {
			_, err := store.Append(ctx, order("s"), eventstore.None(), note("x"))
			return err
		},
		"AppendAll": func(ctx context.Context, store eventstore.Store) error {
			_, err := store.AppendAll(ctx, eventstore.Write{Stream: order("s"), Events: []event.Raw{note("x")}})
			return err
		},
	} {
		tx := w.beginOn(w.through)
		ended := make(chan error, 1)
		go func() { ended <- do(w.ctx, w.db.Tx(tx)) }()
		w.until("it sleeps", func() bool { return w.active() == 1 })
		w.proxy.CloseAll()
		if err := <-ended; err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-s: ") {
			t.Errorf("%s = %v, want a plain error", what, err)
		}
		if err := tx.Commit(w.ctx); err == nil {
			t.Errorf("%s: the commit of a broken transaction succeeds", what)
		}
		w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`)
		w.until("it has ended", func() bool { return w.active() == 0 })
	}
	if got := w.stored("s"); got != 0 {
		t.Errorf("%d events, want 0", got)
	}
}

// The usual append makes one round trip and no other attempt.
func TestAnswerAtOnceIsSentOnce(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	var commits atomic.Int32
	w.proxy.Script(func(wireproxy.Commit) wireproxy.Action {
		commits.Add(1)
		return wireproxy.Action{}
	})
	for i := range 5 {
		w.append(w.db, fmt.Sprint(i))
	}
	if got := commits.Load(); got != 5 {
		t.Errorf("%d commits, want 5", got)
	}
}

// The modes that a pooler needs find out as well.
func TestMissingAnswersInOtherModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			w := wiredIn(newGroupScript(t), mode)
			w.exec(notesTable)
			for n, kind := range []wireproxy.Kind{wireproxy.CutBefore, wireproxy.CutMiddle, wireproxy.CutAfter} {
				w.cut(kind)
				if res, err := w.db.Append(w.ctx, order(fmt.Sprint("append ", n)), eventstore.None(), note("x")); err != nil || res.Version != 1 || res.Repeated != (n > 0) {
					t.Errorf("%s: Append = %+v, %v", kind, res, err)
				}
				w.cut(kind)
				calls := 0
				err := w.db.Transact(w.ctx, w.noted(fmt.Sprint("transact ", n), &calls))
				if n > 0 && err != nil || n == 0 && !errors.Is(err, postgres.ErrNotCommitted) {
					t.Errorf("%s: Transact = %v", kind, err)
				}
			}
		})
	}
}
