package worker

import (
	"time"

	"github.com/annals-go/annals/internal/sabotage"
)

// budget bounds the load that retries add to something that fails. What succeeds
// earns a share of a token, and each retry spends one (after Marc Brooker, "Fixing
// retries with token buckets and circuit breakers", 2022); so while all is well but a
// few events, retries are free, and in an outage they end. Then there is one in each
// interval all the same, to notice its end.
//
// In a time T in which nothing succeeds there are at most burst + T/every + 1. It is
// not safe for concurrent use.
type budget struct {
	share  float64       // what one success earns
	every  time.Duration // without a token, the time between two retries
	tokens float64       // at most burst
	last   time.Time     // when a retry went last
}

// burst is the most tokens that are kept. A new budget has as many, so that a worker
// that has just begun may retry too.
const burst = 10

func newBudget(r Retry) *budget {
	r = r.orDefaults()
	return &budget{share: r.Budget, every: r.Cap, tokens: burst}
}

// earn says that n calls succeeded.
func (b *budget) earn(n int) { b.tokens = min(burst, b.tokens+float64(n)*b.share) }

// spend returns 0 if a retry may go now, and counts it as gone. Else it returns how
// long there is to wait before it is worth asking again, at most every.
func (b *budget) spend(now time.Time) time.Duration {
	if sabotage.NoCap {
		return 0
	}
	switch idle := now.Sub(b.last); {
	case b.tokens >= 1:
		b.tokens--
	case idle < b.every:
		return min(b.every-idle, b.every)
	}
	b.last = now
	return 0
}
