//go:build unix

package scenario_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// workerArgs say what a child process of workers does: a projection and a relay that
// it shares with others like it.
type workerArgs struct {
	URL        string
	Mode       pgx.QueryExecMode
	Segments   int
	Batch      int
	Lease      time.Duration
	Projection bool
	Relay      bool
	Fixed      bool // nothing fails that failed before
	// Brokers are those of a Kafka cluster: the relay publishes there. Nil: to a table.
	Brokers []string
	// Via, if not empty, is what is dialled in the place of any broker.
	Via    string
	Ledger bool   // the relay publishes in transactions
	Domain string // of its topics, and its name, if not the usual ones
	// Replicas of its topics: all but one must be in sync for it to publish. 0: as the
	// cluster has it.
	Replicas int
	Consume  bool // the tallies are those of a consumer of the topics
	// CallTimeout, if not 0, bounds what a relay asks of the brokers. The process tells of
	// calls that take much longer, and how many goroutines it has.
	CallTimeout time.Duration
}

type (
	workEvent interface{ isWorkEvent() }
	// workNote is an event, and what becomes of those who handle it.
	workNote struct {
		N  int
		Do string `json:",omitempty"`
	}
)

func (workNote) isWorkEvent() {}

// What a workNote does to its handler, unless it is fixed.
const (
	doExit    = "exit"    // ends the process
	doRefuse  = "refuse"  // fails for good
	doFail    = "fail"    // fails, and nobody knows whether for good
	doPanic   = "panic"   // panics
	doGoexit  = "goexit"  // ends the goroutine
	doHang    = "hang"    // returns when the context ends
	doStumble = "stumble" // fails one time in three
	doDwell   = "dwell"   // tells that it has begun, and takes a while
)

var workCodec = codec.JSON(codec.Types[workEvent]{"work.noted": workNote{}})

// The effects of the projection: a count, and a row for each time that an event was
// applied. Nothing but the checkpoint keeps one from being applied twice. And what a
// broker was given, in the order in which it was.
const workTables = `
CREATE TABLE tallied (stream text PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE handled (
	n        bigint GENERATED ALWAYS AS IDENTITY,
	event_id uuid   NOT NULL,
	stream   text   NOT NULL,
	version  bigint NOT NULL
);
CREATE TABLE broker (
	n        bigint GENERATED ALWAYS AS IDENTITY,
	topic    text   NOT NULL,
	key      text   NOT NULL,
	event_id uuid   NOT NULL,
	version  bigint NOT NULL
)`

// stubborn retries soon, and does not give up soon what only stumbles.
var stubborn = worker.Retry{Attempts: 100, Base: 20 * time.Millisecond, Cap: 200 * time.Millisecond}

// unmoved is stubborn, and takes no event for the cause of a kill: they come at random, and
// on slow brokers several may hit a relay before its first event is out.
var unmoved = worker.Retry{Attempts: 100, Base: 20 * time.Millisecond, Cap: 200 * time.Millisecond, Kills: 1000}

// dwelling is how long what dwells takes, if nobody stops it.
const dwelling = 700 * time.Millisecond

// workers are the workers of one process.
type workers struct {
	workerArgs
	db *postgres.DB
	to *oracle.Recorder
}

// begun is told by what dwells: in which transaction, if it has one.
type begun struct{ XID string }

// turn is told by a worker that was given a term, or has lost it.
type turn struct {
	Name    string
	Segment string
	Epoch   int64
	Why     string
}

// workersAsChild is the mode of a child process. SIGTERM ends it properly.
func workersAsChild(ctx context.Context, to *oracle.Recorder, text json.RawMessage) error {
	var args workerArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(args.URL)
	if err != nil {
		return err
	}
	config.MaxConns, config.ConnConfig.DefaultQueryExecMode = 12, args.Mode
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	db := postgres.New(pool, postgres.WithLogger(silent), postgres.WithPollInterval(20*time.Millisecond))
	to.Tell("ready", nil)
	w := &workers{args, db, to}
	if args.CallTimeout > 0 {
		go w.count(ctx)
		defer func() { to.Tell("goroutines", runtime.NumGoroutine()) }()
	}
	return w.work(ctx, pool)
}

// work returns when ctx has ended, or with the first error of any of them.
func (w *workers) work(ctx context.Context, pool *pgxpool.Pool) error {
	group, ctx := errgroup.WithContext(ctx)
	if w.Projection {
		group.Go(func() error { return w.projection().Run(ctx, w.db, w.options()...) })
	}
	if w.Relay {
		to, done, err := w.publisher(pool)
		if err != nil {
			return err
		}
		defer done()
		opts := []bus.RelayOption{bus.WithBatch(w.Batch), bus.WithRetry(unmoved), bus.WithLease(w.Lease), bus.WithHooks(w.hooks()), bus.WithLogger(silent), w.timeout()}
		if len(w.Brokers) > 0 {
			if w.Domain != "" {
				opts = append(opts, bus.WithDomain(w.Domain), bus.WithName(w.Domain))
			}
			opts = append(opts, bus.WithOtherTopics(bus.Contract{Partitions: teamPartitions, Replication: w.Replicas, MinInSync: max(0, w.Replicas-1)}))
		}
		group.Go(func() error { return bus.NewRelay(w.db, to, opts...).Run(ctx) })
	}
	if w.Consume {
		group.Go(func() error { return w.consume(ctx) })
	}
	return group.Wait()
}

func (w *workers) hooks() worker.Hooks {
	return worker.Hooks{
		Gained: func(g worker.TermGained) { w.to.Tell("gained", turn{g.Name, g.Term.Segment, g.Term.Epoch, ""}) },
		Lost:   func(l worker.TermLost) { w.to.Tell("lost", turn{l.Name, l.Term.Segment, l.Term.Epoch, l.Why}) },
	}
}

func (w *workers) options() []projection.Option {
	return []projection.Option{
		projection.WithBatch(w.Batch), projection.WithSegments(w.Segments), projection.WithLease(w.Lease), projection.WithTimeout(10 * time.Second),
		projection.WithRetry(stubborn), projection.WithHooks(w.hooks()), projection.WithLogger(silent),
	}
}

// tallies is the name of the projection's checkpoint.
const tallies = "projection/tallies"

func (w *workers) projection() *projection.Projection[pgx.Tx] {
	return projection.New("tallies", projection.On(workCodec, w.handle))
}

func (w *workers) handle(ctx context.Context, tx pgx.Tx, e event.Of[workEvent]) error {
	err := tally1(ctx, tx, e)
	note := e.Data.(workNote)
	switch {
	case err != nil || w.Fixed:
		return err
	case note.Do == doDwell:
		var b begun
		if err := tx.QueryRow(ctx, `SELECT pg_current_xact_id()::text`).Scan(&b.XID); err != nil {
			return err
		}
		w.to.Tell("begun", b)
		<-time.After(dwelling) // whatever becomes of ctx
		return nil
	}
	return note.do(ctx)
}

// do does what the event makes its handler do.
func (n workNote) do(ctx context.Context) error {
	switch n.Do {
	case doExit:
		os.Exit(3)
	case doRefuse:
		return worker.Permanent(errors.New("this one never"))
	case doFail:
		return errors.New("not this one")
	case doPanic:
		panic("this one")
	case doGoexit:
		runtime.Goexit()
	case doHang:
		<-ctx.Done()
		return ctx.Err()
	case doStumble:
		if rand.IntN(3) == 0 {
			return errors.New("stumbled")
		}
	}
	return nil
}

func tally1(ctx context.Context, tx pgx.Tx, e event.Of[workEvent]) error {
	_, err := tx.Exec(ctx, `
INSERT INTO tallied (stream, n)
VALUES ($1, 1)
ON CONFLICT (stream) DO UPDATE SET n = tallied.n + 1`, e.Stream.String())
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO handled (event_id, stream, version) VALUES ($1::text::uuid, $2, $3)`, e.Metadata.ID.String(), e.Stream.String(), int64(e.Version))
	}
	return err
}

// rowPublisher is a broker that is a table: what was published is in it before the
// worker knows, in the order in which it was.
type rowPublisher struct {
	pool *pgxpool.Pool
	to   *oracle.Recorder
}

func (rowPublisher) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	return tellingPublisher{}.Topics(ctx, names...)
}

func (rowPublisher) Create(context.Context, ...bus.Contract) error { return nil }

func (rowPublisher) Newest(context.Context, string, func(int32, bus.Message) bool) error { return nil }

func (p rowPublisher) Publish(ctx context.Context, messages []bus.Message) error {
	batch := &pgx.Batch{}
	for _, m := range messages {
		note, err := noteMessage(m)
		if err != nil {
			return err
		}
		batch.Queue(`INSERT INTO broker (topic, key, event_id, version) VALUES ($1, $2, $3::text::uuid, $4)`, note.Topic, note.Key, note.ID.String(), int64(note.Version))
		if strings.Contains(string(m.Value), doDwell) {
			p.to.Tell("begun", begun{})
			<-time.After(dwelling)
		}
	}
	if err := p.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("insert messages: %w", err)
	}
	return nil
}
