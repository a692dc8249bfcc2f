package postgres_test

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What was drawn first commits last. A reader that goes by position alone hands
// out b and never sees a.
func openAppend(s *script) {
	s.append(s.db, "first")
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")
	s.want("while a is open", "first")
	s.commit(a)
	s.want("after a has committed", "first", "a", "b")
}

func rolledBackAppend(s *script) {
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "b")
	s.want("while a is open")
	s.end(a.Rollback(s.ctx))
	s.append(s.db, "c")
	s.want("after a has rolled back", "b", "c")
}

func onlyWhatComesAfter(s *script) {
	s.hole()
	s.append(s.db, "before")
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "after")
	s.want("beyond a hole, up to the open append", "before")
	s.commit(a)
	s.want("at the end", "before", "a", "after")
}

// everyStep plays a round for each step of the reader, until it has no more.
func (s *script) everyStep(round func(step int) bool) {
	for step := 1; round(step); step++ {
		if step == 20 {
			s.Fatal("the reader has more than 20 steps")
		}
	}
}

// At whichever step of the reader an open append commits, it is not skipped.
// This is what the order of the reader's statements is for, and that they do not
// share a snapshot.
func commitAtEachStep(s *script) {
	s.append(s.db, "first")
	s.everyStep(func(step int) bool {
		a := s.begin()
		s.append(s.db.Tx(a), fmt.Sprint("a", step))
		s.append(s.db, fmt.Sprint("b", step))
		reached := s.readDuring(step, func() { s.commit(a) })
		if !reached {
			s.commit(a)
		}
		s.read()
		return reached
	})
}

// The places inside of log_bound_v1, by what comes after them.
var insideOfBound = []struct{ name, place string }{
	{"before drawn", "drawn := "},
	{"before locks", "SELECT min("},
	{"before top", "SELECT least("},
}

// An append that commits while the reader asks for the bound is not skipped.
// This is what READ COMMITTED is for: the snapshot of the statement that asks is
// older than what it finds out.
func commitInsideOfBound(s *script) {
	for _, at := range insideOfBound {
		a := s.begin()
		s.append(s.db.Tx(a), "a "+at.name)
		s.append(s.db, "b "+at.name)
		s.readAround(at.place, func() { s.commit(a) })
		s.read()
	}
}

// Nor is one that begins then, and is overtaken.
func drawInsideOfBound(s *script) {
	for _, at := range insideOfBound {
		var a pgx.Tx
		s.hole()
		s.append(s.db, "c "+at.name)
		s.readAround(at.place, func() {
			a = s.begin()
			s.append(s.db.Tx(a), "a "+at.name)
			s.append(s.db, "b "+at.name)
		})
		s.read()
		s.commit(a)
		s.read()
	}
}

// The same while the sequence has no last value, as after a restore.
func drawInsideOfBoundOfSetSequence(s *script) {
	for i, at := range insideOfBound {
		var a pgx.Tx
		s.hole()
		s.append(s.db, "c "+at.name)
		s.exec(`SELECT setval('annals.events_position_seq', $1, false)`, int64(100*(i+1)))
		s.readAround(at.place, func() {
			a = s.begin()
			s.append(s.db.Tx(a), "a "+at.name)
			s.append(s.db, "b "+at.name)
		})
		s.read()
		s.commit(a)
		s.read()
	}
}

func rollbackAtEachStep(s *script) {
	var want []string
	s.everyStep(func(step int) bool {
		a, b := s.begin(), fmt.Sprint("b", step)
		s.append(s.db.Tx(a), fmt.Sprint("a", step))
		s.append(s.db, b)
		reached := s.readDuring(step, func() { s.end(a.Rollback(s.ctx)) })
		if !reached {
			s.end(a.Rollback(s.ctx))
		}
		want = append(want, b)
		s.want(fmt.Sprint("after the rollback at step ", step), want...)
		return reached
	})
}

// At whichever step of the reader an append begins and another one overtakes it,
// it is not skipped. The hole makes the reader ask for the bound. This is what
// the last position drawn is read for, before the locks.
func drawAtEachStep(s *script) {
	s.everyStep(func(step int) bool {
		var a pgx.Tx
		draw := func() {
			a = s.begin()
			s.append(s.db.Tx(a), fmt.Sprint("a", step))
			s.append(s.db, fmt.Sprint("b", step))
		}
		s.hole()
		s.append(s.db, fmt.Sprint("c", step))
		reached := s.readDuring(step, draw)
		if !reached {
			draw()
		}
		s.read()
		s.commit(a)
		s.read()
		return reached
	})
}

// A database whose sessions default to a higher level must not make readers
// skip, nor appends fail.
func repeatableReadByDefault(s *script) {
	s.level = ""
	s.isolateByDefault("repeatable read")
}

// Here the caller's transactions stay READ COMMITTED: at SERIALIZABLE either of
// two appends to different streams may be refused.
func serializableByDefault(s *script) { s.isolateByDefault("serializable") }

func (s *script) isolateByDefault(level string) {
	s.exec(`ALTER DATABASE ` + pgx.Identifier{s.pool.Config().ConnConfig.Database}.Sanitize() + ` SET default_transaction_isolation = '` + level + `'`)
	s.pool.Reset()
	s.reader.pool.Reset()
	commitAtEachStep(s)
	commitInsideOfBound(s)
}

// There is no rule of time: however old an open append is, and whatever the
// times of its neighbours say, readers wait for it.
func appendOpenForAnHour(s *script) {
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	s.exec(`
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, recorded_at)
VALUES ('order', 'b', 1, gen_random_uuid(), 'order.noted', 1, 'text/plain', '', '', now() - interval '1 hour')`)
	for range 20 {
		s.want("while a is open")
	}
	s.commit(a)
	s.want("at the end", "a", "b")
}

// A transaction that has lost its mark with a savepoint is marked again; one
// that has lost only a later append keeps it.
func rollbackToSavepoint(s *script) {
	a := s.begin()
	undone := s.beginSavepoint(a)
	s.append(s.db.Tx(undone), "undone")
	s.end(undone.Rollback(s.ctx))
	s.append(s.db, "b")
	s.append(s.db.Tx(a), "a")
	s.append(s.db, "c")
	s.want("while a is open", "b")
	s.commit(a)
	s.want("after a", "b", "a", "c")

	d := s.begin()
	s.append(s.db.Tx(d), "d")
	undone = s.beginSavepoint(d)
	s.append(s.db.Tx(undone), "undone")
	s.end(undone.Rollback(s.ctx))
	s.append(s.db, "e")
	s.want("while d is open", "b", "a", "c")
	s.commit(d)
	s.want("after d", "b", "a", "c", "d", "e")
}

func (s *script) beginSavepoint(tx pgx.Tx) pgx.Tx {
	s.Helper()
	savepoint, err := tx.Begin(s.ctx)
	s.end(err)
	return savepoint
}

// What a session keeps from one transaction to the next, numbers or marks,
// shows in the second.
func secondAppendOfSession(s *script) {
	session, err := s.pool.Acquire(s.ctx)
	s.end(err)
	s.Cleanup(session.Release)
	first := s.beginOn(session)
	s.append(s.db.Tx(first), "first")
	s.commit(first)
	s.hole()
	c := s.begin()
	s.append(s.db.Tx(c), "c")
	a := s.beginOn(session)
	s.append(s.db.Tx(a), "a")
	s.commit(c)
	s.want("while a is open", "first", "c")
	s.commit(a)
	s.want("at the end", "first", "c", "a")
}
