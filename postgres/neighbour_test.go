package postgres_test

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// A transaction that wrote before it appended has an older id than the append
// that it comes after. The order of the log extends that of each stream.
func appendAfterAnotherWrite(s *script) {
	s.exec(`CREATE TABLE unrelated (n int)`)
	a := s.begin()
	_, err := a.Exec(s.ctx, `INSERT INTO unrelated VALUES (1)`)
	s.end(err)
	s.append(s.db, "s")
	_, err = s.db.Tx(a).Append(s.ctx, order("s"), eventstore.Exactly(1), note("second"))
	s.end(err)
	s.commit(a)
	s.want("at the end", "s", "s@2")
}

// The older transaction draws the later position and commits first.
func olderIDAppendsLater(s *script) {
	s.exec(`CREATE TABLE unrelated (n int)`)
	c, d := s.begin(), s.begin()
	for _, tx := range []pgx.Tx{c, d} { // c gets its id first
		_, err := tx.Exec(s.ctx, `INSERT INTO unrelated VALUES (1)`)
		s.end(err)
	}
	s.append(s.db.Tx(d), "d")
	s.append(s.db.Tx(c), "c")
	s.commit(c)
	s.want("while d is open")
	s.commit(d)
	s.want("at the end", "d", "c")
}

// Only appends delay readers: no write, no snapshot, no other database.
func unrelatedTransactions(s *script) {
	var want []string
	beside := func(what string, tx pgx.Tx, sql string) {
		_, err := tx.Exec(s.ctx, sql)
		s.end(err)
		want = append(want, fmt.Sprint(len(want)+1))
		s.hole()
		s.append(s.db, want[len(want)-1])
		s.want("beside "+what, want...)
		s.end(tx.Rollback(s.ctx))
	}
	other := s.connect(s.server(), nil)
	const write = `CREATE TABLE unrelated (n int)`
	beside("an open write in the same database", s.begin(), write)
	beside("an open write in another database", s.beginOn(other), write)
	s.level = pgx.RepeatableRead
	beside("an open snapshot", s.begin(), `SELECT * FROM annals.events`)
}

func otherStores(s *script) {
	_, err := postgres.Migrate(s.ctx, s.pool, postgres.WithSchema("second"))
	s.end(err)
	second := postgres.New(s.pool, postgres.WithSchema("second"))
	a := s.begin()
	s.append(second.Tx(a), "a")
	s.hole()
	s.append(s.db, "1")
	s.want("beside an open append to another schema", "1")
	s.commit(a)
	page, err := second.ReadLog(s.ctx, eventstore.LogQuery{})
	s.end(err)
	if len(page.Events) != 1 || second.Schema() != "second" {
		s.errorf("the store in schema %s has %d events, want 1", second.Schema(), len(page.Events))
	}

	other := s.connect(s.server(), nil)
	b := s.beginOn(other)
	s.append(postgres.New(other).Tx(b), "b")
	s.hole()
	s.append(s.db, "2")
	s.want("beside an open append to another database", "1", "2")
	s.commit(b)
}

// The second rival waits for the first, and then comes behind it.
func rivals(s *script) {
	a := s.begin()
	s.append(s.db.Tx(a), "s")
	ended := make(chan error, 1)
	go func() {
		_, err := s.db.Append(s.ctx, order("s"), eventstore.Any(), note("second"), note("third"))
		ended <- err
	}()
	s.end(waiting(s.ctx, s.pool, ended))
	s.append(s.db, "b")
	s.want("while both are open")
	s.commit(a)
	s.end(<-ended)
	s.want("at the end", "s", "b", "s@2", "s@3")
}
