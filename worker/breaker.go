package worker

import "errors"

// ErrOpen says that a breaker is open: what it guards was not called. It is systemic.
var ErrOpen = Systemic(errors.New("breaker is open"))

// Breaker guards calls of something that many events need, such as a service. While
// that fails, a breaker is open, and a worker that meets it waits and parks nothing.
// worker/gobreaker makes one. It is safe for concurrent use.
//
//	done, err := breaker.Allow()
//	if err != nil {
//		return err // systemic: the worker waits
//	}
//	err = worker.Safely(call)
//	done(err)
//	return err
type Breaker interface {
	// Allow returns an error that matches ErrOpen if the breaker is open: then nothing
	// may be called, and done is nil. Else the caller calls done exactly once, with nil
	// or the error of the call, also if the call panics: see Safely.
	Allow() (done func(err error), err error)
}
