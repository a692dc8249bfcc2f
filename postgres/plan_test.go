package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// work is what statements have touched of a table.
type work struct {
	scans   int // sequential ones
	scanned int // rows read by them
	entries int // of indexes
	rows    int // fetched for them
}

// touched returns what fn touches.
func (s *script) touched(fn func()) work {
	s.Helper()
	return s.touchedOf("annals.events", fn)
}

// touchedOf returns what fn touches of a table. The pool has one connection, whose
// backend reports what it has counted when it is told to.
func (s *script) touchedOf(table string, fn func()) work {
	s.Helper()
	count := func() (w work) {
		_, err := s.pool.Exec(s.ctx, `SELECT pg_stat_force_next_flush()`)
		s.end(err)
		s.end(s.pool.QueryRow(s.ctx, `
SELECT t.seq_scan, t.seq_tup_read, t.idx_tup_fetch, (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
FROM pg_stat_user_tables t
WHERE t.relid = $1::text::regclass`, table).Scan(&w.scans, &w.scanned, &w.rows, &w.entries))
		return w
	}
	before := count()
	fn()
	after := count()
	return work{after.scans - before.scans, after.scanned - before.scanned, after.entries - before.entries, after.rows - before.rows}
}

func planScript(t *testing.T) *script {
	t.Helper()
	s := newScript(t)
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	s.end(err)
	config.MaxConns = 1
	s.pool, err = pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	t.Cleanup(s.pool.Close)
	s.db = postgres.New(s.pool, postgres.WithoutGroups(), postgres.WithoutNotify())
	return s
}

// operations are all statements on events that run often, each with the events
// that it returns.
func (s *script) operations() map[string]func() int {
	log := func(q eventstore.LogQuery) func() int {
		return func() int {
			q := q
			for { // a page up to an old bound may be empty
				page, err := s.db.ReadLog(s.ctx, q)
				s.end(err)
				if len(page.Events) > 0 || page.Next == q.After {
					return len(page.Events)
				}
				q.After = page.Next
			}
		}
	}
	stream := func(id string, q eventstore.StreamQuery) func() int {
		return func() int {
			n := 0
			for _, err := range s.db.ReadStream(s.ctx, order(id), q) {
				s.end(err)
				n++
			}
			return n
		}
	}
	write := func(id string, expect eventstore.Expect, n int) eventstore.Write {
		w := eventstore.Write{Stream: order(id), Expect: expect}
		for range n {
			w.Events = append(w.Events, note("x"))
		}
		return w
	}
	appends := func(want error, fill func() eventstore.Write) func() int {
		return func() int {
			w := fill()
			if _, err := s.db.Append(s.ctx, w.Stream, w.Expect, w.Events...); !errors.Is(err, want) {
				s.Errorf("Append = %v, want %v", err, want)
			}
			return 0
		}
	}
	all := func(want error, writes func() []eventstore.Write) func() int {
		return func() int {
			if _, err := s.db.AppendAll(s.ctx, writes()...); !errors.Is(err, want) {
				s.Errorf("AppendAll = %v, want %v", err, want)
			}
			return 0
		}
	}
	repeated := write("repeated", eventstore.Any(), 3)
	return map[string]func() int{
		"page from the beginning":           log(eventstore.LogQuery{Limit: 10}),
		"page from the middle":              log(eventstore.LogQuery{After: 100_000, Limit: 10}),
		"one name":                          log(eventstore.LogQuery{Names: []string{"order.rare"}, Limit: 10}),
		"two names":                         log(eventstore.LogQuery{Names: []string{"order.rare", "order.never"}, Limit: 10}),
		"two names from the middle":         log(eventstore.LogQuery{After: 100_000, Names: []string{"order.rare", "order.common"}, Limit: 10}),
		"one category":                      log(eventstore.LogQuery{Categories: []string{"refund"}, Limit: 10}),
		"two categories":                    log(eventstore.LogQuery{Categories: []string{"refund", "order"}, Limit: 10}),
		"category and name":                 log(eventstore.LogQuery{Categories: []string{"order"}, Names: []string{"order.rare"}, Limit: 10}),
		"category and name that never meet": log(eventstore.LogQuery{Categories: []string{"refund"}, Names: []string{"order.rare"}, Limit: 10}),
		"stream forward":                    stream("big", eventstore.StreamQuery{Limit: 10}),
		"stream forward from the middle":    stream("big", eventstore.StreamQuery{From: 60_000, Limit: 10}),
		"stream backward":                   stream("big", eventstore.StreamQuery{Backward: true, Limit: 10}),
		"stream backward from the middle":   stream("big", eventstore.StreamQuery{Backward: true, From: 60_000, Limit: 10}),
		"small stream":                      stream("s7", eventstore.StreamQuery{}),
		"stream without events":             stream("none", eventstore.StreamQuery{}),
		"append":                            appends(nil, func() eventstore.Write { return write("big", eventstore.Any(), 1) }),
		"append of several":                 appends(nil, func() eventstore.Write { return write("big", eventstore.Any(), 5) }),
		"append that conflicts":             appends(eventstore.ErrConflict, func() eventstore.Write { return write("big", eventstore.Exactly(1<<40), 5) }),
		"append that is repeated":           appends(nil, func() eventstore.Write { return repeated }),
		"append to several streams": all(nil, func() []eventstore.Write {
			return []eventstore.Write{write("big", eventstore.Any(), 2), write("s8", eventstore.Any(), 1)}
		}),
		"append to several, which conflicts": all(eventstore.ErrConflict, func() []eventstore.Write {
			return []eventstore.Write{write("big", eventstore.Exactly(1<<40), 2), write("s8", eventstore.Any(), 1)}
		}),
		"head": func() int {
			_, err := s.db.Head(s.ctx)
			s.end(err)
			return 0
		},
		"position before a time": func() int {
			_, err := s.db.PositionBefore(s.ctx, time.Now().Add(-24*time.Hour))
			s.end(err)
			return 0
		},
	}
}

// fillSQL adds events: nearly all of one kind and half of them in one stream; in
// the middle a name that occurs once, and a category with one event.
const fillSQL = `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, recorded_at)
SELECT CASE n WHEN 100001 THEN 'refund' ELSE 'order' END,
       CASE WHEN n = 100001 THEN 'r' WHEN n %% 2 = 0 THEN 'big' ELSE 's' || n / 20 END,
       CASE WHEN n = 100001 THEN 1 WHEN n %% 2 = 0 THEN n / 2 ELSE 1 + n %% 20 / 2 END,
       gen_random_uuid(),
       CASE n WHEN 100003 THEN 'order.rare' ELSE 'order.common' END,
       1, 'application/json', '{}', '{}',
       now() - interval '2 days' + n * interval '1 second'
FROM generate_series(%d, %d) n`

// What a statement touches does not grow with the table: not when it was planned
// while the table was empty, not without statistics, and not with them. On the
// same connection each statement runs ten times on the empty table first, often
// enough for a plan that stays.
func TestHotStatementsTouchLittle(t *testing.T) {
	t.Parallel()
	s := planScript(t)
	_, err := s.pool.Exec(s.ctx, `ALTER TABLE annals.events SET (autovacuum_enabled = false)`)
	s.end(err)
	operations := s.operations()
	appending := []string{"append", "append of several", "append to several streams", "append that is repeated"}
	for name, run := range operations {
		for range 10 {
			if !slices.Contains(appending, name) { // the table stays empty
				run()
			}
		}
	}
	// So does a table of one page, of which the planner knows that.
	_, err = s.pool.Exec(s.ctx, fmt.Sprintf(fillSQL, 1, 20))
	s.end(err)
	_, err = s.pool.Exec(s.ctx, `ANALYZE annals.events`)
	s.end(err)
	for name, run := range operations {
		for range 10 {
			if !slices.Contains(appending, name) {
				run()
			}
		}
	}
	_, err = s.pool.Exec(s.ctx, fmt.Sprintf(fillSQL, 21, 200_000))
	s.end(err)
	want := map[string]int{
		"page from the beginning": 10, "page from the middle": 10,
		"one name": 1, "two names": 1, "two names from the middle": 10, "one category": 1, "two categories": 10, "category and name": 1,
		"stream forward": 10, "stream forward from the middle": 10, "stream backward": 10, "stream backward from the middle": 10, "small stream": 10,
	}
	for _, prepare := range []string{`SELECT 'old statistics'`, `ANALYZE annals.events`, `VACUUM annals.events`} {
		_, err := s.pool.Exec(s.ctx, prepare)
		s.end(err)
		for name, run := range operations {
			run() // the first one may plan, and looks at the index for it
			got := s.touched(func() {
				if n := run(); n != want[name] {
					t.Errorf("%s: %s: %d events, want %d", prepare, name, n, want[name])
				}
			})
			if got.scans > 0 || got.scanned > 0 || got.entries > 100 || got.rows > 100 {
				t.Errorf("%s: %s touches %+v, want no scan and a handful", prepare, name, got)
			}
		}
	}
}

// The counters would show a scan.
func TestTouchedSeesAScan(t *testing.T) {
	t.Parallel()
	s := planScript(t)
	s.append(s.db, "s")
	got := s.touched(func() {
		var n int
		s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM annals.events WHERE payload <> ''`).Scan(&n))
	})
	if got.scans != 1 || got.scanned != 1 {
		t.Errorf("a sequential scan shows as %+v", got)
	}
}
