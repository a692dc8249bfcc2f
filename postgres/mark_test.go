package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
)

// The transaction of a thousand appends must not fill the lock table.
func manyAppends(s *script) {
	const appends = 100
	a := s.begin()
	var want []string
	for i := range appends {
		s.append(s.db.Tx(a), fmt.Sprint("a", i))
		s.append(s.db, fmt.Sprint("b", i))
		want = append(want, fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	marks, err := s.marks(a)
	s.end(err)
	if len(marks) != 1 {
		s.errorf("%d locks after %d appends, want 1", len(marks), appends)
	}
	s.want("while a is open")
	s.commit(a)
	s.want("at the end", want...)
}

// marks are those that a transaction holds.
func (s *script) marks(tx pgx.Tx) ([]int64, error) {
	rows, err := tx.Query(s.ctx, `
SELECT ((classid::bigint & 65535) << 32) | objid::bigint
FROM pg_locks
WHERE locktype = 'advisory'
  AND pid = pg_backend_pid()`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// However a statement inserts, its transaction has the mark before it draws.
func everyWayIn(s *script) {
	columns := []string{"category", "stream_id", "version", "event_id", "name", "schema_version", "content_type", "payload", "metadata"}
	list := strings.Join(columns, ", ")
	values := `'order', $1::text, 1, gen_random_uuid(), 'order.noted', 1, 'text/plain', ''::bytea, ''::bytea`
	for _, way := range []struct{ name, sql string }{
		{"INSERT", `INSERT INTO annals.events (` + list + `) VALUES (` + values + `)`},
		{"INSERT SELECT", `INSERT INTO annals.events (` + list + `) SELECT ` + values},
		{"CTE", `WITH written AS (INSERT INTO annals.events (` + list + `) VALUES (` + values + `) RETURNING position) SELECT position FROM written`},
		{"COPY", ""},
	} {
		a := s.begin()
		var err error
		if way.sql != "" {
			_, err = a.Exec(s.ctx, way.sql, way.name)
		} else {
			_, err = a.CopyFrom(s.ctx, pgx.Identifier{"annals", "events"}, columns, pgx.CopyFromRows([][]any{
				{"order", way.name, int64(1), [16]byte(note("").Metadata.ID), "order.noted", int16(1), "text/plain", []byte{}, []byte{}},
			}))
		}
		s.end(err)
		var position int64
		s.end(a.QueryRow(s.ctx, `SELECT position FROM annals.events WHERE stream_id = $1`, way.name).Scan(&position))
		marks, err := s.marks(a)
		s.end(err)
		if len(marks) != 1 {
			s.errorf("%s: %d marks, want 1", way.name, len(marks))
		} else if marks[0] >= position {
			s.errorf("%s: mark %d, want one below position %d", way.name, marks[0], position)
		}
		s.append(s.db, "after "+way.name)
		s.read()
		s.commit(a)
		s.read()
	}
}

// The log is full at 2^48-1: what comes after would not fit beside the
// namespace in the key of a mark.
func lastPosition(s *script) {
	const last = 1<<48 - 1
	s.exec(`SELECT setval('annals.events_position_seq', $1)`, int64(last-1))
	if at := s.append(s.db, "last").Position; at != last {
		s.errorf("appended at %d, want the last position", at)
	}
	s.want("at the last position", "last")
	_, err := s.db.Append(s.ctx, order("over"), eventstore.Any(), note("over"))
	if err != nil {
		if want := "append order-over: ERROR: nextval: reached maximum value of sequence \"events_position_seq\" (281474976710655)"; !strings.HasPrefix(err.Error(), want) {
			s.errorf("Append = %w, want %s", err, want)
		}
		s.want("when the log is full", "last")
		return
	}
	a := s.begin()
	at := s.append(s.db.Tx(a), "a").Position
	marks, err := s.marks(a)
	s.end(err)
	s.errorf("appended at %d with the marks %v", at, marks)
	s.commit(a)
}

// As after a restore: a sequence that was set, and not drawn from, has no last
// value.
func sequenceSet(s *script) {
	s.hole()
	s.append(s.db, "b")
	s.exec(`SELECT setval('annals.events_position_seq', 100, false)`)
	s.want("behind a sequence that was set", "b")
	a := s.begin()
	if at := s.append(s.db.Tx(a), "a").Position; at != 100 {
		s.errorf("appended at %d, want 100", at)
	}
	marks, err := s.marks(a)
	s.end(err)
	if len(marks) != 1 || marks[0] >= 100 {
		s.errorf("marks %v, want one below 100", marks)
	}
	s.append(s.db, "c")
	s.want("while a is open", "b")
	s.commit(a)
	s.want("at the end", "b", "a", "c")
}

// The transaction of thousands of appends has one mark. With one for each
// append it would fill the lock table, and then every append fails.
func thousandsOfAppends(s *script) { s.manyTransactions(3_000, 4, 1_000) }

// As thousandsOfAppends, in the size that a fresh mark for each append did not
// survive on a server with the usual settings.
func TestFaultManyAppendsInOneTransaction(t *testing.T) {
	t.Parallel()
	s := stage(t, annals, ownServer(t))
	s.manyTransactions(60_000, 12, 2_000)
	if err := s.verdict(); err != nil {
		t.Error(err)
	}
}

// manyTransactions makes the appends of one long transaction, and then those of
// several at once.
func (s *script) manyTransactions(long, transactions, each int) {
	s.reader.limit = 10_000
	if err := s.manyAppendsIn("long", long); err != nil {
		s.errorf("%d appends in one transaction: %w", long, err)
	}
	var wait sync.WaitGroup
	errs := make([]error, transactions)
	for i := range transactions {
		wait.Go(func() { errs[i] = s.manyAppendsIn(fmt.Sprint("short", i), each) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			s.errorf("%d appends in each of %d transactions: %w", each, transactions, err)
		}
	}
}

// manyAppendsIn appends in one transaction, and rolls back to a savepoint now
// and then. Single inserts in batches are what is quick enough.
func (s *script) manyAppendsIn(stream string, appends int) error {
	tx, err := s.pool.Begin(s.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(s.ctx) }()
	const insert = `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
VALUES ('order', $1, $2, gen_random_uuid(), 'order.noted', 1, 'text/plain', '', '')`
	batch := &pgx.Batch{}
	for version := 1; version <= appends; version++ {
		batch.Queue(insert, stream, version)
		if version%500 != 0 && version != appends {
			continue
		}
		batch.Queue(`SAVEPOINT undone`)
		batch.Queue(insert, stream, version+1)
		batch.Queue(`ROLLBACK TO SAVEPOINT undone`)
		batch.Queue(`RELEASE SAVEPOINT undone`)
		if err := tx.SendBatch(s.ctx, batch).Close(); err != nil {
			return err
		}
		batch = &pgx.Batch{}
	}
	if marks, err := s.marks(tx); err != nil || len(marks) != 1 {
		return fmt.Errorf("%d marks, want 1: %w", len(marks), err)
	}
	return tx.Commit(s.ctx)
}
