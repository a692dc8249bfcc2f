package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// rivalAttempts bounds how often an append that lost a race looks again. Each
// lost race means that somebody else's append was stored.
const rivalAttempts = 200

// Waits before an append without an answer is sent again: random up to the
// bound, which doubles each time.
const (
	firstResend   = 5 * time.Millisecond
	longestResend = time.Second
)

// delivery is what one call of Append or AppendAll knows of its attempts. When
// the answer to one is missing, a backend may still have the statement before
// it: waiting for a lock, in the middle of its commit, or unread in its socket.
// Nothing that a look at the tables shows now says what that backend will do. So
// the same ids are sent again, until an answer comes that also binds it:
//
//   - stored, now or before: the unique keys let no backend store them again.
//     A resend waits at these keys for one that has inserted and not yet ended.
//   - an id is used for something else, or the stream is closed: for ever.
//   - a conflict that no later state of the stream can mend (isFinal): a version
//     that the old statement needs is taken.
//
// The look-up reads the stream first and the ids after that. If the old backend
// commits before the first, or between the two, its events are found by their ids,
// and not taken for those of a rival.
//
// Everything else says nothing about the old backend, also when it is an error
// of the server, which rejects the new attempt alone.
type delivery struct {
	end     time.Time // of the call
	timeout time.Duration
	lost    error // why the last attempt that may be stored has no answer; nil: all had one
	races   int
	resends int
}

// voidError is the error of an attempt that has stored nothing and never will:
// nothing that writes was sent, or it was answered.
type voidError struct {
	error
	late bool // it took its whole share of the time, and not the server's word
}

func (e voidError) Unwrap() error { return e.error }

// next takes the error of an attempt. It returns nil, after a wait, if the same
// ids are to be sent again, or else the error of the call.
func (x *delivery) next(ctx context.Context, what string, err error) error {
	var void voidError
	switch {
	case isRefused(err):
		return x.refuse(what, err)
	case isRival(err), errors.Is(err, errAbsent):
		return x.race(ctx, what, err)
	case errors.As(err, &void):
		if x.lost == nil && (ctx.Err() != nil || !void.late) {
			return fmt.Errorf("append %s: %w", what, missing(void.error))
		}
		err = void.error
	case isRejected(err):
		if x.lost == nil {
			return fmt.Errorf("append %s: %w", what, missing(err))
		}
	default:
		x.lost = err
	}
	bound := min(firstResend<<min(x.resends, 20), longestResend)
	x.resends++
	if over := x.rest(ctx, bound); over != nil {
		return x.giveUp(what, over, err)
	}
	return nil
}

// refuse returns a refusal if it binds every attempt that was made.
func (x *delivery) refuse(what string, err error) error {
	switch {
	case x.lost == nil, isFinal(err):
		return err
	default:
		// As text: it must not match ErrConflict, on which callers decide anew.
		return fmt.Errorf("append %s: %w: sent again, it was refused for now: %s, after: %w", what, eventstore.ErrOutcomeUnknown, err.Error(), x.lost)
	}
}

// isFinal reports a refusal that the stream will never take back: its version
// only grows.
func isFinal(err error) bool {
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return true
	}
	expected, exact := exactly(conflict.Expected)
	return exact && conflict.Actual > expected
}

// race waits before the next attempt of an append that lost a race.
func (x *delivery) race(ctx context.Context, what string, lost error) error {
	x.races++
	if x.races == rivalAttempts {
		err := fmt.Errorf("append %s: lost %d races: %w: %w", what, x.races, eventstore.ErrConflict, lost)
		if x.lost != nil {
			return fmt.Errorf("append %s: %w: lost %d races, after: %w", what, eventstore.ErrOutcomeUnknown, x.races, x.lost)
		}
		return err
	}
	bound := time.Duration(min(x.races, 20)) * time.Millisecond
	if x.races == 1 {
		bound = 0
	}
	if over := x.rest(ctx, bound); over != nil {
		return x.giveUp(what, over, lost)
	}
	return nil
}

// giveUp is the error of a call whose time is over.
func (x *delivery) giveUp(what string, over, last error) error {
	switch {
	case x.lost == nil:
		return fmt.Errorf("append %s: %w, after: %w", what, over, missing(last))
	case errors.Is(x.lost, over):
		return fmt.Errorf("append %s: %w: %w", what, eventstore.ErrOutcomeUnknown, x.lost)
	default:
		return fmt.Errorf("append %s: %w: %w, after: %w", what, eventstore.ErrOutcomeUnknown, over, x.lost)
	}
}

// rest waits, at random, up to the time given. The error says that the time of
// the call is over.
func (x *delivery) rest(ctx context.Context, most time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	left := time.Until(x.end)
	if left <= 0 && !sabotage.NoDeadline {
		return x.over(ctx)
	}
	if most == 0 {
		return nil
	}
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	end := time.NewTimer(left)
	defer end.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-end.C:
		return x.over(ctx)
	case <-timer.C:
		return nil
	}
}

// over says whose limit it was: the caller's deadline, or the store's.
func (x *delivery) over(ctx context.Context) error {
	if by, ok := ctx.Deadline(); ok && !by.After(x.end) {
		return context.DeadlineExceeded
	}
	return lateError{x.timeout}
}

// again is what is sent when an answer is missing: the same.
func (x *delivery) again(events []eventstore.Prepared) []eventstore.Prepared {
	if !sabotage.NewIDs || x.lost == nil {
		return events
	}
	out := make([]eventstore.Prepared, len(events))
	for i, e := range events {
		e.Metadata.ID = event.NewID()
		out[i] = e
	}
	return out
}
