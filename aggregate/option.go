package aggregate

import (
	"fmt"
	"math/rand/v2"
	"time"
)

type config struct {
	attempts  int
	base, cap time.Duration
}

var defaults = config{attempts: 10, base: 5 * time.Millisecond, cap: 250 * time.Millisecond}

// Option changes a Repository.
type Option func(*config) error

// WithAttempts sets how often a command is tried in all when the stream changes
// under it. Default 10; 1 never tries again. Raise it for streams that many
// write at once, but rather batch their commands.
func WithAttempts(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return fmt.Errorf("option WithAttempts: %d: want at least 1", n)
		}
		c.attempts = n
		return nil
	}
}

// WithBackoff sets the wait before attempt n+1: random between 0 and
// min(most, base * 2^(n-1)). Default 5 ms and 250 ms.
func WithBackoff(base, most time.Duration) Option {
	return func(c *config) error {
		if base < 0 || most < base {
			return fmt.Errorf("option WithBackoff: %v, %v: want 0 <= base <= most", base, most)
		}
		c.base, c.cap = base, most
		return nil
	}
}

func (c config) wait(attempt int) time.Duration {
	top := c.cap
	if attempt < 32 && c.base<<(attempt-1) > 0 {
		top = min(c.cap, c.base<<(attempt-1))
	}
	return rand.N(top + 1)
}
