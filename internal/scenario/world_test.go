package scenario_test

import (
	"context"
	"fmt"

	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// A read model is a row for each time that an event was applied: nothing keeps it
// from being applied twice but the checkpoint.
const model = `
CREATE TABLE %s (
	n         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	position  bigint NOT NULL,
	event_id  uuid   NOT NULL,
	stream_id text   NOT NULL,
	version   bigint NOT NULL
)`

// The read models, and the topic.
const (
	beside    = "beside"    // in the database of the store, from the log
	elsewhere = "elsewhere" // on another server, from the log
	fed       = "fed"       // on another server, from the topic
	topic     = "annals.order"
	parts     = 3
)

// world is a store at an address, everyone who reads it, and one who writes.
type world struct {
	*testing.T
	address *address
	server  *devenv.Server // that the address leads to
	pool    *pgxpool.Pool  // by the address
	db      *postgres.DB
	models  *pgxpool.Pool // on another server
	other   *postgres.DB
	joined  worker.Store[pgx.Tx]
	relay   *bus.Relay
	seeds   []string
	client  *kgo.Client

	history *oracle.History
	random  *rand.Rand
	readers map[string]*running
}

// place is an event where it was acknowledged, stored, published or applied.
type place struct {
	Position event.Position
	ID       event.ID
}

func newWorld(t *testing.T, server *devenv.Server) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{T: t, server: server, history: oracle.New(), random: random(seed(t), 0), readers: map[string]*running{}}
	var at string
	w.address, at = listen(t, server)
	w.pool = connect(t, at, 24)
	w.db = postgres.New(w.pool, postgres.WithPollInterval(5*time.Millisecond), postgres.WithLogger(silent))
	if _, err := postgres.Migrate(ctx, w.pool); err != nil {
		t.Fatal(err)
	}
	run(t, w.pool, fmt.Sprintf(model, beside))
	w.models = postgrestest.Pool(t, fmt.Sprintf(model, elsewhere), fmt.Sprintf(model, fed))
	w.other = postgres.New(w.models)
	w.joined = worker.Join(w.db, worker.Store[pgx.Tx](w.other))
	b, err := broker.StartEmbedded(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w.seeds = b.Seeds
	w.client, err = kafka.NewClient(kgo.SeedBrokers(b.Seeds...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.relay = bus.NewRelay(w.db, kafka.NewPublisher(w.client), bus.WithOtherTopics(bus.Contract{Partitions: parts}), bus.WithBatch(50), bus.WithRetry(patient), bus.WithLogger(silent))
	t.Cleanup(func() {
		for _, r := range w.readers {
			_ = r.stop()
		}
	})
	return w
}

type noted struct{ N int }

var notes = codec.JSON(codec.Types[noted]{"order.noted": noted{}})

func into(table string) *projection.Projection[pgx.Tx] {
	return projection.New(table, projection.On(notes, func(ctx context.Context, tx pgx.Tx, e event.Of[noted]) error {
		_, err := tx.Exec(ctx, `INSERT INTO `+table+` (position, event_id, stream_id, version) VALUES ($1, $2, $3, $4)`,
			int64(e.Position), [16]byte(e.Metadata.ID), e.Stream.ID, int64(e.Version))
		return err
	}))
}

// running is a reader that runs until it is stopped, or stops.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func (r *running) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- err
	return err
}

const relay = "relay"

// start starts readers, all if none is named.
func (w *world) start(names ...string) {
	w.Helper()
	if len(names) == 0 {
		names = []string{beside, elsewhere, fed, relay}
	}
	for _, name := range names {
		ctx, cancel := context.WithCancel(w.Context())
		r := &running{cancel, make(chan error, 1)}
		w.readers[name] = r
		go func() { r.ended <- w.read(ctx, name) }()
	}
}

// checkpoint is the name of a read model's checkpoint.
func checkpoint(table string) string { return into(table).Name() }

func (w *world) read(ctx context.Context, name string) error {
	small, retry, silent := projection.WithBatch(40), projection.WithRetry(patient), projection.WithLogger(silent)
	switch name {
	case beside:
		return into(name).Run(ctx, w.db, small, retry, silent)
	case elsewhere:
		return into(name).Run(ctx, w.joined, small, retry, silent)
	case fed:
		return into(name).Run(ctx, w.other, small, retry, silent, projection.From(kafka.NewConsumer(fed, []string{topic}, kgo.SeedBrokers(w.seeds...))))
	default:
		return w.relay.Run(ctx)
	}
}

func (w *world) stop(names ...string) {
	w.Helper()
	for _, name := range names {
		if err := w.readers[name].stop(); err != nil {
			w.Errorf("%s: %v", name, err)
		}
	}
}

// append appends events to 20 streams, by a connection of its own to the server.
func (w *world) append(n int) {
	w.Helper()
	pool, err := pgxpool.New(w.Context(), w.server.URL)
	if err != nil {
		w.Fatal(err)
	}
	defer pool.Close()
	db := postgres.New(pool)
	for i := range n {
		write := eventstore.Write{Stream: event.Stream{Category: "order", ID: fmt.Sprint(w.random.IntN(20))}}
		for range 1 + i%3 {
			e := note(w.random, "order.noted", []byte(`{"N":1}`))
			e.ContentType = "application/json"
			write.Events = append(write.Events, e)
		}
		a := w.history.Begin(write)
		res, err := db.Append(w.Context(), write.Stream, write.Expect, write.Events...)
		a.End([]eventstore.Result{res}, err)
		if err != nil {
			w.Fatal(err)
		}
		if i%7 == 3 { // a hole
			tx, err := pool.Begin(w.Context())
			if err != nil {
				w.Fatal(err)
			}
			lost := write
			lost.Events = []event.Raw{note(w.random, "order.noted", nil)}
			if _, err := db.Tx(tx).Append(w.Context(), lost.Stream, lost.Expect, lost.Events...); err != nil {
				w.Fatal(err)
			}
			if err := tx.Rollback(w.Context()); err != nil {
				w.Fatal(err)
			}
		}
	}
	db.Wake()
}

// applied is what a read model has, in the order in which it came.
func (w *world) applied(name string) []place {
	w.Helper()
	pool := w.models
	if name == beside {
		pool = w.pool
	}
	order := "n"
	if name == fed {
		order = "position, n" // its parts come side by side
		var wrong int
		err := pool.QueryRow(w.Context(), `
SELECT count(*)
FROM (SELECT version - lag(version, 1, 0::bigint) OVER (PARTITION BY stream_id ORDER BY n) AS step FROM fed) s
WHERE step <> 1`).Scan(&wrong)
		if err != nil || wrong > 0 {
			w.Errorf("fed: %d events came out of the order of their stream, %v", wrong, err)
		}
	}
	rows, err := pool.Query(w.Context(), `SELECT position, event_id FROM `+name+` ORDER BY `+order)
	if err != nil {
		w.Fatal(err)
	}
	return w.places(rows)
}

func (w *world) places(rows pgx.Rows) []place {
	w.Helper()
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p place, err error) {
		return p, row.Scan((*int64)(&p.Position), (*[16]byte)(&p.ID))
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// stored is what the store has.
func (w *world) stored() []place {
	w.Helper()
	pool, err := pgxpool.New(w.Context(), w.server.URL)
	if err != nil {
		w.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.Query(w.Context(), `SELECT position, event_id FROM annals.events ORDER BY position`)
	if err != nil {
		w.Fatal(err)
	}
	return w.places(rows)
}

// caughtUp waits until the read models, all if none is named, have as much as the
// store, and compares. Nobody may have stopped.
func (w *world) caughtUp(when string, names ...string) {
	w.Helper()
	want := w.stored()
	if len(names) == 0 {
		names = []string{beside, elsewhere, fed}
	}
	for _, name := range names {
		pool := w.models
		if name == beside {
			pool = w.pool
		}
		deadline := time.Now().Add(patience)
		for n, last := 0, event.Position(0); n < len(want) || last < want[len(want)-1].Position; {
			if time.Now().After(deadline) {
				w.Errorf("%s: %s has %d events up to position %d after %v, want %d up to %d", when, name, n, last, patience, len(want), want[len(want)-1].Position)
				break
			}
			if w.hasStopped(when, name) || name == fed && w.hasStopped(when, relay) {
				break
			}
			_ = pool.QueryRow(w.Context(), `SELECT count(*), coalesce(max(position), 0) FROM `+name).Scan(&n, (*int64)(&last)) // again
		}
		if diff := cmp.Diff(want, w.applied(name)); diff != "" {
			w.Errorf("%s: %s is not what the store has (-store +%s):\n%.2000s", when, name, name, diff)
		}
	}
	// The mark of the relay says what its topic must have.
	eventually(w.T, when+": the relay has saved its mark", func() bool {
		c, err := w.db.Checkpoint(w.Context(), w.relay.Name())
		return err == nil && (c[""].Position >= want[len(want)-1].Position || !slices.Contains(names, fed))
	})
}

func (w *world) hasStopped(when, name string) bool {
	w.Helper()
	select {
	case err := <-w.readers[name].ended:
		w.readers[name].ended <- err
		w.Errorf("%s: %s has stopped: %v", when, name, err)
		return true
	default:
		return false
	}
}
