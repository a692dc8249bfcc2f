package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

const (
	racers  = 50
	contest = 6 // streams that they race for
	// longRead is the version from which on a stream is not read whole any more,
	// because the history keeps what each read yields.
	longRead = 2000
)

// race lets all racers start at once, and returns when all have an answer. Each
// is drawn before it starts, and sends through one of the stores.
func race(t *testing.T, ctx context.Context, h *oracle.History, stores []*postgres.DB, r *rand.Rand, draw func(*rand.Rand) []eventstore.Write) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		db, writes := stores[i%len(stores)], draw(r)
		wg.Go(func() {
			<-start
			a := h.Begin(writes...)
			res, err := send(ctx, db, writes)
			a.End(res, err)
			if err != nil && !isConflict(err) {
				t.Errorf("a caller got: %v", err)
			}
		})
	}
	close(start)
	wg.Wait()
}

func send(ctx context.Context, db *postgres.DB, writes []eventstore.Write) ([]eventstore.Result, error) {
	if len(writes) > 1 {
		return db.AppendAll(ctx, writes...)
	}
	w := writes[0]
	res, err := db.Append(ctx, w.Stream, w.Expect, w.Events...)
	return []eventstore.Result{res}, err
}

// isConflict reports an answer of the model. ErrConflict alone would not do: it
// also stands for an append that gave up after many lost races.
func isConflict(err error) bool {
	var conflict *eventstore.ConflictError
	return errors.As(err, &conflict)
}

// rivals draws writes to one or to several of the streams that are raced for,
// behind the version that each had at the start or behind any.
func rivals(versions map[event.Stream]event.Version, exact int) func(*rand.Rand) []eventstore.Write {
	return func(r *rand.Rand) []eventstore.Write {
		n := 1
		if r.IntN(2) == 0 {
			n = 2 + r.IntN(4)
		}
		var out []eventstore.Write
		for _, i := range r.Perm(contest)[:n] {
			w := eventstore.Write{Stream: stream(uint64(i))}
			if r.IntN(100) < exact {
				w.Expect = eventstore.Exactly(versions[w.Stream])
			}
			for range 1 + r.IntN(3) {
				w.Events = append(w.Events, note(r, "order.noted", fmt.Append(nil, r.Uint64())))
			}
			out = append(out, w)
		}
		return out
	}
}

// processes returns stores as two processes have them: one that appends in
// groups, one that appends each on its own.
func processes(t *testing.T, url string) []*postgres.DB {
	t.Helper()
	return []*postgres.DB{postgres.New(connect(t, url, 12)), postgres.New(connect(t, url, 12), postgres.WithoutGroups())}
}

// contend lets round after round of racers race for a while, and a reader follow
// them.
func contend(t *testing.T, ctx context.Context, h *oracle.History, stores []*postgres.DB, r *rand.Rand, d time.Duration) {
	t.Helper()
	var reading sync.WaitGroup
	raced := make(chan struct{})
	f := follower{log: stores[1], reader: h.Reader("of all", eventstore.LogQuery{Limit: 50})}
	reading.Go(func() {
		if err := f.follow(ctx, raced); err != nil {
			t.Errorf("reader: %v", err)
		}
	})
	rounds := 0
	for until := time.Now().Add(d); time.Now().Before(until); rounds++ {
		versions := map[event.Stream]event.Version{}
		for i := range uint64(contest) {
			for e, err := range stores[0].ReadStream(ctx, stream(i), eventstore.StreamQuery{Backward: true, Limit: 1}) {
				if err != nil {
					t.Fatal(err)
				}
				versions[e.Stream] = e.Version
			}
		}
		if s := stream(r.Uint64N(contest)); versions[s] < longRead {
			reading.Go(func() {
				if err := h.ReadStream(ctx, stores[rounds%2], s); err != nil {
					t.Errorf("read %s: %v", s, err)
				}
			})
		}
		race(t, ctx, h, stores, r, rivals(versions, 30*(rounds%4))) // from none to almost all exact
	}
	close(raced)
	reading.Wait()
	t.Logf("%d rounds of %d racers", rounds, racers)
}

// Many appends race for few streams, from two processes, and reads of the streams
// race with them. There is an order that explains what all were answered.
func TestFaultConcurrentAppends(t *testing.T) {
	t.Parallel()
	url, ctx, h := postgrestest.URL(t), bounded(t, *timeFlag), oracle.New()
	stores := processes(t, url)
	contend(t, ctx, h, stores, random(seed(t), 0), *timeFlag)
	judge(t, ctx, h, connect(t, url, 4), stores[0])
}

// The server refuses one statement of twenty with 40001, as it may at higher
// isolation levels, and some with 40P01. No caller gets to know, and nothing is
// stored twice.
func TestFaultRefusedStatements(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t, `
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE floor(random() * 100)::int
		WHEN 0, 1, 2, 3, 4 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001';
		WHEN 5 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01';
		ELSE RETURN NULL;
	END CASE;
END
$$;
CREATE TRIGGER refuse
AFTER INSERT ON annals.events
FOR EACH STATEMENT EXECUTE FUNCTION refuse();`)
	d := *timeFlag / 4
	ctx, h, r := bounded(t, d), oracle.New(), random(seed(t), 0)
	pool, stores := connect(t, url, 4), processes(t, url)
	for until := time.Now().Add(d); time.Now().Before(until); {
		race(t, ctx, h, stores, r, rivals(nil, 0))
	}
	if c := h.Counts(); c.Refused+c.Unknown > 0 {
		t.Errorf("%+v, want every append acknowledged", c)
	}
	judge(t, ctx, h, pool, stores[1])
}
