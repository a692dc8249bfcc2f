package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/wireproxy"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// calls are all that a store can be asked for.
func calls(db *postgres.DB) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"append order-s": func(ctx context.Context) error {
			_, err := db.Append(ctx, order("s"), eventstore.Any(), note("x"))
			return err
		},
		"append order-s and 1 more": func(ctx context.Context) error {
			writes := []eventstore.Write{{Stream: order("s"), Events: []event.Raw{note("x")}}, {Stream: order("t"), Events: []event.Raw{note("x")}}}
			_, err := db.AppendAll(ctx, writes...)
			if err == nil {
				_, err = db.AppendAll(ctx, writes...) // which looks them up
			}
			return err
		},
		"read stream order-s": func(ctx context.Context) error {
			for _, err := range db.ReadStream(ctx, order("s"), eventstore.StreamQuery{}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"read log after 0": func(ctx context.Context) error {
			_, err := db.ReadLog(ctx, eventstore.LogQuery{Names: []string{"order.noted"}})
			return err
		},
		"read head of log": func(ctx context.Context) error {
			_, err := db.Head(ctx)
			return err
		},
		"find position at 1970-01-01T00:00:00Z": func(ctx context.Context) error {
			_, err := db.PositionBefore(ctx, time.Unix(0, 0))
			return err
		},
		"read checkpoint x": func(ctx context.Context) error {
			_, err := db.Checkpoint(ctx, "x")
			return err
		},
		"save checkpoint y": func(ctx context.Context) error {
			return db.Save(ctx, "y", worker.Term{}, worker.Write{})
		},
		"read contracts of r": func(ctx context.Context) error {
			_, err := db.Contracts(ctx, "r")
			return err
		},
		"agree on topic t for r": func(ctx context.Context) error {
			err := db.Agree(ctx, "r", bus.Agreed{Contract: bus.Contract{Topic: "t"}})
			if errors.Is(err, worker.ErrFenced) { // it was called before
				return nil
			}
			return err
		},
		"forget what c remembered before 1970-01-01T00:00:00Z": func(ctx context.Context) error {
			_, err := db.Forget(ctx, "c", time.Unix(0, 0), 1)
			return err
		},
		"list streams": func(ctx context.Context) error {
			_, err := db.Streams(ctx, postgres.StreamsQuery{})
			return err
		},
		"check schema annals": db.Check,
		"transact: begin": func(ctx context.Context) error {
			return db.Transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
				for _, err := range db.Tx(tx).ReadStream(ctx, order("s"), eventstore.StreamQuery{}) {
					if err != nil {
						return err
					}
				}
				_, err := db.Tx(tx).Append(ctx, order("s"), eventstore.Any(), note("x"))
				return err
			})
		},
		"advance z": func(ctx context.Context) error {
			return db.Advance(ctx, "z", worker.Term{}, "", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
				_, err := db.Tx(tx).AppendAll(ctx, eventstore.Write{Stream: order("s"), Events: []event.Raw{note("x")}})
				return worker.Write{Marks: worker.Checkpoint{"": at}}, err
			})
		},
	}
}

// The server is not there any more, and nobody says so: every call ends in time
// and names the option. When the server is back all goes on.
func TestEveryCallEndsByItsDeadline(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	w := newWire(t, postgres.WithCallTimeout(timeout))
	for what, call := range calls(w.db) {
		if err := call(w.ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	in := func(what string, call func(context.Context) error) {
		t.Helper()
		began := time.Now()
		err := call(w.ctx)
		if took := time.Since(began); took > timeout+5*time.Second { // with two busy cores
			t.Errorf("%s took %v", what, took)
		}
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), what+": ") || !strings.Contains(err.Error(), "no answer within 300ms (WithCallTimeout)") {
			t.Errorf("%s = %v, want an error that names the option", what, err)
		}
	}
	for range 2 { // the second time the pool has no connection left
		w.proxy.Blackhole(true)
		for what, call := range calls(w.db) {
			in(what, call)
		}
		w.proxy.Blackhole(false)
		for what, call := range calls(w.db) {
			w.until(what+" works again", func() bool { return call(w.ctx) == nil })
		}
	}
	silence := func(context.Context) error {
		w.proxy.Blackhole(true)
		return nil
	}
	advance := func(fn func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			return w.db.Advance(ctx, "z", worker.Term{}, "", func(ctx context.Context, _ pgx.Tx, at worker.Mark) (worker.Write, error) {
				return worker.Write{Marks: worker.Checkpoint{"": at}}, fn(ctx)
			})
		}
	}
	in("advance z", advance(silence))
	w.proxy.Blackhole(false)
	w.cut(wireproxy.Swallow)
	in("advance z: commit: outcome unknown", advance(func(context.Context) error { return nil }))
	in("transact: transaction was not committed", func(ctx context.Context) error {
		return w.db.Transact(ctx, func(ctx context.Context, _ pgx.Tx) error { return silence(ctx) })
	})
	w.proxy.Blackhole(false)
}

// No call takes a second connection while it holds one, so a pool of one is
// enough for all of them at once.
func TestPoolOfOne(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	pool := s.another(1)
	s.db = postgres.New(pool)
	ctx, cancel := context.WithTimeout(s.ctx, 40*time.Second)
	defer cancel()
	background, stop := context.WithCancel(ctx)
	var running, calling sync.WaitGroup
	running.Go(func() { _ = s.db.Listen(background) })
	running.Go(func() { _ = s.db.PublishMark(background, time.Millisecond) })
	for range 5 {
		for what, call := range calls(s.db) {
			calling.Go(func() {
				if err := call(ctx); err != nil && !errors.Is(err, postgres.ErrSetup) {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
	}
	calling.Go(func() {
		for _, err := range s.db.ReadStream(ctx, order("s"), eventstore.StreamQuery{}) {
			if err == nil {
				_, err = s.db.Append(ctx, order("copy"), eventstore.Any(), note("x")) // while it is read
			}
			if err != nil {
				t.Errorf("append while a stream is read: %v", err)
			}
		}
	})
	calling.Go(func() {
		if _, err := postgres.Migrate(ctx, pool); err != nil {
			t.Error(err)
		}
	})
	calling.Wait()
	stop()
	running.Wait()
	s.until("all connections are given back", func() bool { return pool.Stat().AcquiredConns() == 0 })
}

func TestCheckOfThePool(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var most int
	s.end(s.pool.QueryRow(s.ctx, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`).Scan(&most))
	for n, want := range map[int]string{
		1:        "check schema annals: MaxConns of the pool is 1, want at least 2: raise it: who holds a transaction open, and calls the store beside it, waits for itself",
		2:        "<nil>",
		most - 1: "<nil>",
		most:     fmt.Sprintf("check schema annals: the connections of this process is %d, want at most %d, which the server allows: lower MaxConns of the pool, or raise max_connections", most+1, most),
	} {
		err := postgres.New(s.another(int32(n))).Check(s.ctx)
		if fmt.Sprint(err) != want {
			t.Errorf("Check with a pool of %d = %v\nwant %s", n, err, want)
		}
	}
	if err := postgres.New(s.another(int32(most)), postgres.WithoutNotify()).Check(s.ctx); err != nil {
		t.Errorf("Check without Listen = %v", err)
	}
}

// A connection that listens and is cut off without a word: Listen notices, and
// listens again when the server is back. While all is well and nobody appends it
// stays where it is.
func TestListenNoticesSilence(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	var told syncBuffer
	db := postgres.New(w.through, postgres.WithCallTimeout(200*time.Millisecond), postgres.WithLogger(slog.New(slog.NewTextHandler(&told, nil))))
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Listen(ctx) }()
	listener := func() (pid int, query string) {
		err := w.pool.QueryRow(w.ctx, `
SELECT coalesce(max(a.pid), 0), coalesce(max(a.query), '')
FROM pg_locks l
JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory'
  AND l.objsubid = 2
  AND l.classid = 1634627180
  AND a.datname = current_database()`).Scan(&pid, &query)
		w.end(err)
		return pid, query
	}
	w.until("it listens, and has asked whether the server is there", func() bool {
		_, query := listener()
		return strings.Contains(query, "ping")
	})
	first, _ := listener()
	if text := told.String(); text != "" {
		t.Errorf("it says %s", text)
	}
	w.proxy.Blackhole(true)
	w.until("it says so", func() bool { return strings.Contains(told.String(), "cannot listen, readers poll") })
	w.proxy.Blackhole(false)
	w.until("it listens again", func() bool {
		pid, _ := listener()
		return pid != first && pid != 0
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Listen = %v", err)
	}
}

// syncBuffer is a buffer for a logger of another goroutine.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A pool with connections that were given up closes, also while nobody answers.
func TestFaultPoolClosesInABlackHole(t *testing.T) {
	t.Parallel()
	w := newWire(t, postgres.WithCallTimeout(300*time.Millisecond))
	w.append(w.db, "s")
	w.proxy.Blackhole(true)
	if _, err := w.db.Append(w.ctx, order("s"), eventstore.Any(), note("x")); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("Append = %v, want ErrOutcomeUnknown", err)
	}
	began := time.Now()
	w.through.Close()
	if took := time.Since(began); took > 35*time.Second {
		t.Errorf("the pool took %v to close", took)
	} else {
		t.Logf("the pool took %v to close", took)
	}
}
