package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Retry says how often, and how fast, work that failed is tried again. The wait
// before attempt n+1 is random between 0 and min(Cap, Base * 2^(n-1)) (full
// jitter, after Marc Brooker, "Exponential Backoff And Jitter", AWS 2015). The
// zero value means the defaults.
//
// Not retried: an error marked by Permanent, a panic, and whatever comes after
// the context has ended.
type Retry struct {
	// Attempts counts the first try too. Default 10; 1 never retries.
	Attempts int
	// Base is the longest first wait. Default 50 ms.
	Base time.Duration
	// Cap is the longest wait. Default 10 s.
	Cap time.Duration
	// Kills is how often the process may end while one event is applied before the
	// event is parked. Default 3.
	Kills int
	// Budget is how much load retries may add, as a share of the load there was.
	// More than 0, at most 1. Default 0.1.
	Budget float64
	// Classify classifies the errors of handlers that are not marked; Unclassified
	// leaves one to the defaults, by which it is transient. nil: the defaults. It is
	// called from several goroutines at once.
	Classify func(err error) Class
}

// The defaults of Retry: ten attempts within about half a minute.
const (
	DefaultAttempts = 10
	DefaultBase     = 50 * time.Millisecond
	DefaultCap      = 10 * time.Second
)

// Validate returns an error that names the field that is out of range.
func (r Retry) Validate() error {
	switch {
	case r.Attempts < 0:
		return fmt.Errorf("retry: Attempts is %d, want at least 0", r.Attempts)
	case r.Base < 0:
		return fmt.Errorf("retry: Base is %v, want at least 0", r.Base)
	case r.Cap < 0:
		return fmt.Errorf("retry: Cap is %v, want at least 0", r.Cap)
	}
	return nil
}

// Do calls fn until it returns nil, an error that is not retried, or the
// attempts are used up; it returns the last error. Each failure that is retried
// is logged. Retries in a row share one count: fn counts as one piece of work.
func (r Retry) Do(ctx context.Context, log *slog.Logger, what string, fn func() error) error {
	attempts := r.Attempts
	if attempts == 0 {
		attempts = DefaultAttempts
	}
	for n := 1; ; n++ {
		err := Safely(fn)
		if err == nil || IsPermanent(err) || ctx.Err() != nil {
			return err
		}
		if n >= attempts {
			return fmt.Errorf("%s: %d attempts: %w", what, n, err)
		}
		wait := r.Wait(n)
		log.WarnContext(ctx, "retrying", "what", what, "attempt", n, "wait", wait, "error", err)
		if pause(ctx, wait); ctx.Err() != nil {
			return err
		}
	}
}

// Wait returns a random wait before attempt n+1.
func (r Retry) Wait(n int) time.Duration {
	base, most := r.Base, r.Cap
	if base == 0 {
		base = DefaultBase
	}
	if most == 0 {
		most = DefaultCap
	}
	top := most
	if n < 32 && base<<(n-1) > 0 {
		top = min(most, base<<(n-1))
	}
	return rand.N(top + 1)
}
