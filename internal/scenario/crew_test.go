//go:build unix

package scenario_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// crew is what works on a store as a service would: writers, readers of
// streams, a reader of the log, a projection that counts, and a relay. All goes
// on by itself after an error that passes.
type crew struct {
	crewArgs
	pool *pgxpool.Pool
	db   *postgres.DB
	to   *oracle.Recorder

	began time.Time
}

type crewArgs struct {
	URL     string
	Seed    uint64
	Writers int            // 0: only what reads
	Streams string         // prefix of their ids
	After   event.Position // where the reader of the log goes on
	Relay   bool
	Lease   time.Duration // of terms
	// CallTimeout, if not 0, is what bounds calls of the store, instead of their
	// contexts. The crew tells of those that take much longer.
	CallTimeout time.Duration
}

// The reader of the log, the read model and the checkpoints of a crew.
const (
	crewReader  = "of the crew"
	crewTables  = `CREATE TABLE counted (stream text PRIMARY KEY, n bigint NOT NULL)`
	crewStreams = 6
)

type (
	crewEvent interface{ isCrewEvent() }
	crewNote  struct{ N uint64 }
)

func (crewNote) isCrewEvent() {}

var crewCodec = codec.JSON(codec.Types[crewEvent]{"crew.noted": crewNote{}})

// counted counts the events of each stream: an event that is applied twice, or
// not at all, shows.
var counted = projection.New("counted", projection.On(crewCodec, func(ctx context.Context, tx pgx.Tx, e event.Of[crewEvent]) error {
	_, err := tx.Exec(ctx, `
INSERT INTO counted (stream, n)
VALUES ($1, 1)
ON CONFLICT (stream) DO UPDATE SET n = counted.n + 1`, e.Stream.String())
	return err
}))

// patient outlasts every outage of a scenario.
var patient = worker.Retry{Attempts: 1000, Base: 20 * time.Millisecond, Cap: 500 * time.Millisecond}

var silent = slog.New(slog.DiscardHandler) // that a server is away is expected

// workAsChild is the mode of a child process. SIGUSR1 ends the writers, SIGTERM
// all.
func workAsChild(ctx context.Context, to *oracle.Recorder, text json.RawMessage) error {
	var args crewArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(args.URL)
	if err != nil {
		return err
	}
	config.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	enough, told := make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	go func() {
		<-told
		close(enough)
	}()
	to.Tell("ready", nil)
	count := func() { to.Tell("goroutines", runtime.NumGoroutine()) }
	go func() {
		for r := random(0, 0); moment(ctx, r, 200*time.Millisecond); {
			count()
		}
	}()
	opts := []postgres.Option{postgres.WithLogger(silent)}
	if args.CallTimeout > 0 {
		opts = append(opts, postgres.WithCallTimeout(args.CallTimeout))
	}
	c := crew{crewArgs: args, pool: pool, db: postgres.New(pool, opts...), to: to}
	err = c.work(ctx, enough)
	pool.Close()
	count()
	return err
}

// work returns when the context has ended, or with the first error that nobody
// would go on after. The writers end when enough is closed.
func (c *crew) work(ctx context.Context, enough <-chan struct{}) error {
	c.began = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	start := func(what string, fn func(context.Context) error) {
		wg.Go(func() {
			err := fn(ctx)
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				first = errors.Join(first, fmt.Errorf("%s: %w", what, err))
				mu.Unlock()
				cancel()
			}
		})
	}
	var writing sync.WaitGroup
	for i := range c.Writers {
		r := random(c.Seed, i)
		writing.Add(1)
		start("writer", func(ctx context.Context) error {
			defer writing.Done()
			return c.write(ctx, enough, r)
		})
	}
	wg.Go(func() {
		writing.Wait()
		c.to.Tell("written", nil)
	})
	if c.Writers > 0 {
		start("reader of streams", func(ctx context.Context) error { return c.readStreams(ctx, enough, random(c.Seed, 100)) })
	}
	start("reader of the log", c.readLog)
	start("projection", func(ctx context.Context) error {
		return counted.Run(ctx, c.db, projection.WithBatch(100), projection.WithRetry(patient), projection.WithLogger(silent), projection.WithTimeout(10*time.Second), projection.WithLease(c.Lease))
	})
	if c.Relay {
		start("relay", bus.NewRelay(c.db, tellingPublisher{c.to}, bus.WithBatch(25), bus.WithRetry(patient), bus.WithLogger(silent), bus.WithLease(c.Lease)).Run)
	}
	wg.Wait()
	return first
}

// moment waits up to a while; false if the context has ended.
func moment(ctx context.Context, r *rand.Rand, most time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(r.Int64N(int64(most)))):
		return true
	}
}

func (c *crew) stream(r *rand.Rand) event.Stream {
	s := stream(r.Uint64N(crewStreams))
	// Other streams from time to time, so that they stay short: they are read whole.
	s.ID = c.Streams + s.ID + fmt.Sprint("-", int(time.Since(c.began)/(3*time.Second)))
	return s
}

// pace is the longest pause between two writes of a writer. What reads must be
// quicker than the writers, to catch up beside them, also on a busy machine.
func (c *crew) pace() time.Duration {
	if c.CallTimeout > 0 {
		return 40 * time.Millisecond
	}
	return 5 * time.Millisecond
}

func (c *crew) write(ctx context.Context, enough <-chan struct{}, r *rand.Rand) error {
	versions := map[event.Stream]event.Version{}
	for n := uint64(0); moment(ctx, r, c.pace()); {
		select {
		case <-enough:
			return nil
		default:
		}
		writes := []eventstore.Write{{Stream: c.stream(r)}}
		if other := c.stream(r); r.IntN(4) == 0 && other != writes[0].Stream {
			writes = append(writes, eventstore.Write{Stream: other})
		}
		for i := range writes {
			w := &writes[i]
			if r.IntN(3) == 0 {
				w.Expect = eventstore.Exactly(versions[w.Stream])
			}
			for range 1 + r.IntN(3) {
				n++
				raw, err := crewCodec.Encode(crewNote{n})
				if err != nil {
					return err
				}
				raw.Metadata.ID = event.NewID()
				w.Events = append(w.Events, raw)
			}
		}
		c.resolve(ctx, r, writes, versions)
	}
	return nil
}

// resolve appends, and once the outcome is unknown again with the same ids until
// it is known, as a caller should.
func (c *crew) resolve(ctx context.Context, r *rand.Rand, writes []eventstore.Write, versions map[event.Stream]event.Version) {
	for open := false; ; {
		a := c.to.Begin(writes...)
		res, err := c.send(ctx, writes)
		a.End(res, err)
		var conflict *eventstore.ConflictError
		switch {
		case err == nil:
			for i, w := range writes {
				versions[w.Stream] = res[i].Version
			}
			return
		case errors.As(err, &conflict):
			versions[conflict.Stream] = conflict.Actual
			return
		}
		open = open || errors.Is(err, eventstore.ErrOutcomeUnknown)
		if !moment(ctx, r, 50*time.Millisecond) || !open {
			return
		}
	}
}

func (c *crew) send(ctx context.Context, writes []eventstore.Write) ([]eventstore.Result, error) {
	if c.CallTimeout == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	defer c.timed("an append")()
	return send(ctx, c.db, writes)
}

// timed tells of a call that has not returned by its deadline.
func (c *crew) timed(what string) func() {
	began := time.Now()
	return func() {
		if took := time.Since(began); c.CallTimeout > 0 && took > lateCall {
			c.to.Tell("late", fmt.Sprintf("%s took %v, at most %v", what, took.Round(time.Millisecond), c.CallTimeout))
		}
	}
}

func (c *crew) readStreams(ctx context.Context, enough <-chan struct{}, r *rand.Rand) error {
	for moment(ctx, r, 40*time.Millisecond) {
		select {
		case <-enough:
			return nil
		default:
		}
		s, began := c.stream(r), time.Now()
		var events []event.Recorded
		var failed error
		told := c.timed("a read of a stream")
		for e, err := range c.db.ReadStream(ctx, s, eventstore.StreamQuery{}) {
			if failed = err; err == nil {
				events = append(events, e)
			}
		}
		told()
		c.to.Read(s, began, events, failed)
	}
	return nil
}

func (c *crew) readLog(ctx context.Context) error {
	r := random(c.Seed, 101)
	for at := c.After; ctx.Err() == nil; {
		told := c.timed("a read of the log")
		page, err := c.db.ReadLog(ctx, eventstore.LogQuery{After: at, Limit: 50})
		told()
		switch {
		case err != nil:
			moment(ctx, r, 50*time.Millisecond)
		case page.Next == page.After:
			_ = c.db.Wait(ctx, at)
		default:
			c.to.Page(crewReader, page)
			at = page.Next
		}
	}
	return nil
}

// tellingPublisher is a broker that lives in the process of the test.
type tellingPublisher struct{ to *oracle.Recorder }

func (tellingPublisher) Topics(_ context.Context, names ...string) (map[string]bus.Topic, error) {
	out := map[string]bus.Topic{}
	for _, n := range names {
		out[n] = bus.Topic{ID: "1", Partitions: 1}
	}
	return out, nil
}

func (tellingPublisher) Create(context.Context, ...bus.Contract) error { return nil }

// Newest shows nothing: it is asked after a failover, and here is none.
func (tellingPublisher) Newest(context.Context, string, func(int32, bus.Message) bool) error {
	return nil
}

func (p tellingPublisher) Publish(_ context.Context, messages []bus.Message) error {
	for _, m := range messages {
		out, err := noteMessage(m)
		if err != nil {
			return err
		}
		p.to.Tell("message", out)
	}
	return nil
}
