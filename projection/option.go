package projection

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-go/annals/worker"
)

type options struct {
	source  worker.Source
	batch   int
	timeout time.Duration
	retry   worker.Retry
	hooks   worker.Hooks
	log     *slog.Logger
}

func defaults() options {
	return options{batch: 500, timeout: worker.DefaultBatchTimeout, log: slog.Default()}
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
		o.batch = n
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
		o.timeout = d
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
		o.retry = r
		return nil
	}
}

// WithHooks sets functions that are called as the projection works. Default none.
func WithHooks(h worker.Hooks) Option {
	return func(o *options) error {
		o.hooks = h
		return nil
	}
}

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("option WithLogger: the logger is nil")
		}
		o.log = l
		return nil
	}
}
