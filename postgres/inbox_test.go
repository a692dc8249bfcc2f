package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

func messages(first event.Position, n int) []bus.Identity {
	out := make([]bus.Identity, n)
	for i := range out {
		out[i] = bus.Identity{ID: event.NewID(), Topic: "shop.order", Position: first + event.Position(i)}
	}
	return out
}

func (s *script) remember(tx pgx.Tx, m []bus.Identity, want ...bus.Memory) {
	s.Helper()
	got, err := s.db.RememberTx(s.ctx, tx, "totals", m)
	s.end(err)
	if !slices.Equal(got, want) {
		s.Errorf("RememberTx = %v, want %v", got, want)
	}
}

// rememberLater remembers in a transaction of its own that has to wait, and returns
// when it does.
func (s *script) rememberLater(m []bus.Identity) chan []bus.Memory {
	s.Helper()
	tx, answer := s.begin(), make(chan []bus.Memory, 1)
	pid := int32(tx.Conn().PgConn().PID())
	go func() {
		got, err := s.db.RememberTx(s.ctx, tx, "totals", m)
		answer <- got
		if err != nil || tx.Commit(s.ctx) != nil {
			s.Errorf("RememberTx = %v", err)
		}
		close(answer)
	}()
	s.until("it waits", func() (waits bool) {
		s.end(s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`, pid).Scan(&waits))
		return waits
	})
	return answer
}

func (s *script) answered(answer chan []bus.Memory, want ...bus.Memory) {
	s.Helper()
	if got := <-answer; !slices.Equal(got, want) {
		s.Errorf("RememberTx = %v, want %v", got, want)
	}
	<-answer // committed
}

// Two transactions are given a message at once.
func TestSecondWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, c := range []struct {
		end  func(pgx.Tx) error
		want bus.Memory
	}{
		{func(tx pgx.Tx) error { return tx.Commit(s.ctx) }, bus.Repeated},
		{func(tx pgx.Tx) error { return tx.Rollback(s.ctx) }, bus.New},
	} {
		m := messages(1, 3)
		first := s.begin()
		s.remember(first, m[:2], bus.New, bus.New)
		second := s.rememberLater(m[1:])
		s.end(c.end(first))
		s.answered(second, c.want, bus.New)
	}
}

// A message is given again while it is being forgotten: its row is there when the
// statement begins, and gone when it looks for it.
func TestForgottenWhileItIsGivenAgain(t *testing.T) {
	t.Parallel()
	for _, byTime := range []bool{false, true} {
		s := newScript(t)
		m := messages(1, 1)
		if byTime {
			m[0].Position, m[0].Time = 0, time.Unix(1_700_000_000, 123_456_789)
		}
		tx := s.begin()
		s.remember(tx, m, bus.New)
		s.commit(tx)
		forget := func() pgx.Tx {
			tx := s.begin()
			var n int
			s.end(tx.QueryRow(s.ctx, `SELECT annals.forget_v1('totals', 'infinity', 100)`).Scan(&n))
			if n != 1 {
				t.Fatalf("forgot %d messages, want 1", n)
			}
			return tx
		}
		forgetting := forget()
		answer := s.rememberLater(m)
		s.end(forgetting.Rollback(s.ctx))
		s.answered(answer, bus.Repeated)

		forgetting = forget()
		answer = s.rememberLater(m)
		s.commit(forgetting)
		s.answered(answer, bus.Forgotten)
		var rows int
		s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM annals.inbox`).Scan(&rows))
		if rows != 0 {
			t.Errorf("%d rows, want none: it is not remembered", rows)
		}
	}
}

// A row is inserted after the statement of who asks has begun, and forgotten before
// that one has looked for it.
func TestRememberedAndForgottenWhileItIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	m := messages(1, 2)
	blocker, first := s.begin(), s.begin()
	if slices.Compare(m[0].ID[:], m[1].ID[:]) > 0 {
		m[0].ID, m[1].ID = m[1].ID, m[0].ID
	}
	low, high := m[0], m[1]
	s.remember(blocker, []bus.Identity{low}, bus.New)
	answer := s.rememberLater([]bus.Identity{high, low}) // waits at the lower one, and has no other
	s.remember(first, []bus.Identity{high}, bus.New)
	s.commit(first)
	if n, err := s.db.Forget(s.ctx, "totals", time.Now().Add(time.Hour), 10); n != 1 || err != nil {
		t.Fatalf("Forget = %d, %v, want 1", n, err)
	}
	s.end(blocker.Rollback(s.ctx))
	s.answered(answer, bus.Forgotten, bus.Forgotten)
}

// Of two that forget at once the second waits, and forgets what the first has left.
func TestForgetsTakeTurns(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	tx := s.begin()
	s.remember(tx, messages(1, 3), bus.New, bus.New, bus.New)
	s.commit(tx)
	first := s.begin()
	var n int
	s.end(first.QueryRow(s.ctx, `SELECT annals.forget_v1('totals', 'infinity', 2)`).Scan(&n))
	forgotten := make(chan int, 1)
	go func() {
		n, err := s.db.Forget(s.ctx, "totals", time.Now().Add(time.Hour), 100)
		if err != nil {
			t.Error(err)
		}
		forgotten <- n
	}()
	s.until("the second waits", func() (waits bool) {
		s.end(s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waits))
		return waits
	})
	if n, err := s.db.Forget(s.ctx, "another", time.Now().Add(time.Hour), 100); n != 0 || err != nil {
		t.Errorf("Forget of another consumer = %d, %v", n, err)
	}
	s.commit(first)
	if second := <-forgotten; n != 2 || second != 1 {
		t.Errorf("forgot %d and %d messages, want 2 and 1", n, second)
	}
}

// More than one transaction forgets.
func TestForgetInChunks(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.exec(`INSERT INTO annals.inbox (consumer, id, topic, position) SELECT 'totals', gen_random_uuid(), 't', n FROM generate_series(1, 12000) n`)
	later := time.Now().Add(time.Hour)
	for _, c := range []struct{ limit, want int }{{-1, 0}, {0, 0}, {6000, 6000}, {7000, 6000}, {7000, 0}} {
		if n, err := s.db.Forget(s.ctx, "totals", later, c.limit); n != c.want || err != nil {
			t.Errorf("Forget of %d = %d, %v, want %d", c.limit, n, err, c.want)
		}
	}
}

func TestInboxErrors(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	agreed := bus.Agreed{Contract: bus.Contract{Topic: "shop.order"}}
	s.end(s.db.Agree(s.ctx, "relay", agreed))
	wantError(t, "Agree again", s.db.Agree(s.ctx, "relay", agreed), worker.ErrFenced,
		`agree on topic shop.order for relay: its contract is not at revision 0: checkpoint was moved by another worker`)
	agreed.Revision = 7
	wantError(t, "Agree ahead", s.db.Agree(s.ctx, "relay", agreed), worker.ErrFenced,
		`agree on topic shop.order for relay: its contract is not at revision 7: checkpoint was moved by another worker`)

	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.db.Contracts(ended, "relay")
	wantError(t, "Contracts", err, context.Canceled, `read contracts of relay: `)
	wantError(t, "Agree", s.db.Agree(ended, "relay", agreed), context.Canceled, `agree on topic shop.order for relay: `)
	_, err = s.db.Forget(ended, "totals", time.Unix(0, 0), 1)
	wantError(t, "Forget", err, context.Canceled, `forget what totals remembered before 1970-01-01T00:00:00Z: `)
	_, err = s.db.RememberTx(ended, s.begin(), "totals", messages(1, 2))
	wantError(t, "RememberTx", err, context.Canceled, `remember 2 messages for totals: `)

	s.exec(`DROP TABLE annals.inbox, annals.topics`)
	_, err = s.db.Contracts(s.ctx, "relay")
	wantError(t, "Contracts", err, postgres.ErrNotMigrated, `read contracts of relay: `)
	wantError(t, "Agree", s.db.Agree(s.ctx, "relay", agreed), postgres.ErrNotMigrated, `agree on topic shop.order for relay: `)
	_, err = s.db.Forget(s.ctx, "totals", time.Unix(0, 0), 1)
	wantError(t, "Forget", err, postgres.ErrNotMigrated, `forget what totals remembered before 1970-01-01T00:00:00Z: `)
	_, err = s.db.RememberTx(s.ctx, s.begin(), "totals", messages(1, 2))
	wantError(t, "RememberTx", err, postgres.ErrNotMigrated, `remember 2 messages for totals: `)
}

// A service can neither lower a floor nor do without it.
func TestServiceCannotTouchFloors(t *testing.T) {
	t.Parallel()
	service := postgrestest.Service(t, postgrestest.Pool(t))
	for _, sql := range []string{
		`UPDATE annals.inbox_floors SET position = 0`, `DELETE FROM annals.inbox_floors`, `UPDATE annals.inbox SET position = 0`, `DELETE FROM annals.inbox`, `DELETE FROM annals.topics`,
	} {
		if _, err := service.Exec(t.Context(), sql); err == nil {
			t.Errorf("a service may %s", sql)
		}
	}
}

// What is asked of the inbox costs the same however large it is, whenever it was planned.
func TestInboxTouchesLittle(t *testing.T) {
	t.Parallel()
	s := planScript(t)
	s.exec(`ALTER TABLE annals.inbox SET (autovacuum_enabled = false)`)
	position := event.Position(1 << 40)
	run := func(n int) {
		m := append(messages(position, n), messages(1, n)...)
		position += event.Position(n)
		for range 2 { // new and then repeated, and from the second run on forgotten
			s.end(s.db.Transact(s.ctx, func(ctx context.Context, tx pgx.Tx) error {
				_, err := s.db.RememberTx(ctx, tx, "totals", m)
				return err
			}))
		}
		// As many as were remembered, of the oldest.
		if _, err := s.db.Forget(s.ctx, "totals", time.Now().Add(time.Hour), n); err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		run(3)
	}
	s.exec(`ANALYZE annals.inbox`)
	for range 10 {
		run(3)
	}
	s.exec(`INSERT INTO annals.inbox (consumer, id, topic, position, at)
SELECT CASE WHEN n % 2 = 0 THEN 'totals' ELSE 'another' END, gen_random_uuid(), 'shop.order', n, now() - interval '40 days' + n * interval '1 second'
FROM generate_series(1, 100000) n`)
	for _, prepare := range []string{`SELECT 'old statistics'`, `ANALYZE annals.inbox`, `VACUUM annals.inbox`} {
		s.exec(prepare)
		run(3)
		if got := s.touchedOf("annals.inbox", func() { run(10) }); got.scans > 0 || got.scanned > 0 || got.entries > 100 || got.rows > 100 {
			t.Errorf("%s: 10 messages touch %+v, want no scan and a handful", prepare, got)
		}
	}
}

func BenchmarkRemember(b *testing.B) {
	for _, size := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			pool := postgrestest.Pool(b)
			db := postgres.New(pool)
			position := event.Position(1)
			for b.Loop() {
				m := messages(position, size)
				position += event.Position(size)
				err := db.Advance(b.Context(), "totals", worker.Term{}, "p", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
					_, err := db.RememberTx(ctx, tx, "totals", m)
					return worker.Write{}, err
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(size)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
