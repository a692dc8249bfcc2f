// Package gobreaker makes a worker.Breaker of github.com/sony/gobreaker/v2.
//
// # Usage
//
// One breaker guards one thing that handlers need, in all readers of the process:
//
//	var billing = gobreaker.New(sony.Settings{Name: "billing", Timeout: 10 * time.Second})
//
// While it is open, a reader that meets it waits and parks nothing.
//
// # Failure
//
// What counts against the dependency is decided by Settings.IsSuccessful and
// Settings.IsExcluded, see New. A breaker knows only the marks of package worker
// (worker.Permanent, worker.Systemic, worker.Transient), not Retry.Classify: who wants
// an error to be no failure of the dependency marks it before done is called, or sets
// IsSuccessful.
package gobreaker

import (
	"context"
	"errors"
	"fmt"

	sony "github.com/sony/gobreaker/v2"

	"github.com/annals-go/annals/worker"
)

// New returns a breaker with the given settings. Its zero values are the defaults of
// the library: open after 6 failures in a row, for 60 seconds, then one call to probe.
// Two differ: IsSuccessful is Successful, and IsExcluded is Excluded.
//
// Timeout should not be much longer than Retry.Cap of the readers, who ask again
// about as often. OnStateChange is called with a lock held: it must not use the breaker.
//
// A done that is not called makes a breaker that is half open stay so, and refuse
// all; see worker.Breaker.
func New(settings sony.Settings) worker.Breaker {
	if settings.IsSuccessful == nil {
		settings.IsSuccessful = Successful
	}
	if settings.IsExcluded == nil {
		settings.IsExcluded = Excluded
	}
	return breaker{sony.NewTwoStepCircuitBreaker[struct{}](settings)}
}

// Successful reports whether the dependency did what it is there for: err is nil, or
// permanent. That an event is wrong is an answer.
func Successful(err error) bool { return err == nil || worker.IsPermanent(err) }

// Excluded reports whether err says nothing of the dependency, so that it counts
// neither way: the caller gave up (context.Canceled; a deadline does count), or
// panicked.
func Excluded(err error) bool {
	_, panicked := errors.AsType[*worker.PanicError](err)
	return panicked || errors.Is(err, context.Canceled)
}

type breaker struct {
	b *sony.TwoStepCircuitBreaker[struct{}]
}

// Allow implements worker.Breaker.
func (b breaker) Allow() (done func(err error), err error) {
	done, err = b.b.Allow()
	if err != nil { // sony.ErrOpenState or sony.ErrTooManyRequests, there are no others
		return nil, fmt.Errorf("call %s: %w: %w", b.b.Name(), worker.ErrOpen, err)
	}
	return done, nil
}
