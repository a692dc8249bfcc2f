package bus

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/annals-go/annals/worker"
)

// How an inbox is emptied: in chunks, so that no transaction is long, about once an hour.
const (
	forgetEvery = time.Hour
	forgetFirst = 5 * time.Minute // after the start
	forgetChunk = 2000
	forgetPause = 50 * time.Millisecond
)

// forgetMeanwhile forgets, until what it returns is called, which waits for its end.
// Several processes may do that at once.
func (r *consuming[Tx]) forgetMeanwhile(ctx context.Context) (end func()) {
	if r.memory == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() {
		for wait := rand.N(forgetFirst); sleep(ctx, wait); wait = forgetEvery/2 + rand.N(forgetEvery) {
			if err := r.forget(ctx); err != nil && ctx.Err() == nil {
				r.worker.Logger.WarnContext(ctx, "cannot forget old messages, trying again later", "consumer", r.name, "error", err)
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
	}
}

// forget forgets all that is old enough.
func (r *consuming[Tx]) forget(ctx context.Context) error {
	for {
		n, err := r.forgetSome(ctx)
		if err != nil || n < forgetChunk || !sleep(ctx, forgetPause) {
			return err
		}
	}
}

func (r *consuming[Tx]) forgetSome(ctx context.Context) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.worker.Timeout)
	defer cancel()
	err = worker.Safely(func() error {
		n, err = r.db.Forget(ctx, r.name, time.Now().Add(-r.memory), forgetChunk)
		return err
	})
	return n, err
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
