//go:build unix

package scenario_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/internal/oracle"
)

// observe connects for looking at a server. Its sessions do not count.
func observe(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	return connect(t, url+"&application_name=observer", 2)
}

// hygieneSQL looks at a server that one test has for itself.
const hygieneSQL = `
SELECT (SELECT count(*)
        FROM pg_stat_activity
        WHERE backend_type = 'client backend'
          AND application_name <> 'observer'),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
       (SELECT count(*) FROM pg_ls_tmpdir()),
       (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - state_change)), 0)::float8
        FROM pg_stat_activity
        WHERE state LIKE 'idle in transaction%')`

// hygiene takes samples of a server, and of a process that tells how many
// goroutines it has.
type hygiene struct {
	pool *pgxpool.Pool

	mu         sync.Mutex
	goroutines int
	samples    []oracle.Sample
}

func (h *hygiene) told(goroutines int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.goroutines = goroutines
}

// sample returns an error while the server is away.
func (h *hygiene) sample(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var s oracle.Sample
	var idle float64
	if err := h.pool.QueryRow(ctx, hygieneSQL).Scan(&s.Sessions, &s.Locks, &s.TempFiles, &idle); err != nil {
		return err
	}
	s.Idle = time.Duration(idle * float64(time.Second))
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Goroutines = h.goroutines
	h.samples = append(h.samples, s)
	return nil
}

// watch takes a sample again and again until the context ends.
func (h *hygiene) watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = h.sample(ctx) // an error while the server is away
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
