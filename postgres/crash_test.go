package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/postgres"
)

// own is a server beside that of all tests, for one test at a time.
var own struct {
	sync.Mutex
	*devenv.Server
}

var fewLocks = []devenv.Option{
	devenv.WithOwnServer(),
	devenv.WithSetting("fsync", "off"),
	devenv.WithSetting("max_prepared_transactions", "5"),
	devenv.WithSetting("max_connections", "50"),
	devenv.WithSetting("max_locks_per_transaction", "10"),
	devenv.WithSetting("autovacuum", "off"),
	devenv.WithSetting("checkpoint_timeout", "1h"),
	devenv.WithSetting("bgwriter_lru_maxpages", "0"),
}

// ownServer gives a test a server of its own until it ends, and returns what
// makes databases on it. The server has room for few locks and writes nothing by
// itself. The crashes here are those of Postgres and not of the machine, so what
// is written need not be on the disk.
func ownServer(t *testing.T) func() string {
	t.Helper()
	own.Lock()
	t.Cleanup(func() {
		if t.Failed() && own.Server != nil { // nobody knows what it holds
			_ = own.Close()
			own.Server = nil
		}
		own.Unlock()
	})
	if own.Server == nil {
		// It ends with the process.
		server, err := devenv.Postgres(context.WithoutCancel(t.Context()), fewLocks...)
		if err != nil {
			t.Fatal(err)
		}
		own.Server = server
	}
	server := own.Server
	return func() string {
		t.Helper()
		name := "log_" + strings.ToLower(rand.Text())
		url := strings.Replace(server.URL, "/postgres?", "/"+name+"?", 1)
		for _, step := range []struct {
			url string
			do  func(*pgx.Conn) error
		}{
			{server.URL, func(conn *pgx.Conn) error { _, err := conn.Exec(t.Context(), `CREATE DATABASE `+name); return err }},
			{url, func(conn *pgx.Conn) error { _, err := postgres.Migrate(t.Context(), conn); return err }},
		} {
			conn, err := pgx.Connect(t.Context(), step.url)
			if err != nil {
				t.Fatal(err)
			}
			err = step.do(conn)
			_ = conn.Close(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
		}
		return url
	}
}

func (s *script) walWriter() (pid int) {
	s.Helper()
	s.end(s.pool.QueryRow(s.ctx, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'`).Scan(&pid))
	return pid
}

// holdBackWAL stops the process that writes the log of the server in the
// background. What no commit flushes is then lost in a crash.
func (s *script) holdBackWAL() {
	s.Helper()
	s.exec(fmt.Sprintf(`COPY (SELECT WHERE false) TO PROGRAM 'kill -STOP %d'`, s.walWriter()))
}

// crash kills a process of the server. Postgres then kills all others, forgets
// its shared memory and recovers from what has reached the disk.
func (s *script) crash() {
	s.Helper()
	killed := s.walWriter()
	_, _ = s.pool.Exec(s.ctx, fmt.Sprintf(`COPY (SELECT WHERE false) TO PROGRAM 'kill -KILL %d'`, killed)) // cut off
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s.pool.Reset()
		s.reader.pool.Reset()
		var recovered bool
		err := s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walwriter' AND pid <> $1)`, killed).Scan(&recovered)
		if err == nil && recovered {
			return
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("the server does not recover: %v", err)
		}
	}
}

// A prepared transaction belongs to no session. One that has appended delays
// readers, also through a crash, and one that has not delays nobody.
func preparedTransactions(s *script) {
	other := s.connect(s.server(), nil)
	unrelated := s.beginOn(other)
	for _, sql := range []string{`CREATE TABLE unrelated (n int)`, `PREPARE TRANSACTION 'unrelated'`} {
		_, err := unrelated.Exec(s.ctx, sql)
		s.end(err)
	}
	s.hole()
	s.append(s.db, "1")
	s.want("beside a prepared write in another database", "1")

	for _, id := range []string{"a", "undone"} {
		tx := s.begin()
		s.append(s.db.Tx(tx), id)
		_, err := tx.Exec(s.ctx, `PREPARE TRANSACTION '`+id+`'`)
		s.end(err)
		s.append(s.db, "after "+id)
	}
	var marks int
	s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid IS NULL`).Scan(&marks))
	if marks != 2 {
		s.errorf("%d marks without a pid, want 2", marks)
	}
	s.want("while a is prepared", "1")
	s.crash()
	s.want("while a is prepared, after a crash", "1")
	s.exec(`COMMIT PREPARED 'a'`)
	s.want("after a has committed", "1", "a", "after a")
	s.exec(`ROLLBACK PREPARED 'undone'`)
	s.want("at the end", "1", "a", "after a", "after undone")
	_, err := other.Exec(s.ctx, `ROLLBACK PREPARED 'unrelated'`)
	if err != nil { // its connection did not survive the crash
		_, err = other.Exec(s.ctx, `ROLLBACK PREPARED 'unrelated'`)
	}
	s.end(err)
}

// Positions of rolled-back appends need not reach the disk, and are drawn again
// after a crash.
func crashTakesPositionsBack(s *script) {
	s.holdBackWAL()
	s.append(s.db, "first")
	a := s.begin()
	for range 38 { // a sequence is logged 32 positions ahead
		s.append(s.db.Tx(a), "undone")
	}
	s.end(a.Rollback(s.ctx))
	var drawn int64
	s.end(s.pool.QueryRow(s.ctx, `SELECT pg_sequence_last_value('annals.events_position_seq')`).Scan(&drawn))
	s.want("before the crash", "first")
	s.crash()
	if at := s.append(s.db, "after").Position; int64(at) > drawn {
		s.Fatalf("appended at %d, and %d was drawn before: the crash took nothing back", at, drawn)
	}
	s.want("after the crash", "first", "after")
}

// A reader acts on what it sees, so what is visible must survive a crash.
func crashAfterAsynchronousCommit(s *script) {
	s.holdBackWAL()
	a := s.begin()
	_, err := a.Exec(s.ctx, `SET LOCAL synchronous_commit = off`)
	s.end(err)
	s.append(s.db.Tx(a), "a")
	s.commit(a)
	s.want("before the crash", "a")
	s.crash()
	s.want("after the crash", "a")
}
