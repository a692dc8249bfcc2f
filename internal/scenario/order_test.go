package scenario_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// stir lets writers append in every way for a while, and four readers follow
// them. It returns when all have ended, and the readers have read everything.
func stir(t *testing.T, ctx context.Context, h *oracle.History, pool *pgxpool.Pool, seed uint64, d time.Duration) {
	t.Helper()
	db := postgres.New(pool)
	stirred(t, ctx, h, pool, db, db, postgres.New(pool, postgres.WithPollInterval(5*time.Millisecond)), func() {}, seed, d)
}

// stirred is stir with the store of the writers and those of the readers, and
// with what there is to wait for before the readers must find everything. It
// returns the readers, to go on with.
func stirred(
	t *testing.T, ctx context.Context, h *oracle.History, pool *pgxpool.Pool,
	db, log, another *postgres.DB, settle func(), seed uint64, d time.Duration,
) []*follower {
	t.Helper()
	const writers = 8
	var (
		writing, reading sync.WaitGroup
		mu               sync.Mutex
		sum              tally
	)
	for i := range writers {
		w := newWriter(pool, db, h, random(seed, i), fmt.Sprint("held by ", i), d)
		writing.Go(func() {
			err := w.write(ctx)
			mu.Lock()
			defer mu.Unlock()
			sum = sum.plus(w.tally)
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	written := make(chan struct{})
	followers := []*follower{
		{log: log, reader: h.Reader("of all", eventstore.LogQuery{Limit: 50})},
		{log: another, reader: h.Reader("of all, restarting", eventstore.LogQuery{Limit: 20}), restarts: random(seed, writers)},
		{log: another, reader: h.Reader("by name", eventstore.LogQuery{Names: []string{"order.noted", "cart.left"}, Limit: 20})},
		{log: log, reader: h.Reader("by category", eventstore.LogQuery{Categories: []string{"stock"}, Limit: 100})},
	}
	for i, f := range followers {
		reading.Go(func() {
			if err := f.follow(ctx, written); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	writing.Wait()
	settle()
	close(written)
	reading.Wait()
	t.Logf("%+v", sum)
	return followers
}

// Transactions commit in another order than they have drawn their positions,
// because commits dawdle, callers keep transactions open, and some roll back.
// Nothing is lost, and nothing appears behind a cursor.
func TestFaultOutOfOrderCommits(t *testing.T) {
	t.Parallel()
	pool := connect(t, postgrestest.URL(t, disturbance), 24)
	ctx := bounded(t, *timeFlag)
	h := oracle.New()
	stir(t, ctx, h, pool, seed(t), *timeFlag)
	judge(t, ctx, h, pool, postgres.New(pool))
}
