package scenario_test

import (
	"context"
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
	const writers = 8
	db, another := postgres.New(pool), postgres.New(pool, postgres.WithPollInterval(5*time.Millisecond))
	var (
		writing, reading sync.WaitGroup
		mu               sync.Mutex
		sum              tally
	)
	for i := range writers {
		w := newWriter(pool, db, h, random(seed, i), d)
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
	followers := []follower{
		{log: db, reader: h.Reader("of all", eventstore.LogQuery{Limit: 50})},
		{log: another, reader: h.Reader("of all, restarting", eventstore.LogQuery{Limit: 20}), restarts: random(seed, writers)},
		{log: another, reader: h.Reader("by name", eventstore.LogQuery{Names: []string{"order.noted", "cart.left"}, Limit: 20})},
		{log: db, reader: h.Reader("by category", eventstore.LogQuery{Categories: []string{"stock"}, Limit: 100})},
	}
	for i := range followers {
		f := &followers[i]
		reading.Go(func() {
			if err := f.follow(ctx, written); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	writing.Wait()
	close(written)
	reading.Wait()
	t.Logf("%+v", sum)
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
