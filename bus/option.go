package bus

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/annals-go/annals/worker"
)

type relayOptions struct {
	name   string
	mapper Mapper
	worker worker.Reader // as far as options set it
}

// Option changes a Relay.
type Option func(*relayOptions) error

// WithName sets the name of the relay's checkpoint. Default "main". Relays of one
// store that publish to different brokers need one each. No two relays of
// different names or stores may publish to the same topic: consumers would take
// the events of one for repeats of the other's.
func WithName(name string) Option {
	return func(o *relayOptions) error {
		if name == "" {
			return errors.New("option WithName: empty")
		}
		o.name = name
		return nil
	}
}

// WithDomain publishes to the topics {domain}.{category}. Default "annals".
func WithDomain(domain string) Option {
	return func(o *relayOptions) error {
		o.mapper = TopicPerCategory(domain)
		return checkDomain(domain)
	}
}

// WithMapper replaces TopicPerCategory. A mapper that is changed later takes
// effect with the next event of a category: if that goes to a topic that the
// category did not go to before, the topic is filled from the log. It must be a
// topic without events of other categories (ErrMixedTopic). Events that a
// mapper held back are not published later when it lets them through to a topic
// that the category has already; use a new topic for that.
func WithMapper(m Mapper) Option {
	return func(o *relayOptions) error {
		if m == nil {
			return errors.New("option WithMapper: the mapper is nil")
		}
		o.mapper = m
		return nil
	}
}

// WithBatch sets the most events that are in flight, and published again after
// a crash. Default 1000, from 1 to 10,000.
func WithBatch(n int) Option {
	return func(o *relayOptions) error {
		if n < 1 || n > 10_000 {
			return fmt.Errorf("option WithBatch: %d: want 1 to 10000", n)
		}
		o.worker.Batch = n
		return nil
	}
}

// WithRetry sets how a batch that failed is tried again. Default: see
// worker.Retry.
func WithRetry(r worker.Retry) Option {
	return func(o *relayOptions) error {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("option WithRetry: %w", err)
		}
		o.worker.Retry = r
		return nil
	}
}

// WithHooks sets functions that are called as the relay works. Default none.
func WithHooks(h worker.Hooks) Option {
	return func(o *relayOptions) error {
		o.worker.Hooks = h
		return nil
	}
}

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *relayOptions) error {
		if l == nil {
			return errors.New("option WithLogger: the logger is nil")
		}
		o.worker.Logger = l
		return nil
	}
}
