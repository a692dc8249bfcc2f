package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
)

// Option changes a Consumer. It stands in one list with the options of its client, which
// does nothing with it.
type Option struct {
	kgo.Opt
	set func(*settings)
}

type settings struct {
	prefetch    int
	concurrency int
	priority    []string
	foreign     bus.Foreign
	skip        func(*bus.LostError) bool
	logger      *slog.Logger
}

func option(set func(*settings)) Option { return Option{kgo.WithHooks(), set} }

// The defaults of a Consumer.
const (
	DefaultPrefetch    = 2000
	DefaultConcurrency = 8
)

// WithPrefetch sets the most records of a partition that wait while others of it are
// delivered, and the most of one delivery. With that many, or 4 MiB of them, waiting, the
// partition is not fetched from. Default 2000, from 1 to 100,000.
func WithPrefetch(records int) Option {
	return option(func(s *settings) { s.prefetch = records })
}

// WithConcurrency sets the most deliveries at one time, of all partitions: each takes a
// connection to the database. One that waits for something to pass does not count, if the
// receiver says so: see worker.WithIdle. Default 8, at least 1.
func WithConcurrency(n int) Option { return option(func(s *settings) { s.concurrency = n }) }

// WithPriority sets whose partitions are delivered first when more wait than
// WithConcurrency allows: those of the topic that is named first, then of the second, and
// then of the topics that are not named. Every eighth time it is whoever has waited
// longest, so that none waits for ever. Default: none is preferred.
func WithPriority(topics ...string) Option {
	return option(func(s *settings) { s.priority = topics })
}

// WithForeign sets what Consume does with records that are no events of Annals. Default
// bus.Refuse: they are an error. Receive hands over all records as they are.
func WithForeign(f bus.Foreign) Option { return option(func(s *settings) { s.foreign = f }) }

// WithSkip sets a function that decides whether to go on behind records that were deleted
// before they were read, such as those of a topic that keeps them for a time, by a
// consumer that is new. It is called for each part that has lost some when the part
// begins, and must say so to somebody. What was truncated is not skipped. Default nil:
// nothing is.
func WithSkip(skip func(*bus.LostError) bool) Option {
	return option(func(s *settings) { s.skip = skip })
}

// WithLogger sets where a Consumer says what it waits for: topics that do not exist, and
// partitions without a leader. Default slog.Default().
func WithLogger(l *slog.Logger) Option { return option(func(s *settings) { s.logger = l }) }

// maxPrefetch is the most that WithPrefetch takes.
const maxPrefetch = 100_000

// newSettings returns the settings, and the options that are the client's.
func newSettings(topics []string, opts []kgo.Opt) (settings, []kgo.Opt, error) {
	s := settings{prefetch: DefaultPrefetch, concurrency: DefaultConcurrency, logger: slog.Default()}
	var others []kgo.Opt
	for _, opt := range opts {
		if own, ok := opt.(Option); ok {
			own.set(&s)
		} else {
			others = append(others, opt)
		}
	}
	switch {
	case s.prefetch < 1 || s.prefetch > maxPrefetch:
		return s, nil, fmt.Errorf("option WithPrefetch: %d: want 1 to %d", s.prefetch, maxPrefetch)
	case s.concurrency < 1:
		return s, nil, fmt.Errorf("option WithConcurrency: %d: want at least 1", s.concurrency)
	case s.logger == nil:
		return s, nil, errors.New("option WithLogger: nil: want a logger")
	case s.foreign != bus.Refuse && s.foreign != bus.Ignore:
		return s, nil, fmt.Errorf("option WithForeign: %d: want bus.Refuse or bus.Ignore", s.foreign)
	}
	for _, topic := range s.priority {
		if !slices.Contains(topics, topic) {
			return s, nil, fmt.Errorf("option WithPriority: topic %q is not among those that are consumed: %q", topic, topics)
		}
	}
	return s, others, nil
}

// rank returns where a topic is in the order of priority; lower goes first.
func (s *settings) rank(topic string) int {
	if i := slices.Index(s.priority, topic); i >= 0 {
		return i
	}
	return len(s.priority)
}
