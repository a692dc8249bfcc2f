package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/wireproxy"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

const notesTable = `CREATE TABLE notes (note text NOT NULL, CONSTRAINT notes_once UNIQUE (note) DEFERRABLE INITIALLY DEFERRED)`

// noted appends and writes a row, in one transaction, and counts its calls.
func (w *wire) noted(id string, calls *int) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		*calls++
		if _, err := tx.Exec(ctx, `INSERT INTO notes VALUES ($1)`, id); err != nil {
			return err
		}
		_, err := w.db.Tx(tx).Append(ctx, order(id), eventstore.None(), note(id))
		return err
	}
}

func (s *script) notes(id string) (n int) {
	s.Helper()
	s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM notes WHERE note = $1`, id).Scan(&n))
	return n
}

func TestTransactFindsOutWhatBecameOfItsCommit(t *testing.T) {
	t.Parallel()
	for _, kind := range append(wireproxy.Kinds(), wireproxy.Pass) {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, postgres.WithCallTimeout(8*time.Second))
			w.exec(notesTable)
			calls := 0
			w.disturb(wireproxy.Action{Kind: kind, For: 100 * time.Millisecond})
			err := w.db.Transact(w.ctx, w.noted("s", &calls))
			want := 1
			if kind == wireproxy.CutBefore {
				want = 0
				if !errors.Is(err, postgres.ErrNotCommitted) || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "transact: transaction was not committed: ") {
					t.Errorf("Transact = %v, want ErrNotCommitted", err)
				}
			} else if err != nil {
				t.Errorf("Transact = %v, want nil", err)
			}
			if got := []int{w.stored("s"), w.notes("s"), calls}; got[0] != want || got[1] != want || calls != 1 {
				t.Errorf("%v events, rows, calls, want %d, %d, 1", got, want, want)
			}
		})
	}
}

func TestTransactErrors(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.exec(notesTable)
	w.exec(`INSERT INTO notes VALUES ('there')`)
	failure := errors.New("the caller changes its mind")
	calls := 0
	for _, tt := range []struct {
		what string
		fn   func(context.Context, pgx.Tx) error
		is   error
		text string
	}{
		{"an error of fn", func(ctx context.Context, tx pgx.Tx) error {
			return errors.Join(w.noted("undone", &calls)(ctx, tx), failure)
		}, failure, "the caller changes its mind"},
		{"an error that fn swallows", func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, `SELECT 1/0`)
			return nil
		}, pgx.ErrTxCommitRollback, "transact: transaction was not committed: fn has swallowed an error of the server: commit unexpectedly resulted in rollback"},
		{"a constraint that COMMIT checks", func(ctx context.Context, tx pgx.Tx) error {
			return w.noted("there", &calls)(ctx, tx)
		}, postgres.ErrNotCommitted, "transact: transaction was not committed: ERROR: duplicate key value violates unique constraint"},
		{"an end of its own", func(ctx context.Context, tx pgx.Tx) error {
			return tx.Rollback(ctx)
		}, pgx.ErrTxClosed, "transact: fn has ended it: tx is closed"},
	} {
		err := w.db.Transact(w.ctx, tt.fn)
		if !errors.Is(err, tt.is) || !strings.HasPrefix(err.Error(), tt.text) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Errorf("%s: Transact = %v\nwant %s", tt.what, err, tt.text)
		}
		if tt.is != failure && tt.is != pgx.ErrTxClosed && !errors.Is(err, postgres.ErrNotCommitted) { //nolint:errorlint // of the table
			t.Errorf("%s: Transact = %v, want ErrNotCommitted", tt.what, err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic of fn does not come through")
			}
		}()
		_ = w.db.Transact(w.ctx, func(context.Context, pgx.Tx) error { panic("fn") })
	}()
	w.until("nothing is left open", func() bool { return w.active() == 0 && w.through.Stat().AcquiredConns() == 0 })
	if w.stored("undone")+w.stored("there")+w.notes("undone") != 0 {
		t.Error("something of a transaction that was rolled back is stored")
	}
}

// A transaction that has written nothing needs no answer.
func TestTransactThatOnlyReads(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for _, kind := range []wireproxy.Kind{wireproxy.CutBefore, wireproxy.CutAfter} {
		w.cut(kind)
		err := w.db.Transact(w.ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT 1`)
			return err
		})
		if err != nil {
			t.Errorf("%s: Transact = %v, want nil", kind, err)
		}
	}
}

// While the old backend may still commit, the outcome stays unknown.
func TestTransactDoesNotGuess(t *testing.T) {
	t.Parallel()
	w := newWire(t, postgres.WithCallTimeout(1200*time.Millisecond))
	w.exec(notesTable)
	calls := 0
	w.disturb(wireproxy.Action{Kind: wireproxy.Late, For: 2 * time.Second})
	err := w.db.Transact(w.ctx, w.noted("s", &calls))
	if !errors.Is(err, eventstore.ErrOutcomeUnknown) || errors.Is(err, postgres.ErrNotCommitted) || !strings.HasPrefix(err.Error(), "transact: outcome unknown: no answer within 1.2s (WithCallTimeout), after: ") {
		t.Errorf("Transact = %v, want ErrOutcomeUnknown", err)
	}
	w.until("it is committed", func() bool { return w.stored("s") == 1 })
}

// An Advance whose COMMIT has no answer: the next one waits for its end, and sees
// what it has done.
func TestAdvanceAfterAnUnknownCommit(t *testing.T) {
	t.Parallel()
	for _, kind := range wireproxy.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, postgres.WithCallTimeout(5*time.Second))
			advance := func(ctx context.Context) (from event.Position, err error) {
				err = w.db.Advance(ctx, "totals", worker.Term{}, "", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
					from = at.Position
					at.Position++
					_, err := w.db.Tx(tx).Append(ctx, order("s"), eventstore.Any(), note(fmt.Sprint(at.Position)))
					return worker.Write{Marks: worker.Checkpoint{"": at}}, err
				})
				return from, err
			}
			w.disturb(wireproxy.Action{Kind: kind, For: 100 * time.Millisecond})
			ctx, cancel := context.WithTimeout(w.ctx, 500*time.Millisecond)
			defer cancel()
			_, err := advance(ctx)
			if kind != wireproxy.Delay && (!errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "advance totals: commit: outcome unknown: ")) {
				t.Errorf("Advance = %v, want ErrOutcomeUnknown", err)
			}
			want := event.Position(1)
			if kind == wireproxy.CutBefore {
				want = 0
			}
			if from, err := advance(w.ctx); err != nil || from != want {
				t.Errorf("the next Advance is from %d, %v, want %d", from, err, want)
			}
			if got := w.stored("s"); got != int(want)+1 {
				t.Errorf("%d events, want %d", got, want+1)
			}
		})
	}
}

// A crash may give the number of the transaction to another one, so the status
// proves nothing after it: here the transaction was never committed, and its
// number says that it was.
func TestFaultTransactAfterACrash(t *testing.T) {
	t.Parallel()
	w := wired(stage(t, annals, ownServer(t)))
	w.exec(notesTable)
	w.holdBackWAL()
	var id, status string
	w.proxy.Script(func(wireproxy.Commit) wireproxy.Action {
		w.crash()
		for other := ""; other != id; {
			w.end(w.pool.QueryRow(w.ctx, `INSERT INTO notes VALUES (gen_random_uuid()) RETURNING pg_current_xact_id()::text`).Scan(&other))
		}
		w.end(w.pool.QueryRow(w.ctx, `SELECT pg_xact_status($1::text::xid8)`, id).Scan(&status))
		return wireproxy.Action{Kind: wireproxy.CutBefore}
	})
	err := w.db.Transact(w.ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `INSERT INTO notes VALUES ('mine') RETURNING pg_current_xact_id()::text`).Scan(&id)
	})
	if status != "committed" || w.notes("mine") != 0 {
		t.Fatalf("transaction %s is %s, with %d rows: it shows nothing", id, status, w.notes("mine"))
	}
	if !errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "transact: outcome unknown: the server has another history since: ") {
		t.Errorf("Transact = %v, want ErrOutcomeUnknown", err)
	}
}
