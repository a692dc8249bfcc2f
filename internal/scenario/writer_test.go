package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

const (
	streams      = 200
	longestHold  = 300 * time.Millisecond
	longScenario = time.Minute // from here on a few transactions are held much longer
	longHold     = 30 * time.Second
)

// disturbance delays a part of the commits: a trigger that runs between the
// inserts and the commit sleeps up to 30 ms, for the ids that the seed chose.
const disturbance = `
CREATE TABLE elsewhere (n bigint NOT NULL);
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	bytes bytea := uuid_send(NEW.event_id);
BEGIN
	IF get_byte(bytes, 15) < 10 THEN
		PERFORM pg_sleep(0.03 * get_byte(bytes, 14) / 255);
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER dawdle
AFTER INSERT ON annals.events
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION dawdle();`

// writer appends in every way there is. What it does comes from its source
// alone: each step is drawn whole before it is done.
type writer struct {
	pool    *pgxpool.Pool
	db      *postgres.DB
	history *oracle.History
	random  *rand.Rand
	zipf    *rand.Zipf
	until   time.Time
	long    bool
	own     string // id of the stream that it holds for long

	versions map[event.Stream]event.Version // where it has last seen its streams
	tally    tally
}

// tally counts what a writer has been through.
type tally struct{ steps, conflicts, transactions, failed, rolledBack int }

func (a tally) plus(b tally) tally {
	return tally{a.steps + b.steps, a.conflicts + b.conflicts, a.transactions + b.transactions, a.failed + b.failed, a.rolledBack + b.rolledBack}
}

func newWriter(pool *pgxpool.Pool, db *postgres.DB, h *oracle.History, r *rand.Rand, own string, d time.Duration) *writer {
	return &writer{
		pool: pool, db: db, history: h, random: r, zipf: rand.NewZipf(r, 1.2, 4, streams-1),
		until: time.Now().Add(d), long: d >= longScenario, own: own, versions: map[event.Stream]event.Version{},
	}
}

// write runs steps until its time is over. The error is one that a caller must
// not get.
func (w *writer) write(ctx context.Context) error {
	for time.Now().Before(w.until) {
		w.tally.steps++
		var err error
		switch n := w.random.IntN(100); {
		case n < 55:
			err = w.append(ctx)
		case n < 70:
			err = w.appendAll(ctx)
		default:
			w.tally.transactions++
			err = w.transaction(ctx, w.drawPlan())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// draw draws writes to different streams.
func (w *writer) draw(n int) []eventstore.Write {
	var out []eventstore.Write
	taken := map[event.Stream]bool{}
	for len(out) < n {
		s := stream(w.zipf.Uint64())
		if taken[s] {
			continue
		}
		taken[s] = true
		write := eventstore.Write{Stream: s}
		if w.random.IntN(4) == 0 { // often wrong by now
			write.Expect = eventstore.Exactly(w.versions[s])
		}
		for range 1 + w.random.IntN(10) {
			write.Events = append(write.Events, note(w.random, s.Category+"."+[...]string{"noted", "changed", "left"}[w.random.IntN(3)], w.payload()))
		}
		out = append(out, write)
	}
	return out
}

// payload draws 0.2 to 20 kB, small ones more often.
func (w *writer) payload() []byte {
	b := make([]byte, int(200*math.Pow(100, w.random.Float64())))
	for i := 0; i < len(b); i += 8 {
		v := w.random.Uint64()
		for j := i; j < min(i+8, len(b)); j++ {
			b[j] = byte(v >> (8 * (j - i)))
		}
	}
	return b
}

func (w *writer) append(ctx context.Context) error {
	write := w.draw(1)[0]
	a := w.history.Begin(write)
	res, err := w.db.Append(ctx, write.Stream, write.Expect, write.Events...)
	a.End([]eventstore.Result{res}, err)
	return w.learn(err, write, res)
}

func (w *writer) appendAll(ctx context.Context) error {
	writes := w.draw(1 + w.random.IntN(5))
	a := w.history.Begin(writes...)
	res, err := w.db.AppendAll(ctx, writes...)
	a.End(res, err)
	for i, write := range writes {
		var r eventstore.Result
		if err == nil {
			r = res[i]
		}
		if err := w.learn(err, write, r); err != nil {
			return err
		}
	}
	return nil
}

// learn keeps where a stream is now. A conflict is no fault of the store.
func (w *writer) learn(err error, write eventstore.Write, res eventstore.Result) error {
	var conflict *eventstore.ConflictError
	switch {
	case errors.As(err, &conflict):
		w.tally.conflicts++
		w.versions[conflict.Stream] = conflict.Actual
		return nil
	case err != nil:
		return fmt.Errorf("a caller got: %w", err)
	}
	w.versions[write.Stream] = res.Version
	return nil
}

// plan is what a caller's transaction does.
type plan struct {
	elsewhere int // rows that it writes before anything else
	parts     []part
	rollback  bool
}

type part struct {
	write     eventstore.Write
	savepoint bool
	undo      bool          // goes back to the savepoint
	hold      time.Duration // stays open before the next part
}

func (w *writer) drawPlan() plan {
	p := plan{elsewhere: w.random.IntN(6), rollback: w.random.IntN(3) == 0}
	var long *part
	for _, write := range w.draw(1 + w.random.IntN(4)) {
		q := part{write: write, savepoint: w.random.IntN(2) == 0, undo: w.random.IntN(3) == 0}
		if w.random.IntN(2) == 0 {
			q.hold = time.Duration(w.random.Float64() * w.random.Float64() * float64(longestHold))
		}
		if once := w.random.IntN(200) == 0; once && w.long {
			// On its own, and in a stream of its own: or the other writers would wait
			// for it most of the time.
			q.hold, q.write.Stream.ID, q.write.Expect = longHold, w.own, eventstore.Any()
			long = &q
		}
		p.parts = append(p.parts, q)
	}
	if long != nil {
		p.parts = []part{*long}
	}
	return p
}

// transaction does what a caller may do. Deadlocks with other callers are the
// callers' business: they roll back.
func (w *writer) transaction(ctx context.Context, p plan) error {
	a := w.history.Begin()
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := w.inside(ctx, tx, a, p); err != nil {
		w.tally.failed++
		a.End(nil, errors.Join(err, tx.Rollback(ctx)))
		return ctx.Err()
	}
	if p.rollback {
		w.tally.rolledBack++
		a.End(nil, oracle.ErrRolledBack)
		return tx.Rollback(ctx)
	}
	if err = tx.Commit(ctx); err != nil {
		err = fmt.Errorf("commit: %w: %w", eventstore.ErrOutcomeUnknown, err)
	}
	a.End(nil, err)
	return err
}

func (w *writer) inside(ctx context.Context, tx pgx.Tx, a *oracle.Append, p plan) error {
	for i := range p.elsewhere {
		if _, err := tx.Exec(ctx, `INSERT INTO elsewhere VALUES ($1)`, i); err != nil {
			return err
		}
	}
	for _, q := range p.parts {
		if err := w.part(ctx, tx, a, q); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, q.hold.Seconds()); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) part(ctx context.Context, tx pgx.Tx, a *oracle.Append, q part) error {
	in, savepoint := tx, a.Savepoint()
	if q.savepoint {
		var err error
		if in, err = tx.Begin(ctx); err != nil {
			return err
		}
	}
	res, err := w.db.Tx(in).Append(ctx, q.write.Stream, q.write.Expect, q.write.Events...)
	a.Wrote(q.write, res, err)
	if err != nil && !errors.Is(err, eventstore.ErrConflict) {
		return err
	}
	switch {
	case !q.savepoint:
		return nil
	case q.undo:
		a.RollbackTo(savepoint)
		return in.Rollback(ctx)
	default:
		return in.Commit(ctx)
	}
}
