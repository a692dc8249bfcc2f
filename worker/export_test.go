package worker

import "time"

// WithRandom has waits drawn by a function, so that a run can be repeated.
func (r Retry) WithRandom(random func(longest time.Duration) time.Duration) Retry {
	r.random = random
	return r
}

// WithRandom does the same for the waits of an Amender.
func (a Amender) WithRandom(random func(longest time.Duration) time.Duration) Amender {
	a.random = random
	return a
}
