package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/annals-go/annals/internal/sabotage"
)

// Retry says how often, and how fast, work that failed is tried again, and what
// becomes of it then. It is the one policy of relays, projections and consumers. The
// zero value means the defaults.
//
// The wait before attempt n+1 is random between 0 and min(Cap, Base * 2^(n-1)) (full
// jitter, after Marc Brooker, "Exponential Backoff And Jitter", AWS 2015).
//
// Not retried: an error of ClassPermanent, such as a panic, and whatever comes after
// the context has ended.
type Retry struct {
	// Attempts is how often one event, or one call, is tried before it is given up;
	// the first try counts too. Default 10; 1 never retries.
	Attempts int
	// Base is the longest first wait. Default 50 ms.
	Base time.Duration
	// Cap is the longest wait, and how long a dependency that does not answer at all is
	// left alone between two tries. Default 10 s.
	Cap time.Duration
	// Kills is how often the process may end while one event is applied before the
	// event is parked. Default 3. A deployment or a machine that dies counts too, so 1
	// parks events that have done nothing.
	Kills int
	// Budget is the load that retries may add, as a share of what succeeds: more than
	// 0, at most 1. Besides, there is one retry in each Cap, so that the end of an
	// outage is noticed. Default 0.1.
	Budget float64
	// Systemic is the share of keys that fail, of those that were tried last and at
	// least ten, at which it is not their fault: the worker pauses and parks nothing.
	// More than 0; 1 is all of them. Permanent failures are parked all the same, after
	// Attempts pauses, because waiting does not mend them. Default 0.5.
	Systemic float64
	// Classify classifies errors that are not marked. Unclassified leaves one to the
	// store and to the defaults, by which it is transient. nil: the defaults. It is
	// called from several goroutines at once; a panic of it is not caught.
	Classify func(err error) Class

	random func(longest time.Duration) time.Duration // nil: between 0 and longest
}

// The defaults of Retry: ten attempts within about half a minute.
const (
	DefaultAttempts = 10
	DefaultBase     = 50 * time.Millisecond
	DefaultCap      = 10 * time.Second
	DefaultKills    = 3
	DefaultBudget   = 0.1
	DefaultSystemic = 0.5
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
	case r.Kills < 0:
		return fmt.Errorf("retry: Kills is %d, want at least 0", r.Kills)
	case !(r.Budget >= 0 && r.Budget <= 1): // NaN too
		return fmt.Errorf("retry: Budget is %v, want 0 to 1", r.Budget)
	}
	if !(r.Systemic >= 0 && r.Systemic <= 1) {
		return fmt.Errorf("retry: Systemic is %v, want 0 to 1", r.Systemic)
	}
	return nil
}

// orDefaults returns r with the defaults in place of zeros.
func (r Retry) orDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = DefaultAttempts
	}
	if r.Base == 0 {
		r.Base = DefaultBase
	}
	if r.Cap == 0 {
		r.Cap = DefaultCap
	}
	if r.Kills == 0 {
		r.Kills = DefaultKills
	}
	if r.Budget == 0 {
		r.Budget = DefaultBudget
	}
	if r.Systemic == 0 {
		r.Systemic = DefaultSystemic
	}
	return r
}

// Do calls fn until it returns nil, an error that is not retried, or the
// attempts are used up; it returns the last error. Each failure that is retried
// is logged. A panic of fn is an error, see Safely. Do is for work that is done
// once: a systemic error uses up attempts like others, and the budget is not asked.
func (r Retry) Do(ctx context.Context, log *slog.Logger, what string, fn func() error) error {
	attempts := r.orDefaults().Attempts
	for n := 1; ; n++ {
		err := Safely(fn)
		if err == nil || r.class(err, nil) == ClassPermanent || ctx.Err() != nil {
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

// Wait returns a random wait before attempt n+1. n counts from 1; any n will do.
func (r Retry) Wait(n int) time.Duration {
	if sabotage.NoCap {
		return 20 * time.Millisecond // as good as at once
	}
	longest := min(r.longest(n), math.MaxInt64-1)
	if r.random != nil {
		return r.random(longest)
	}
	return rand.N(longest + 1)
}

// longest returns the longest wait before attempt n+1.
func (r Retry) longest(n int) time.Duration {
	r = r.orDefaults()
	doublings := max(n, 1) - 1
	if r.Base > r.Cap>>doublings { // so that Base << doublings does not overflow
		return r.Cap
	}
	return r.Base << doublings
}
