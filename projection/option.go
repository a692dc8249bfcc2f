package projection

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

type options struct {
	source worker.Source
	worker worker.Reader // as far as options set it
}

// Option changes how a projection runs.
type Option func(*options) error

// From makes Run read a partitioned source, such as a Kafka consumer, instead
// of the log. Default: the log. A read model that is fed by
// one is rebuilt to be fed by the other: Run returns ErrOtherSource.
func From(s worker.Source) Option {
	return func(o *options) error {
		if s == nil {
			return errors.New("option From: the source is nil")
		}
		o.source = s
		return nil
	}
}

// WithBatch sets the most events of one transaction when reading the log.
// Default 500, from 1 to 10,000. More is faster, and repeats more after a
// failure.
func WithBatch(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("option WithBatch: %d: want 1 to 10000", n)
		}
		o.worker.Batch = n
		return nil
	}
}

// WithBatchTimeout sets how long one batch may take, also after ctx has ended.
// Default one minute, at least 1 ms.
func WithBatchTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Millisecond {
			return fmt.Errorf("option WithBatchTimeout: %v: want at least 1ms", d)
		}
		o.worker.Timeout = d
		return nil
	}
}

// WithRetry sets how a batch that failed is tried again. Default: see
// worker.Retry.
func WithRetry(r worker.Retry) Option {
	return func(o *options) error {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("option WithRetry: %w", err)
		}
		o.worker.Retry = r
		return nil
	}
}

// WithHooks sets functions that are called as the projection works. Default none.
func WithHooks(h worker.Hooks) Option {
	return func(o *options) error {
		o.worker.Hooks = h
		return nil
	}
}

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("option WithLogger: the logger is nil")
		}
		o.worker.Logger = l
		return nil
	}
}

// WithSegments spreads the streams over n segments, each with a mark of its own, so
// that up to n workers can share the work, in one process or several. The order of one
// stream is kept, that of two streams in different segments is not: a handler that
// writes the same rows for several streams must not depend on it. Default 1, at most
// worker.MaxSegments. The number is for the life of the read model: with another one
// Run returns ErrOtherSource. Not for a source, which has partitions.
func WithSegments(n int) Option {
	return func(o *options) error {
		if n < 1 || n > worker.MaxSegments {
			return fmt.Errorf("option WithSegments: %d: want 1 to %d", n, worker.MaxSegments)
		}
		o.worker.Segments = n
		return nil
	}
}

// WithKey sets what events have in common whose order matters to the handlers: events
// of one key are in one segment, and park together. It must be pure. Default: the
// stream.
func WithKey(key func(event.Recorded) string) Option {
	return func(o *options) error {
		if key == nil {
			return errors.New("option WithKey: the function is nil")
		}
		o.worker.Key = key
		return nil
	}
}

// WithLease sets how long a term goes on without a sign of life: a worker that has
// died is replaced after that time, and before twice that time. Default 10 s, at least
// 10 ms.
func WithLease(d time.Duration) Option {
	return func(o *options) error {
		if d < 10*time.Millisecond {
			return fmt.Errorf("option WithLease: %v: want at least 10ms", d)
		}
		o.worker.Lease = d
		return nil
	}
}

// WithBreaker sets a breaker of what the handlers call: while it is open, the
// projection waits. Default none.
func WithBreaker(b worker.Breaker) Option {
	return func(o *options) error {
		if b == nil {
			return errors.New("option WithBreaker: the breaker is nil")
		}
		o.worker.Breaker = b
		return nil
	}
}

// WithHealth has the projection tell how it does. Default none.
func WithHealth(h *worker.Health) Option {
	return func(o *options) error {
		if h == nil {
			return errors.New("option WithHealth: the health is nil")
		}
		o.worker.Health = h
		return nil
	}
}

// WithVersion sets the version of the program that is noted with what it parks.
// Default: what the build says.
func WithVersion(version string) Option {
	return func(o *options) error {
		if version == "" {
			return errors.New("option WithVersion: empty")
		}
		o.worker.Version = version
		return nil
	}
}

// WithStop makes Run return the error of an event that fails for good, instead of
// parking it: nothing behind it is applied. For read models that are better late than
// incomplete. Default: it is parked.
func WithStop() Option {
	return func(o *options) error {
		o.worker.Stop = true
		return nil
	}
}
