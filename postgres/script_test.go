package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// script plays appends and reads of several sessions in a fixed order, against
// a design. What the design does wrong is kept, for verdict; only what keeps
// the script from being played ends the test.
type script struct {
	*testing.T
	ctx    context.Context
	server func() string // the URL of a fresh migrated database
	design design
	pool   *pgxpool.Pool
	db     *postgres.DB
	reader *reader
	level  pgx.TxIsoLevel // of the transactions that begin starts
	wrong  []error
}

// newScript is a script against Annals, on the server of all tests.
func newScript(t *testing.T) *script {
	t.Helper()
	return stage(t, annals, func() string { return postgrestest.URL(t) })
}

func stage(t *testing.T, d design, server func() string) *script {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := &script{T: t, ctx: ctx, server: server, design: d, reader: &reader{limit: 2}, level: pgx.ReadCommitted}
	url := server()
	s.pool = s.connect(url, nil)
	s.db = postgres.New(s.pool)
	s.end(d.apply(ctx, s.pool))
	s.reader.pool, s.reader.others = s.connect(url, s.reader), s.pool
	s.reader.db = postgres.New(s.reader.pool)
	return s
}

func (s *script) connect(url string, tracer pgx.QueryTracer) *pgxpool.Pool {
	s.Helper()
	config, err := pgxpool.ParseConfig(url)
	s.end(err)
	config.MaxConns = 20 // a script holds many transactions open
	config.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	s.Cleanup(pool.Close)
	return pool
}

func note(text string) event.Raw {
	return event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte(text), Metadata: event.Metadata{ID: event.NewID()}}
}

func order(id string) event.Stream { return event.Stream{Category: "order", ID: id} }

func (s *script) begin() pgx.Tx { return s.beginOn(s.pool) }

func (s *script) beginOn(conn interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}) pgx.Tx {
	s.Helper()
	tx, err := conn.BeginTx(s.ctx, pgx.TxOptions{IsoLevel: s.level})
	s.end(err)
	s.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(s.ctx)) })
	return tx
}

func (s *script) append(store eventstore.Store, id string) eventstore.Result {
	s.Helper()
	res, err := store.Append(s.ctx, order(id), eventstore.Any(), note(id))
	s.end(err)
	return res
}

// hole leaves a position that no event will ever have.
func (s *script) hole() {
	s.Helper()
	tx := s.begin()
	s.append(s.db.Tx(tx), "undone")
	s.end(tx.Rollback(s.ctx))
}

func (s *script) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.pool.Exec(s.ctx, sql, args...)
	s.end(err)
}

func (s *script) commit(tx pgx.Tx) {
	s.Helper()
	s.end(tx.Commit(s.ctx))
}

func (s *script) end(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *script) errorf(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Errorf(format, args...))
}

// read reads until there is no more for now.
func (s *script) read() {
	s.Helper()
	for {
		moved, err := s.reader.poll(s.ctx, s.design)
		s.end(err)
		if !moved {
			return
		}
	}
}

// readDuring reads one page and runs do before the given step of the reader,
// the first being 1. It reports whether the reader has so many steps.
func (s *script) readDuring(step int, do func()) bool {
	s.Helper()
	n := 0
	s.reader.step = func() {
		if n++; n == step {
			do()
		}
	}
	_, err := s.reader.poll(s.ctx, s.design)
	s.reader.step = nil
	s.end(err)
	return n >= step
}

// gateKey is the key of a lock that stops a statement in its middle.
const gateKey = 7

// readAround reads one page and runs do when the reader, if it asks for the
// bound, has come to a place inside of log_bound_v1.
func (s *script) readAround(place string, do func()) {
	s.Helper()
	var function string
	s.end(s.pool.QueryRow(s.ctx, `SELECT pg_get_functiondef('annals.log_bound_v1'::regproc)`).Scan(&function))
	if strings.Count(function, place) != 1 {
		s.Fatalf("%q is not once in log_bound_v1: mend the script", place)
	}
	s.exec(strings.Replace(function, place, fmt.Sprintf("PERFORM pg_advisory_xact_lock_shared(%d); ", gateKey)+place, 1))
	keeper, err := s.pool.Begin(s.ctx)
	s.end(err)
	defer func() { _ = keeper.Rollback(s.ctx) }()
	_, err = keeper.Exec(s.ctx, `SELECT pg_advisory_xact_lock($1)`, gateKey)
	s.end(err)
	ended := make(chan error, 1)
	go func() {
		_, err := s.reader.poll(s.ctx, s.design)
		ended <- err
	}()
	s.end(waiting(s.ctx, s.pool, ended))
	do()
	s.end(keeper.Rollback(s.ctx))
	s.end(<-ended)
	s.exec(function)
}

// want reads and compares all that the reader was given so far, in its order.
func (s *script) want(when string, want ...string) {
	s.Helper()
	s.read()
	var got []string
	for _, d := range s.reader.delivered {
		got = append(got, d.String())
	}
	stalled, early := without(want, got), without(got, want)
	if len(stalled) > 0 {
		s.errorf("%s: stalled, without %v", when, stalled)
	}
	if len(early) > 0 {
		s.errorf("%s: early with %v", when, early)
	}
	if len(stalled)+len(early) == 0 && !slices.Equal(got, want) {
		s.errorf("%s: in the order %v, want %v", when, got, want)
	}
}

func without(all, some []string) (rest []string) {
	for _, one := range all {
		if !slices.Contains(some, one) {
			rest = append(rest, one)
		}
	}
	return rest
}

// verdict reads to the end, when no append is open any more, and says what the
// design has done wrong: each stored event is delivered once, no other is, and
// each stream is in order.
func (s *script) verdict() error {
	s.Helper()
	s.read()
	stored, err := deliveries(s.ctx, s.pool, `SELECT position, stream_id, version FROM annals.events ORDER BY position`)
	s.end(err)
	var lost, stalled, foreign, twice []delivery
	delivered, known := map[delivery]int{}, map[delivery]bool{}
	for _, d := range s.reader.delivered {
		delivered[d]++
	}
	for _, d := range stored {
		known[d] = true
		switch {
		case delivered[d] > 0:
		case d.Position <= s.reader.after.position:
			lost = append(lost, d)
		default:
			stalled = append(stalled, d)
		}
	}
	last := map[string]delivery{}
	for _, d := range s.reader.delivered {
		if !known[d] {
			foreign = append(foreign, d)
		}
		if delivered[d] > 1 {
			twice = append(twice, d)
		}
		if before := last[d.Stream]; before.Version >= d.Version {
			s.errorf("inverted: %v after %v", d, before)
		}
		last[d.Stream] = d
	}
	for what, which := range map[string][]delivery{"lost": lost, "stalled at the end, without": stalled, "delivered, but not stored": foreign, "twice": twice} {
		if len(which) > 0 {
			s.errorf("%s %v", what, which)
		}
	}
	return errors.Join(s.wrong...)
}
