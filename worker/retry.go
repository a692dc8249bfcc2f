package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
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

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks err as one that a retry cannot mend. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err, or one it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
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

// Safely calls fn and turns a panic of it into a permanent error with the stack.
func Safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Permanent(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return fn()
}
