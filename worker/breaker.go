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
//	err = call()
//	done(err)
//	return err
type Breaker interface {
	// Allow returns an error that matches ErrOpen if the breaker is open: then nothing
	// must be called, and done is nil. Else the caller calls done exactly once, with
	// the outcome: nil, or the error. It must not keep it from being called by a
	// panic; done may then be told a *PanicError.
	Allow() (done func(err error), err error)
}
