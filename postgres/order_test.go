package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// script plays appends and reads of several sessions in a fixed order.
type script struct {
	*testing.T
	pool *pgxpool.Pool
	db   *postgres.DB
	ctx  context.Context
}

func newScript(t *testing.T) *script {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	pool := postgrestest.Pool(t)
	return &script{t, pool, postgres.New(pool), ctx}
}

func note(text string) event.Raw {
	return event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte(text), Metadata: event.Metadata{ID: event.NewID()}}
}

func order(id string) event.Stream { return event.Stream{Category: "order", ID: id} }

func (s *script) begin(level pgx.TxIsoLevel) pgx.Tx {
	s.Helper()
	tx, err := s.pool.BeginTx(s.ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(s.ctx)) })
	return tx
}

func (s *script) append(store eventstore.Store, id string) {
	s.Helper()
	if _, err := store.Append(s.ctx, order(id), eventstore.Any(), note(id)); err != nil {
		s.Fatal(err)
	}
}

func (s *script) end(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// log reads everything that is final, in pages of two, and returns the streams.
func (s *script) log() []string {
	s.Helper()
	out := []string{}
	for q := (eventstore.LogQuery{Limit: 2}); ; {
		page, err := s.db.ReadLog(s.ctx, q)
		if err != nil {
			s.Fatal(err)
		}
		if len(page.Events) == 0 {
			return out
		}
		for _, e := range page.Events {
			out = append(out, e.Stream.ID)
		}
		q.After = page.Next
	}
}

func (s *script) want(when string, want ...string) {
	s.Helper()
	if diff := cmp.Diff(append([]string{}, want...), s.log()); diff != "" {
		s.Errorf("%s: %s", when, diff)
	}
}

// P5: what was drawn first commits last. A reader that went by position alone
// would hand out b and never see a.
func TestLogWaitsForAnOpenAppend(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.append(s.db, "first")
	a := s.begin("")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")
	s.want("while a is open", "first")
	s.end(a.Commit(s.ctx))
	s.want("after a has committed", "first", "a", "b")
}

func TestLogPassesARolledBackAppend(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin("")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")
	s.want("while a is open")
	s.end(a.Rollback(s.ctx))
	s.append(s.db, "c")
	s.want("after a has rolled back", "b", "c")
}

func TestLogDelaysOnlyWhatComesAfterTheOpenAppend(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	hole := s.begin("")
	s.append(s.db.Tx(hole), "hole")
	s.end(hole.Rollback(s.ctx))
	s.append(s.db, "before")
	a := s.begin("")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "after")
	s.want("beyond a hole, up to the open append", "before")
	s.end(a.Commit(s.ctx))
	s.want("at the end", "before", "a", "after")
}

// A transaction that keeps its first mark, rolls back to a savepoint from before
// it, and appends again must be marked again.
func TestLogAfterRollbackToSavepoint(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin("")
	savepoint, err := a.Begin(s.ctx)
	s.end(err)
	s.append(s.db.Tx(savepoint), "undone")
	s.end(savepoint.Rollback(s.ctx))
	s.append(s.db, "b")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "c")
	s.want("while a is open", "b")
	s.end(a.Commit(s.ctx))
	s.want("at the end", "b", "a", "c")
}

func TestOneMarkForEachTransaction(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin("")
	for i := range 50 {
		s.append(s.db.Tx(a), fmt.Sprint(i))
		s.append(s.db, "other")
	}
	var locks int
	s.end(a.QueryRow(s.ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`).Scan(&locks))
	if locks != 1 {
		t.Errorf("%d locks after 50 appends in one transaction, want 1", locks)
	}
	s.want("while a is open")
	s.end(a.Commit(s.ctx))
	if got := len(s.log()); got != 100 {
		t.Errorf("%d events, want 100", got)
	}
}

// F-05: only appends delay readers.
func TestLogIgnoresUnrelatedTransactions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, err := s.pool.Exec(s.ctx, `CREATE TABLE unrelated (n int)`)
	s.end(err)
	writing, reading := s.begin(""), s.begin(pgx.RepeatableRead)
	_, err = writing.Exec(s.ctx, `INSERT INTO unrelated VALUES (1)`)
	s.end(err)
	_, err = reading.Exec(s.ctx, `SELECT * FROM unrelated`)
	s.end(err)
	hole := s.begin("")
	s.append(s.db.Tx(hole), "hole")
	s.end(hole.Rollback(s.ctx))
	s.append(s.db, "a")
	s.want("beside an open write and an open snapshot", "a")
}

// F-04: a transaction that wrote before it appended has an old id. Log order
// must extend stream order all the same.
func TestLogKeepsStreamOrder(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, err := s.pool.Exec(s.ctx, `CREATE TABLE unrelated (n int)`)
	s.end(err)
	a := s.begin("")
	_, err = a.Exec(s.ctx, `INSERT INTO unrelated VALUES (1)`)
	s.end(err)
	s.append(s.db, "s")
	_, err = s.db.Tx(a).Append(s.ctx, order("s"), eventstore.Exactly(1), note("second"))
	s.end(err)
	s.end(a.Commit(s.ctx))
	page, err := s.db.ReadLog(s.ctx, eventstore.LogQuery{})
	s.end(err)
	if len(page.Events) != 2 || page.Events[0].Version != 1 || page.Events[1].Version != 2 {
		t.Errorf("log %v, want versions 1, 2", page.Events)
	}
}

// A database whose sessions default to REPEATABLE READ must not make readers
// skip, nor appends fail.
func TestLogUnderRepeatableReadByDefault(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	config, err := pgxpool.ParseConfig(s.pool.Config().ConnString())
	s.end(err)
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	pool, err := pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	t.Cleanup(pool.Close)
	s.db = postgres.New(pool)
	a := s.begin("")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")
	s.append(s.db, "b")
	s.want("while a is open")
	s.end(a.Commit(s.ctx))
	s.want("at the end", "a", "b", "b")
}

// The reader must ask for the bound before it reads: this is ReadLog with the
// two statements swapped, and it skips a. It shows that the order matters, and
// that the script would catch it.
func TestReadingBeforeTheBoundSkips(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.append(s.db, "first")
	a := s.begin("")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")

	rows, err := s.pool.Query(s.ctx, `SELECT position FROM annals.read_log_v1(1, 10, NULL)`)
	s.end(err)
	seen, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	s.end(err)
	s.end(a.Commit(s.ctx)) // between the two statements
	var bound int64
	s.end(s.pool.QueryRow(s.ctx, `SELECT bound FROM annals.log_bound_v1()`).Scan(&bound))
	if len(seen) != 1 || seen[0] != 3 || bound != 3 {
		t.Errorf("seen %v with bound %d, want 3 alone declared final, and a at 2 skipped", seen, bound)
	}
	s.want("the right order", "first", "a", "b")
}

// An append that a caller made asynchronous is durable all the same.
func TestAppendSwitchesSynchronousCommitOn(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin("")
	_, err := a.Exec(s.ctx, `SET LOCAL synchronous_commit = off`)
	s.end(err)
	s.append(s.db.Tx(a), "a")
	var setting string
	s.end(a.QueryRow(s.ctx, `SHOW synchronous_commit`).Scan(&setting))
	if setting != "on" {
		t.Errorf("synchronous_commit is %s, want on", setting)
	}
}

func TestTwoStoresInOneDatabase(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, err := postgres.Migrate(s.ctx, s.pool, postgres.WithSchema("second"))
	s.end(err)
	second := postgres.New(s.pool, postgres.WithSchema("second"))
	a := s.begin("")
	s.append(second.Tx(a), "open in the other store")
	s.append(s.db, "hole")
	hole := s.begin("")
	s.append(s.db.Tx(hole), "undone")
	s.end(hole.Rollback(s.ctx))
	s.append(s.db, "b")
	s.want("beside an open append of another store", "hole", "b")
	s.end(a.Commit(s.ctx))
	page, err := second.ReadLog(s.ctx, eventstore.LogQuery{})
	if err != nil || len(page.Events) != 1 || second.Schema() != "second" {
		t.Errorf("the other store has %v, %v", page.Events, err)
	}
}

func TestConflictOfCallersTransactions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.append(s.db, "s")
	a := s.begin(pgx.RepeatableRead)
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
	s.end(a.Commit(s.ctx))
	s.want("at the end", "s", "s", "another")
}

func TestDeadlockOfCallersTransactions(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a, b := s.begin(""), s.begin("")
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
	a := s.begin("")
	s.append(s.db.Tx(a), "s")
	if _, err := s.db.Tx(a).Append(s.ctx, order("s"), eventstore.None(), note("x")); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("Append = %v, want ErrConflict", err)
	}
	if _, err := a.Exec(s.ctx, `RELEASE SAVEPOINT annals_append`); err == nil {
		t.Error("a savepoint is left in the caller's transaction")
	}
}
