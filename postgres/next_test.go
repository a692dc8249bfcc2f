package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// buildFirst is what the header of a step with an index says to run before it.
const buildFirst = `CREATE INDEX CONCURRENTLY IF NOT EXISTS events_recorded_idx ON annals.events (recorded_at)`

// nextSteps are those that a next release might have: a column that old programs
// do not know, an index, and a function beside the one that they call.
var nextSteps = []postgres.Migration{
	{Version: 901, Name: "901_tag", SQL: `
ALTER TABLE {{schema}}.events ADD COLUMN tag text COLLATE "C";
CREATE INDEX IF NOT EXISTS events_recorded_idx ON {{schema}}.events (recorded_at);`},
	{Version: 902, Name: "902_append", SQL: `
CREATE FUNCTION {{schema}}.append_v2(in_stream_id text, in_expected bigint, in_event_id uuid, in_tag text, OUT at_version bigint, OUT at_position bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO {{schema}}.events
        (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, tag)
    SELECT 'order', in_stream_id, in_expected + 1, in_event_id, 'order.noted', 1, 'text/plain', '', '', in_tag
    WHERE in_expected = (SELECT coalesce(max(e.version), 0) FROM {{schema}}.events e WHERE e.category = 'order' AND e.stream_id = in_stream_id)
    RETURNING version, position
    INTO at_version, at_position;
END
$$;
REVOKE ALL ON FUNCTION {{schema}}.append_v2 FROM PUBLIC;`},
}

// Programs of two releases share streams: append_v1 and append_v2 lose races to
// each other, none writes behind a version that it has not seen, and readers of
// both see everything once and in order.
func TestTwoReleasesSideBySide(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	_, err := postgres.Migrate(s.ctx, s.pool, postgres.WithLater(nextSteps...))
	s.end(err)
	const each, streams = 60, 3
	var conflicts [2]atomic.Int64
	var wg sync.WaitGroup
	for writer := range 6 {
		release := writer % 2
		wg.Go(func() {
			for i := range each {
				stream := order(fmt.Sprint("shared", (writer+i)%streams))
				for {
					at, err := versionOf(s.ctx, s.pool, stream)
					if err == nil && release == 0 {
						_, err = s.db.Append(s.ctx, stream, eventstore.Exactly(at), note("old"))
					} else if err == nil {
						err = appendNext(s.ctx, s.pool, stream, at)
					}
					if err == nil {
						break
					}
					if !errors.Is(err, eventstore.ErrConflict) {
						t.Error(err)
						return
					}
					conflicts[release].Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("conflicts: %d of the old, %d of the new", conflicts[0].Load(), conflicts[1].Load())
	s.reader.limit = 100
	if err := s.verdict(); err != nil {
		t.Error(err)
	}
	var total, dense, tagged int
	s.end(s.pool.QueryRow(s.ctx, `
SELECT count(*), sum(CASE WHEN version = place THEN 1 ELSE 0 END), count(tag)
FROM (SELECT version, tag, row_number() OVER (PARTITION BY category, stream_id ORDER BY position) AS place FROM annals.events) e`).Scan(&total, &dense, &tagged))
	if total != 6*each || dense != total || tagged != total/2 || len(s.reader.delivered) != total {
		t.Errorf("%d events, %d in their place, %d with a tag, %d delivered, want %d of all, and half with a tag", total, dense, tagged, len(s.reader.delivered), 6*each)
	}
}

func versionOf(ctx context.Context, q queryer, stream event.Stream) (at event.Version, err error) {
	err = q.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM annals.events WHERE category = $1 AND stream_id = $2`, stream.Category, stream.ID).Scan((*int64)(&at))
	return at, err
}

// appendNext is an append of the next release.
func appendNext(ctx context.Context, q queryer, stream event.Stream, at event.Version) error {
	var version *int64
	err := q.QueryRow(ctx, `SELECT at_version FROM annals.append_v2($1, $2, $3, 'new')`, stream.ID, int64(at), [16]byte(event.NewID())).Scan(&version)
	var pg *pgconn.PgError
	if err == nil && version == nil || errors.As(err, &pg) && pg.Code == "23505" {
		return eventstore.ErrConflict
	}
	return err
}

// A migration under load: no append waits long, and no error reaches a caller,
// whose connections have plans and statements of the old schema.
func TestFaultMigrateUnderLoad(t *testing.T) {
	s := newScript(t) // alone: it measures
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Minute)
	defer cancel()
	s.ctx = ctx
	const before = 120_000
	s.exec(`
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', 'old' || n % 1000, n / 1000 + 1, gen_random_uuid(), 'order.noted', 1, 'text/plain', convert_to(repeat('x', 200), 'UTF8'), '{}'
FROM generate_series(0, $1::bigint - 1) n`, before)

	var (
		writers, reader sync.WaitGroup
		mu              sync.Mutex
		took            []time.Duration
		migrated        = make(chan struct{})
		stop, written   = make(chan struct{}), make(chan struct{})
	)
	for writer := range 8 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				stream, began := order(fmt.Sprintf("w%d-%d", writer, n/50)), time.Now()
				if _, err := s.db.Append(ctx, stream, eventstore.Exactly(event.Version(n%50)), note("x")); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				if n%50 == 49 {
					for _, err := range s.db.ReadStream(ctx, stream, eventstore.StreamQuery{}) {
						if err != nil {
							t.Errorf("read stream: %v", err)
							return
						}
					}
				}
			}
		})
	}
	delivered := 0
	reader.Go(func() {
		after := event.Position(0)
		for last := false; ; {
			p, err := s.db.ReadLog(ctx, eventstore.LogQuery{After: after})
			if err == nil {
				_, err = s.db.ReadLog(ctx, eventstore.LogQuery{After: after, Names: []string{"order.noted"}, Limit: 10})
			}
			if err == nil {
				_, err = s.db.Streams(ctx, postgres.StreamsQuery{Limit: 10})
			}
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			delivered += len(p.Events)
			if len(p.Events) == 0 && p.Next == after {
				if last {
					return
				}
				select {
				case <-written:
					last = true // one more page
				default:
					_ = s.db.Wait(ctx, after)
				}
			}
			after = p.Next
		}
	})
	warm := func(n int) {
		s.until("the writers have written", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(took) >= n || t.Failed()
		})
	}
	warm(4_000)
	go func() {
		defer close(migrated)
		if _, err := s.pool.Exec(ctx, buildFirst); err != nil {
			t.Error(err)
		}
		var two sync.WaitGroup
		for range 2 {
			two.Go(func() {
				if _, err := postgres.Migrate(ctx, s.pool, postgres.WithLater(nextSteps...)); err != nil {
					t.Error(err)
				}
			})
		}
		two.Wait()
	}()
	<-migrated
	mu.Lock()
	n := len(took)
	mu.Unlock()
	warm(n + 4_000)
	close(stop)
	writers.Wait()
	close(written)
	reader.Wait()
	slices.Sort(took)
	p99, most := took[len(took)*99/100], took[len(took)-1]
	t.Logf("%d appends beside the migration: p50 %v, p99 %v, longest %v", len(took), took[len(took)/2], p99, most)
	if p99 > time.Second {
		t.Errorf("p99 of appends is %v, want less than 1s", p99)
	}
	if want := before + len(took); delivered != want && !t.Failed() {
		t.Errorf("%d events delivered, want %d", delivered, want)
	}
}

// A call that waits while a step adds a column began with the rows as they were,
// and ends with them as they are. Each has a connection of its own that has made
// it before, and knows the rows.
func TestCallsDuringAStep(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	calls := map[string]func(*postgres.DB) error{
		"Append": func(db *postgres.DB) error {
			_, err := db.Append(s.ctx, order("o"), eventstore.Any(), note("x"))
			return err
		},
		"Append several": func(db *postgres.DB) error {
			_, err := db.Append(s.ctx, order("p"), eventstore.Any(), note("x"), note("y"))
			return err
		},
		"AppendAll": func(db *postgres.DB) error {
			_, err := db.AppendAll(s.ctx, eventstore.Write{Stream: order("q"), Events: []event.Raw{note("x")}}, eventstore.Write{Stream: order("r"), Events: []event.Raw{note("x")}})
			return err
		},
		"ReadStream": func(db *postgres.DB) error {
			for _, err := range db.ReadStream(s.ctx, order("o"), eventstore.StreamQuery{}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"ReadLog": func(db *postgres.DB) error {
			_, err := db.ReadLog(s.ctx, eventstore.LogQuery{})
			return err
		},
		"ReadLog with a selection": func(db *postgres.DB) error {
			_, err := db.ReadLog(s.ctx, eventstore.LogQuery{Names: []string{"order.noted"}})
			return err
		},
		"Streams": func(db *postgres.DB) error {
			_, err := db.Streams(s.ctx, postgres.StreamsQuery{})
			return err
		},
		"Head": func(db *postgres.DB) error {
			_, err := db.Head(s.ctx)
			return err
		},
		"PositionBefore": func(db *postgres.DB) error {
			_, err := db.PositionBefore(s.ctx, time.Now())
			return err
		},
		"Check": func(db *postgres.DB) error { return db.Check(s.ctx) },
	}
	stores := map[string]*postgres.DB{}
	for name, call := range calls {
		config := s.pool.Config()
		config.MaxConns = 2
		pool, err := pgxpool.NewWithConfig(s.ctx, config)
		s.end(err)
		t.Cleanup(pool.Close)
		stores[name] = postgres.New(pool, postgres.WithoutNotify())
		for range 8 {
			if err := call(stores[name]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	step := s.begin()
	_, err := step.Exec(s.ctx, `ALTER TABLE annals.events ADD COLUMN tag text`)
	s.end(err)
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			if err := call(stores[name]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	s.until("all calls wait", func() bool {
		var waits int
		s.end(step.QueryRow(s.ctx, `SELECT count(*) FROM pg_locks WHERE relation = 'annals.events'::regclass AND NOT granted`).Scan(&waits))
		return waits == len(calls)
	})
	s.commit(step)
	wg.Wait()
	for name, call := range calls {
		if err := call(stores[name]); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
}
