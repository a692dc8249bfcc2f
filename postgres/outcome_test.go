package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// blocked starts an append that waits for an open rival, and returns when it
// waits, with the backend it waits in.
func (s *script) blocked(ctx context.Context, e event.Raw) (ended chan error, pid int) {
	s.Helper()
	ended = make(chan error, 1)
	go func() {
		_, err := s.db.Append(ctx, order("s"), eventstore.None(), e)
		ended <- err
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.pool.QueryRow(s.ctx, `SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&pid)
		s.end(err)
		if pid != 0 {
			return ended, pid
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatal("the append does not wait")
		}
	}
}

func TestLostAnswerIsResolvedByTheSameIDs(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	rival := s.begin()
	_, err := s.db.Tx(rival).Append(s.ctx, order("s"), eventstore.None(), note("rival"))
	s.end(err)
	e := note("mine")
	ended, pid := s.blocked(s.ctx, e)
	_, err = s.pool.Exec(s.ctx, `SELECT pg_terminate_backend($1)`, pid)
	s.end(err)
	s.until("it has been sent again", func() bool {
		var again bool
		s.end(s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND pid <> $1)`, pid).Scan(&again))
		return again
	})
	s.end(rival.Rollback(s.ctx))
	if err := <-ended; err != nil {
		t.Errorf("Append = %v, want nil", err)
	}
	res, err := s.db.Append(s.ctx, order("s"), eventstore.None(), e)
	if err != nil || res.Version != 1 || !res.Repeated {
		t.Errorf("Append = %+v, %v, want a repeat", res, err)
	}
}

// The rival holds the stream for longer than the call may take.
func TestCallTimeoutWhileWaitingIsUnknown(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.db = postgres.New(s.pool, postgres.WithCallTimeout(300*time.Millisecond))
	rival := s.begin()
	_, err := s.db.Tx(rival).Append(s.ctx, order("s"), eventstore.None(), note("rival"))
	s.end(err)
	ended, _ := s.blocked(s.ctx, note("mine"))
	if err := <-ended; !errors.Is(err, eventstore.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.HasPrefix(err.Error(), "append order-s: outcome unknown: no answer within 300ms (WithCallTimeout), after: ") {
		t.Errorf("Append = %v, want ErrOutcomeUnknown, and which limit it was", err)
	}
}

func TestDeadlineWhileWaitingIsUnknown(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	rival := s.begin()
	_, err := s.db.Tx(rival).Append(s.ctx, order("s"), eventstore.None(), note("rival"))
	s.end(err)
	ctx, cancel := context.WithCancel(s.ctx)
	ended, _ := s.blocked(ctx, note("mine"))
	cancel()
	if err := <-ended; !errors.Is(err, eventstore.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v, want ErrOutcomeUnknown and the context's error", err)
	}
}

// The loser of a race waits for the winner's commit and gets a conflict.
func TestRivalThatIsStillOpen(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	rival := s.begin()
	_, err := s.db.Tx(rival).Append(s.ctx, order("s"), eventstore.None(), note("rival"))
	s.end(err)
	ended, _ := s.blocked(s.ctx, note("mine"))
	s.end(rival.Commit(s.ctx))
	err = <-ended
	if want := "append order-s: expected no event, stream is at 1"; err == nil || err.Error() != want {
		t.Errorf("Append = %v, want %s", err, want)
	}
}

func TestSwallowedRowsAreAnError(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, err := s.pool.Exec(s.ctx, `
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER swallow BEFORE INSERT ON annals.events FOR EACH ROW EXECUTE FUNCTION swallow();`)
	s.end(err)
	_, err = s.db.Append(s.ctx, order("s"), eventstore.Any(), note("x"))
	if err == nil || !strings.Contains(err.Error(), "append order-s: 0 of 1 events were inserted") || errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("Append = %v, want a rejection that names both numbers", err)
	}
}

func TestUnreachableServerRejects(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, err = postgres.New(pool).Append(t.Context(), order("s"), eventstore.Any(), note("x"))
	if err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-s: ") {
		t.Errorf("Append = %v, want a rejection: nothing was sent", err)
	}
}

func TestStoredTimesAndCollations(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var wrong []string
	s.end(s.pool.QueryRow(s.ctx, `
SELECT array_agg(c.relname || '.' || a.attname)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_collation l ON l.oid = a.attcollation
WHERE c.relnamespace = 'annals'::regnamespace
  AND c.relkind = 'r'
  AND l.collname <> 'C'`).Scan(&wrong))
	if len(wrong) > 0 {
		t.Errorf("columns without COLLATE \"C\": %v", wrong)
	}
	s.append(s.db, "s")
	var stream, text string
	s.end(s.pool.QueryRow(s.ctx, `SELECT stream, coalesce(payload::text, 'NULL') FROM annals.events_readable`).Scan(&stream, &text))
	if stream != "order-s" || text != "NULL" {
		t.Errorf("events_readable shows %s, %s", stream, text)
	}
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool, postgres.WithSchema("nothing_here"))
	ctx := t.Context()
	steps, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("check schema nothing_here: at version 0, want %d, run annals migrate: schema is not migrated", steps[len(steps)-1].Version)
	if err := db.Check(ctx); !errors.Is(err, postgres.ErrNotMigrated) || err.Error() != want {
		t.Errorf("Check = %v", err)
	}
	_, err = db.Append(ctx, order("s"), eventstore.Any(), note("x"))
	if !errors.Is(err, postgres.ErrNotMigrated) || !strings.HasPrefix(err.Error(), "append order-s: schema is not migrated, run annals migrate: ") {
		t.Errorf("Append = %v", err)
	}
	if _, err := db.ReadLog(ctx, eventstore.LogQuery{}); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("ReadLog = %v", err)
	}
	if _, err := db.Head(ctx); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("Head = %v", err)
	}
	if _, err := db.Checkpoint(ctx, "x"); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("Checkpoint = %v", err)
	}
	for _, err := range db.ReadStream(ctx, order("s"), eventstore.StreamQuery{}) {
		if !errors.Is(err, postgres.ErrNotMigrated) {
			t.Errorf("ReadStream = %v", err)
		}
	}
	if err := postgres.New(pool).Check(ctx); err != nil {
		t.Errorf("Check of a migrated schema = %v", err)
	}
}
