package scenario_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
)

var (
	timeFlag = flag.Duration("scenario.time", 8*time.Second, "how long each scenario takes")
	seedFlag = flag.Uint64("scenario.seed", 0, "what the writers do; 0 draws one")
)

// patience bounds what comes after the writers have ended, and single calls.
const patience = 30 * time.Second

// seed returns the seed of a scenario, and tells it.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat it with -scenario.seed=%d -scenario.time=%v", s, *timeFlag)
	return s
}

// random returns the source of one writer of a scenario.
func random(seed uint64, writer int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(writer))) }

// bounded ends the scenario a while after it should have ended by itself.
func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d+2*patience)
	t.Cleanup(cancel)
	return ctx
}

// connect opens a pool of its own, as another process would.
func connect(t *testing.T, url string, connections int32) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// run executes statements.
func run(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// committed returns what the table holds, in the order of the positions. It goes
// by the table alone, and not by the code under test.
func committed(t *testing.T, pool *pgxpool.Pool) []oracle.Event {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
SELECT position, category, stream_id, version, event_id, name, schema_version, content_type, payload, closes
FROM annals.events
ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (oracle.Event, error) {
		var e event.Recorded
		err := row.Scan((*int64)(&e.Position), &e.Stream.Category, &e.Stream.ID, (*int64)(&e.Version), (*[16]byte)(&e.Metadata.ID),
			&e.Name, &e.Schema, &e.ContentType, &e.Payload, &e.Closes)
		return oracle.Note(e), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// judge lets the oracle look at the history, after two more reads of the log.
func judge(t *testing.T, ctx context.Context, h *oracle.History, pool *pgxpool.Pool, log eventstore.Log) {
	t.Helper()
	for _, name := range []string{"first read of all", "second read of all"} {
		f := follower{log: log, reader: h.Reader(name, eventstore.LogQuery{Limit: 1000})}
		if err := f.toHead(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	events := committed(t, pool)
	for _, f := range h.Check(events) {
		t.Error(f)
	}
	c := h.Counts()
	t.Logf("%d events are stored; of the appends, %d were acknowledged, %d refused or rolled back, %d without an answer", len(events), c.Acked, c.Refused, c.Unknown)
	if c.Acked == 0 || len(events) == 0 {
		t.Error("nothing was appended: the scenario proves nothing")
	}
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("still not so after %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

// note is one event that a writer has drawn.
func note(r *rand.Rand, name string, payload []byte) event.Raw {
	e := event.Raw{Name: name, Schema: 1, ContentType: "application/octet-stream", Payload: payload}
	e.Metadata.ID = id(r)
	return e
}

// id draws a UUID of version 4.
func id(r *rand.Rand) event.ID {
	var id event.ID
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

func stream(n uint64) event.Stream {
	return event.Stream{Category: [...]string{"order", "cart", "stock"}[n%3], ID: fmt.Sprintf("%03d", n)}
}
