package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
)

func TestConflictOfCallersTransactions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.append(s.db, "s")
	s.level = pgx.RepeatableRead
	a := s.begin()
	_, err := a.Exec(s.ctx, `SELECT count(*) FROM annals.events`) // takes the snapshot
	s.end(err)
	s.append(s.db, "s")
	_, err = s.db.Tx(a).Append(s.ctx, order("s"), eventstore.Exactly(1), note("x"))
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) || conflict.Expected != eventstore.Exactly(1) {
		t.Errorf("Append = %v, want a *ConflictError although the rival cannot be seen", err)
	}
	_, err = s.db.Tx(a).Append(s.ctx, order("s"), eventstore.Any(), note("x"))
	if err == nil || errors.Is(err, eventstore.ErrConflict) || !strings.Contains(err.Error(), "events_version_key") {
		t.Errorf("Append = %v, want the server's error: any version cannot be in conflict", err)
	}
	s.append(s.db.Tx(a), "another") // still usable
	s.commit(a)
	s.want("at the end", "s", "s@2", "another")
	s.end(s.verdict())
}

func TestDeadlockOfCallersTransactions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a, b := s.begin(), s.begin()
	s.append(s.db.Tx(a), "a")
	s.append(s.db.Tx(b), "b")
	ended := make(chan error, 2)
	for tx, id := range map[pgx.Tx]string{a: "b", b: "a"} {
		go func() {
			_, err := s.db.Tx(tx).Append(s.ctx, order(id), eventstore.None(), note(id))
			ended <- errors.Join(err, tx.Rollback(s.ctx))
		}()
	}
	// The winner goes on when the loser has rolled back, and may return before it.
	loser, winner := <-ended, <-ended
	if loser == nil {
		loser, winner = winner, loser
	}
	if loser == nil || errors.Is(loser, eventstore.ErrConflict) || !strings.Contains(loser.Error(), "40P01") {
		t.Errorf("Append = %v, want the deadlock as it is", loser)
	}
	if winner != nil {
		t.Errorf("Append = %v, want the other one to win", winner)
	}
}

func TestNoSavepointIsLeft(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin()
	s.append(s.db.Tx(a), "s")
	if _, err := s.db.Tx(a).Append(s.ctx, order("s"), eventstore.None(), note("x")); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("Append = %v, want ErrConflict", err)
	}
	if _, err := a.Exec(s.ctx, `RELEASE SAVEPOINT annals_append`); err == nil {
		t.Error("a savepoint is left in the caller's transaction")
	}
}
