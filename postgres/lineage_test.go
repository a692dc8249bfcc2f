package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

func lineageOf(t *testing.T, db *postgres.DB) eventstore.Lineage {
	t.Helper()
	l, err := db.Lineage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func do(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// The database of a test is a copy of its template, so another one holds the log
// than the first row says. Of all who ask first, one begins the generation.
func TestAGenerationBeginsOnce(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen []eventstore.Lineage
	)
	for i := range 8 {
		wg.Go(func() {
			db := postgres.New(pool)
			if i%2 == 0 { // the other who may be first
				do(t, pool, `SELECT annals.publish_mark_v1()`)
			}
			l, err := db.Lineage(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, l)
		})
	}
	wg.Wait()
	if n := one[int](t, pool, `SELECT count(*) FROM annals.lineage`); n != 2 {
		t.Errorf("%d generations, want 2", n)
	}
	for _, l := range seen {
		if diff := cmp.Diff(seen[0], l); diff != "" {
			t.Errorf("two have seen different lineages: %s", diff)
		}
	}
	l := seen[0]
	if len(l) != 2 || l[0].Incarnation != l[1].Incarnation || eventstore.Holder(l[0].Server) == eventstore.Holder(l[1].Server) || l.Now().Replica {
		t.Errorf("lineage %+v, want the same log on two servers", l)
	}
	if got := l.String(); got != l[0].Incarnation.String()+"@0" {
		t.Errorf("text %s, want one incarnation", got)
	}
}

// What is common is what had been written down on the server before: there, and by
// readers of this log.
func TestSinceIsWhatWasWrittenDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		want event.Position
	}{
		"nothing":                       {``, 0},
		"the published mark":            {`UPDATE annals.published_mark SET position = 30`, 30},
		"a reader of the log":           {`INSERT INTO annals.checkpoints (name, part, position, server) VALUES ('a', '', 20, 'before+x'), ('b', '', 40, 'before+x'), ('c', '', 90, 'before+w')`, 40},
		"both":                          {`UPDATE annals.published_mark SET position = 30; INSERT INTO annals.checkpoints (name, part, position, server) VALUES ('a', '', 20, 'before+x')`, 30},
		"the row before":                {`UPDATE annals.lineage SET since = 35; UPDATE annals.published_mark SET position = 30`, 35},
		"a reader of longer ago":        {`INSERT INTO annals.checkpoints (name, part, position, server) VALUES ('a', '', 50, 'long ago+x')`, 0},
		"a reader of another log":       {`INSERT INTO annals.checkpoints (name, part, position, server) VALUES ('a', '', 50, 'elsewhere before+x')`, 0},
		"a mark that was set by hand":   {`INSERT INTO annals.checkpoints (name, part, position) VALUES ('a', '', 50)`, 0},
		"a part of a topic, or a relay": {`INSERT INTO annals.checkpoints (name, part, position, server) VALUES ('a', 'orders/1', 50, 'before+x')`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.Pool(t)
			do(t, pool, `UPDATE annals.lineage SET server = 'before+x'`)
			for sql := range strings.SplitSeq(c.sql, "; ") {
				do(t, pool, sql)
			}
			db := postgres.New(pool)
			l := lineageOf(t, db)
			if len(l) != 2 || l[0].Server != "before+x" || l.Now().Since != c.want || l.Common("before+x") != c.want {
				t.Errorf("lineage %+v, want common up to %d", l, c.want)
			}
			// It stays so, whatever is written down now.
			do(t, pool, `UPDATE annals.published_mark SET position = 99`)
			if diff := cmp.Diff(l, lineageOf(t, db)); diff != "" {
				t.Errorf("the lineage has changed: %s", diff)
			}
		})
	}
}

// A session that may not write tells of the generation, and leaves it to others to
// begin it.
func TestLineageWithoutWriting(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	do(t, pool, `UPDATE annals.lineage SET server = 'before+x'`)
	do(t, pool, `UPDATE annals.published_mark SET position = 30`)
	config := pool.Config()
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	mute, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mute.Close)
	told := lineageOf(t, postgres.New(mute))
	if n := one[int](t, pool, `SELECT count(*) FROM annals.lineage`); n != 1 {
		t.Errorf("%d generations, want 1", n)
	}
	begun := lineageOf(t, postgres.New(pool))
	if diff := cmp.Diff(begun, told); diff != "" || told.Now().Since != 30 {
		t.Errorf("(-begun +told)\n%s", diff)
	}
	if diff := cmp.Diff(begun, lineageOf(t, postgres.New(mute))); diff != "" {
		t.Errorf("(-begun +told later)\n%s", diff)
	}
}

// A dump that is loaded in place makes another table. Nothing else would tell.
func TestServerNamesTheTable(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	before := one[string](t, pool, `SELECT annals.server_v1()`)
	if again := one[string](t, pool, `SELECT annals.server_v1()`); again != before || strings.Count(before, "/") != 3 {
		t.Errorf("%s, then %s", before, again)
	}
	do(t, pool, `ALTER TABLE annals.events RENAME TO former`)
	do(t, pool, `CREATE TABLE annals.events (LIKE annals.former)`)
	if after := one[string](t, pool, `SELECT annals.server_v1()`); after == before {
		t.Errorf("%s, and so it was before", after)
	}
}

// restarted is a store whose server has started again since it was last asked, with
// three events. The mark was made before.
func restarted(t *testing.T) (*pgxpool.Pool, *postgres.DB, worker.Mark) {
	t.Helper()
	pool := postgrestest.Pool(t, `CREATE TABLE effects (n int)`)
	db := postgres.New(pool)
	for range 3 {
		if _, err := db.Append(t.Context(), order("s"), eventstore.Any(), note("x")); err != nil {
			t.Fatal(err)
		}
	}
	before := eventstore.Holder(lineageOf(t, db).Now().Server) + "+before"
	db.KnowServer(before, time.Now().Add(-24*time.Hour))
	return pool, db, worker.Mark{Position: 1, Server: before}
}

// The server that answers is another one than the caller goes by: whatever comes
// first notices, and changes nothing.
func TestTheServerHasChanged(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(ctx context.Context, db *postgres.DB, m worker.Mark) error{
		"before a page": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			page, err := db.ReadLog(ctx, eventstore.LogQuery{Server: m.Server})
			if len(page.Events) > 0 || page.Next != 0 {
				err = fmt.Errorf("read %+v", page)
			}
			return err
		},
		"before a page of some": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			_, err := db.ReadLog(ctx, eventstore.LogQuery{Server: m.Server, Names: []string{"order.noted"}})
			return err
		},
		"between a page and its mark": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			return db.Save(ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m, "p": {Position: 1}}})
		},
		"between a page and its effect": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			return db.Advance(ctx, "totals", worker.Term{}, "", func(ctx context.Context, tx pgx.Tx, _ worker.Mark) (worker.Write, error) {
				_, err := tx.Exec(ctx, `INSERT INTO effects VALUES (1)`)
				return worker.Write{Marks: worker.Checkpoint{"": m}}, err
			})
		},
		"and somebody has noticed already": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			if _, err := db.Lineage(ctx); err != nil {
				return err
			}
			return db.Advance(ctx, "totals", worker.Term{}, "", func(ctx context.Context, tx pgx.Tx, _ worker.Mark) (worker.Write, error) {
				_, err := tx.Exec(ctx, `INSERT INTO effects VALUES (1)`)
				return worker.Write{Marks: worker.Checkpoint{"": m}}, err
			})
		},
		"before a mark, and somebody has noticed already": func(ctx context.Context, db *postgres.DB, m worker.Mark) error {
			if _, err := db.Lineage(ctx); err != nil {
				return err
			}
			return db.Save(ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, db, m := restarted(t)
			if err := call(t.Context(), db, m); !errors.Is(err, eventstore.ErrOtherServer) {
				t.Errorf("got %v, want ErrOtherServer", err)
			}
			if n := one[int](t, pool, `SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM annals.checkpoints)`); n != 0 {
				t.Errorf("%d rows were written, want none", n)
			}
			// The reader starts again, and goes on.
			got, err := worker.Resume(t.Context(), db, "totals", worker.Mark{})
			if err != nil {
				t.Fatal(err)
			}
			page, err := db.ReadLog(t.Context(), eventstore.LogQuery{Server: got.Server})
			if err != nil || len(page.Events) != 3 {
				t.Errorf("ReadLog = %+v, %v, want the three events", page, err)
			}
			if err := db.Save(t.Context(), "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": got.Reached(page.Next, page.Events)}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A mark in the store of the log is as old as the log; the comparison reads its last
// stretch, and notices if the two do not belong together.
func TestResumeBesideTheLog(t *testing.T) {
	t.Parallel()
	pool, db, m := restarted(t)
	page, err := db.ReadLog(t.Context(), eventstore.LogQuery{})
	if err != nil {
		t.Fatal(err)
	}
	m = worker.Mark{Server: m.Server}.Reached(page.Next, page.Events)
	if got, err := worker.Resume(t.Context(), db, "totals", m); err != nil || got.Server == m.Server || got.Digest != m.Digest {
		t.Errorf("Resume = %+v, %v", got, err)
	}
	do(t, pool, `UPDATE annals.events SET payload = 'y' WHERE position = 2`)
	var d *worker.DivergedError
	if _, err := worker.Resume(t.Context(), db, "totals", m); !errors.As(err, &d) || d.From != 1 || d.To != 3 {
		t.Errorf("Resume = %v, want a DivergedError", err)
	}
}

func TestLineageFails(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	_, err := postgres.New(pool, postgres.WithSchema("absent")).Lineage(t.Context())
	if !errors.Is(err, postgres.ErrNotMigrated) || !strings.HasPrefix(err.Error(), "read lineage: ") {
		t.Errorf("Lineage = %v, want ErrNotMigrated", err)
	}
	db := postgres.New(pool)
	server := lineageOf(t, db).Now().Server
	_, err = db.ReadLog(t.Context(), eventstore.LogQuery{After: 7, Server: "x"})
	if want := fmt.Sprintf("read log after 7: held by %s, want x: the log is held by another server", server); err == nil || err.Error() != want {
		t.Errorf("ReadLog = %v, want %s", err, want)
	}
	err = db.Save(t.Context(), "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": {Position: 1, Server: "x"}}})
	if want := fmt.Sprintf("save checkpoint totals: held by %s, want x: the log is held by another server", server); err == nil || err.Error() != want {
		t.Errorf("Save = %v, want %s", err, want)
	}
	err = db.Advance(t.Context(), "totals", worker.Term{}, "", func(context.Context, pgx.Tx, worker.Mark) (worker.Write, error) {
		return worker.Write{Marks: worker.Checkpoint{"": {Position: 1, Server: "x"}}}, nil
	})
	if want := fmt.Sprintf(`advance totals: part "": held by %q, want x: the log is held by another server`, server); err == nil || err.Error() != want {
		t.Errorf("Advance = %v, want %s", err, want)
	}
}
