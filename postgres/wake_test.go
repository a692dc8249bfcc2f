package postgres_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// A session that listens holds a lock; its connection is up when that shows.
const listening = `locktype = 'advisory' AND objsubid = 2 AND classid = 1634627180 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// elsewhere is the store as another process has it.
func (s *script) elsewhere(opts ...postgres.Option) *postgres.DB {
	s.Helper()
	pool, err := pgxpool.NewWithConfig(s.ctx, s.pool.Config())
	s.end(err)
	s.Cleanup(pool.Close)
	return postgres.New(pool, opts...)
}

// listening returns when the connection of db's Listen is there, and ends it
// with the test.
func (s *script) listening(db *postgres.DB) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error)
	go func() { ended <- db.Listen(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("Listen = %v, want nil", err)
		}
	})
	s.listeners(1)
}

// listeners waits until so many sessions listen.
func (s *script) listeners(n int) {
	s.Helper()
	s.until(fmt.Sprint(n, " listen"), func() bool {
		var got int
		s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM pg_locks WHERE `+listening).Scan(&got))
		return got == n
	})
}

// The poll interval is an hour, so only the notification can end the wait.
func TestListenHearsOtherProcesses(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	reader := s.elsewhere(postgres.WithPollInterval(time.Hour))
	s.listening(reader)
	other := s.elsewhere()
	for n := 1; n <= 3; n++ {
		s.append(other, "s")
		for {
			head, err := reader.Head(s.ctx)
			s.end(err)
			if int(head) >= n {
				break
			}
			s.end(reader.Wait(s.ctx, 0))
		}
	}
}

func TestListenConnectsAgain(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	reader := s.elsewhere(postgres.WithPollInterval(time.Hour))
	s.listening(reader)
	_, err := s.pool.Exec(s.ctx, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE `+listening)
	s.end(err)
	s.append(s.elsewhere(postgres.WithoutNotify()), "nobody hears of it")
	s.end(reader.Wait(s.ctx, 0)) // the new connection wakes readers for what was missed
}

// P14: nobody listens, nobody notifies, and the reader has every event.
func TestReaderPolls(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	other := s.elsewhere(postgres.WithoutNotify())
	for n := range 20 {
		s.append(other, "s")
		for {
			page, err := s.db.ReadLog(s.ctx, eventstore.LogQuery{})
			s.end(err)
			if len(page.Events) == n+1 {
				break
			}
			s.end(s.db.Wait(s.ctx, page.Next))
		}
	}
}

// A second Listen of the same DB takes no second connection, and takes over
// when the first one ends.
func TestListenSharesOneConnection(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	reader := s.elsewhere(postgres.WithPollInterval(time.Hour))
	first, cancelFirst := context.WithCancel(s.ctx)
	firstEnded := make(chan error)
	go func() { firstEnded <- reader.Listen(first) }()
	s.listeners(1)
	second, cancelSecond := context.WithCancel(s.ctx)
	secondEnded := make(chan error)
	go func() { secondEnded <- reader.Listen(second) }()
	cancelFirst()
	s.end(<-firstEnded)
	s.listeners(1)
	cancelSecond()
	s.end(<-secondEnded)
	s.listeners(0)
}

func TestWakeAfterATransactionOfTheCaller(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	reader := s.elsewhere(postgres.WithPollInterval(time.Hour))
	s.listening(reader)
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	s.end(a.Commit(s.ctx))
	s.db.Wake()
	for {
		head, err := reader.Head(s.ctx)
		s.end(err)
		if head == 1 {
			return
		}
		s.end(reader.Wait(s.ctx, 0))
	}
}

// Through a pooler in transaction mode the lock of a session that listens would
// stay with a connection that others use.
func TestWithoutNotifyDoesNotListen(t *testing.T) {
	t.Parallel()
	for want, opts := range map[int32][]postgres.Option{0: {postgres.WithoutNotify()}, 1: nil} {
		synctest.Test(t, func(t *testing.T) {
			config, err := pgxpool.ParseConfig("postgres://u@127.0.0.1/d?sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			var dials atomic.Int32
			config.ConnConfig.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
			config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
				dials.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- postgres.New(pool, opts...).Listen(ctx) }()
			synctest.Wait()
			if got := dials.Load(); got != want {
				t.Errorf("Listen has dialled %d times, want %d", got, want)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Listen = %v, want nil", err)
			}
		})
	}
}
