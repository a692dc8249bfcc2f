package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/internal/sabotage"
)

// DefaultCallTimeout is the longest that one call of the store takes.
const DefaultCallTimeout = 30 * time.Second

// WithCallTimeout sets the longest that one call of the store may take when its
// context does not end sooner. Waiting for a connection counts. It bounds an
// append with all its attempts, each page of a stream, each page of the log,
// every other statement, and of Transact and Advance what they do around the
// function that they are given. Default 30 s, at least 100 ms. Raise it when
// transactions of your own that have appended stay open for longer; lower it
// when a caller has better things to do than to wait.
func WithCallTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d < 100*time.Millisecond {
			return fmt.Errorf("option WithCallTimeout: %v: want at least 100ms", d)
		}
		c.callTimeout = d
		return nil
	}
}

// lateError says that a call has taken as long as it may. It matches
// context.DeadlineExceeded.
type lateError struct{ after time.Duration }

func (e lateError) Error() string {
	return fmt.Sprintf("no answer within %v (WithCallTimeout)", e.after)
}

func (lateError) Is(target error) bool { return target == context.DeadlineExceeded }

// limit ends a call when it has taken as long as it may.
func (d *DB) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if sabotage.NoDeadline {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d.callTimeout, lateError{d.callTimeout})
}

// late names the option if it is what has ended the call. The context is that
// of limit or limitTo.
func late(ctx context.Context, err error) error {
	var end lateError
	if errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &end) && errors.As(context.Cause(ctx), &end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

// ended says why a context of limit or limitTo has ended.
func ended(ctx context.Context) error {
	var end lateError
	if errors.As(context.Cause(ctx), &end) {
		return end
	}
	return ctx.Err()
}

// end is when a call that begins now has to be over.
func (d *DB) end(ctx context.Context) time.Time {
	end := time.Now().Add(d.callTimeout)
	if by, ok := ctx.Deadline(); ok && by.Before(end) {
		return by
	}
	return end
}

// limitTo is limit for a call that has begun before.
func (d *DB) limitTo(ctx context.Context, end time.Time) (context.Context, context.CancelFunc) {
	if by, ok := ctx.Deadline(); sabotage.NoDeadline || ok && !by.After(end) {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, end, lateError{d.callTimeout})
}

// An attempt gets half of the time that its call has left, so that there is time
// to send it again when the answer does not come. Less than shortest is for a
// healthy server too little.
const (
	shortestAttempt = time.Second
	longestAttempt  = 10 * time.Second
)

// share is how long one attempt may take of the time that is left.
func share(left time.Duration) time.Duration {
	return min(max(left/2, shortestAttempt), longestAttempt, left)
}

// limitAttempt is the context of one attempt of a call.
func limitAttempt(ctx context.Context, end time.Time) (context.Context, context.CancelFunc) {
	if sabotage.NoDeadline {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, share(time.Until(end)))
}
