package bus

import (
	"errors"
	"log/slog"
	"time"

	"github.com/annals-go/annals/worker"
)

type relayOptions struct {
	name   string
	domain string
	mapper Mapper
	worker worker.Reader // as far as options set it

	contracts   map[string]Contract // by topic
	otherTopics Contract            // that of topics without one
}

// Option changes a Relay. NewRelay panics if it is out of its bounds, and names it.
type Option func(*relayOptions)

// newOptions returns the options, or what is wrong with one of them.
func newOptions(opts []Option) (relayOptions, error) {
	o := relayOptions{name: "main", worker: worker.Reader{Batch: 5000}.OrDefaults()}
	WithDomain(DefaultDomain)(&o)
	for _, opt := range opts {
		opt(&o)
	}
	err := o.worker.Validate()
	switch {
	case err != nil:
		return o, err
	case o.name == "":
		return o, errors.New("option WithName: empty")
	case o.mapper == nil:
		return o, errors.New("option WithMapper: the mapper is nil")
	}
	return o, checkDomain(o.domain)
}

// WithName sets the name of the relay's checkpoint. Default "main". Relays of one
// store that publish to different brokers need one each. No two relays of
// different names or stores may publish to the same topic: consumers would take
// the events of one for repeats of the other's.
func WithName(name string) Option { return func(o *relayOptions) { o.name = name } }

// WithDomain publishes to the topics {domain}.{category}. Default "annals".
func WithDomain(domain string) Option {
	return func(o *relayOptions) { o.domain, o.mapper = domain, TopicPerCategory(domain) }
}

// WithMapper replaces TopicPerCategory. A mapper that is changed later takes
// effect with the next event of a category: if that goes to a topic that the
// category did not go to before, the topic is filled from the log. It must be a
// topic without events of other categories (ErrMixedTopic). Events that a
// mapper held back are not published later when it lets them through to a topic
// that the category has already; use a new topic for that.
func WithMapper(m Mapper) Option { return func(o *relayOptions) { o.mapper = m } }

// WithTopics says what topics are to be. Default: WithOtherTopics.
func WithTopics(contracts ...Contract) Option {
	return func(o *relayOptions) {
		if o.contracts == nil {
			o.contracts = map[string]Contract{}
		}
		for _, c := range contracts {
			o.contracts[c.Topic] = c
		}
	}
}

// WithOtherTopics says what the topics are to be that WithTopics does not name. Default:
// the zero Contract.
func WithOtherTopics(c Contract) Option { return func(o *relayOptions) { o.otherTopics = c } }

// WithBatch sets the most events that are in flight, and published again after
// a crash. Default 5000, from 1 to 10,000.
func WithBatch(n int) Option { return func(o *relayOptions) { o.worker.Batch = n } }

// WithTimeout sets how long it may take to publish one batch, also after ctx has ended.
// Default one minute, at least 1 ms.
func WithTimeout(d time.Duration) Option { return func(o *relayOptions) { o.worker.Timeout = d } }

// WithRetry sets how fast the relay tries again while a broker fails, and how often an
// event that failed is tried before it waits for a decision. Default: see worker.Retry.
func WithRetry(r worker.Retry) Option { return func(o *relayOptions) { o.worker.Retry = r } }

// WithHooks sets functions that are called as the relay works. Default none.
func WithHooks(h worker.Hooks) Option { return func(o *relayOptions) { o.worker.Hooks = h } }

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *relayOptions) { o.worker.Logger = l } }

// WithLease sets how long a relay that gives no sign of life is waited for: one that
// has died is replaced after that time, and before twice that time. Default 10 s, at
// least 10 ms.
func WithLease(d time.Duration) Option { return func(o *relayOptions) { o.worker.Lease = d } }

// WithBreaker sets a breaker of the broker: while it is open, the relay waits. Default
// nil: none.
func WithBreaker(b worker.Breaker) Option { return func(o *relayOptions) { o.worker.Breaker = b } }

// WithHealth has the relay tell how it does. Default nil: nobody.
func WithHealth(h *worker.Health) Option { return func(o *relayOptions) { o.worker.Health = h } }

// WithVersion sets the version of the program that is noted with what it parks.
// Default: what the build says.
func WithVersion(version string) Option {
	return func(o *relayOptions) { o.worker.Version = version }
}

// WithStop makes Run return the error of an event that cannot be published, instead of
// parking it: nothing behind it is published. Default: it is parked.
func WithStop() Option { return func(o *relayOptions) { o.worker.Stop = true } }
