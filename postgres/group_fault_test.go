package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// The answer to a group is lost, although all of it was stored: each member
// finds out by sending the same events again, alone.
func TestGroupLosesItsAnswer(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	var g gate
	s.behind(&g)
	release := s.db.HoldLanes()
	calls := s.gather(s.later("a", eventstore.None(), note("1")), s.later("b", eventstore.Any(), note("1"), note("2")))
	g.close()
	release()
	<-g.held
	g.pass <- false
	s.resolved(calls, true)
}

// The server ends the connection in the middle of a group: nothing was stored,
// and each member finds out by sending the same events again.
func TestGroupIsKilled(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	_, err := s.pool.Exec(s.ctx, `
CREATE SEQUENCE public.kills;
GRANT USAGE ON SEQUENCE public.kills TO PUBLIC;
CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('public.kills') <= 3 THEN -- the group, and an attempt of each
		PERFORM pg_terminate_backend(pg_backend_pid());
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER kill BEFORE INSERT ON annals.events FOR EACH ROW EXECUTE FUNCTION kill();`)
	s.end(err)
	release := s.db.HoldLanes()
	calls := s.gather(s.later("a", eventstore.None(), note("1")), s.later("b", eventstore.Any(), note("1"), note("2")))
	release()
	s.resolved(calls, false)
}

// resolved wants every append stored once: by the group that has no answer, or by
// a later attempt.
func (s *script) resolved(calls []*call, byTheGroup bool) {
	s.Helper()
	for _, c := range calls {
		res, err := c.wait()
		if err != nil || res.Repeated != byTheGroup || int(res.Version) != len(c.events) {
			s.Errorf("Append to %s = %+v, %v, want repeated: %v", c.stream, res, err, byTheGroup)
		}
		if got := s.stored(c.stream.ID); got != len(c.events) {
			s.Errorf("%s has %d events, want %d", c.stream, got, len(c.events))
		}
	}
}

// What the server refuses because of one member harms none of the others.
func TestGroupWithAMemberThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	_, err := s.pool.Exec(s.ctx, `
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END';
CREATE TRIGGER refuse BEFORE INSERT ON annals.events FOR EACH ROW WHEN (NEW.stream_id = 'b') EXECUTE FUNCTION refuse();`)
	s.end(err)
	release := s.db.HoldLanes()
	calls := s.gather(s.later("a", eventstore.None(), note("1")), s.later("b", eventstore.Any(), note("1")), s.later("c", eventstore.Any(), note("1")))
	release()
	for _, c := range calls {
		_, err := c.wait()
		if c.stream.ID != "b" && err != nil {
			t.Errorf("Append to %s = %v", c.stream, err)
		}
		if c.stream.ID == "b" && (err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-b: ERROR: not this one")) {
			t.Errorf("Append = %v, want the server's error", err)
		}
	}
}

// The pool is closed while appends wait: they end with an error, and nothing
// stays behind.
func TestGroupOfAClosedPool(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	pool := s.another(2)
	s.db = postgres.New(pool)
	release := s.db.HoldLanes()
	calls := s.gather(
		s.later("a", eventstore.Any(), note("1")), s.later("a", eventstore.Any(), note("2")), s.later("a", eventstore.Any(), note("3")),
		s.later("b", eventstore.Any(), note("1")), s.later("c", eventstore.Any(), note("1")),
	)
	pool.Close()
	release()
	for _, c := range calls {
		if _, err := c.wait(); err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) || err.Error() != "append "+c.stream.String()+": closed pool" {
			t.Errorf("Append = %v, want a rejection: nothing was sent", err)
		}
	}
	s.until("the group is idle", s.db.Idle)
	s.db = postgres.New(s.pool)
	s.want("at the end")
}
