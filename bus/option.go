package bus

import (
	"errors"

	"github.com/annals-go/annals/worker"
)

type relayOptions struct {
	name   string
	domain string
	mapper Mapper
	worker worker.Reader // as far as options set it

	contracts   map[string]Contract // by topic
	otherTopics Contract            // that of topics without one
	refill      bool                // topics that were made again
}

// firstBatch is the most events that a relay begins with.
const firstBatch = 500

// RelayOption changes a Relay. NewRelay panics if it is out of its bounds, and names it.
type RelayOption interface{ relay(o *relayOptions) }

// Option is a RelayOption that others do not have.
type Option func(*relayOptions)

func (opt Option) relay(o *relayOptions) { opt(o) }

// newOptions returns the options, or what is wrong with one of them.
func newOptions(opts []RelayOption) (relayOptions, error) {
	o := relayOptions{name: "main", worker: worker.Reader{Batch: 5000}.OrDefaults()}
	WithDomain(DefaultDomain)(&o)
	for _, opt := range opts {
		opt.relay(&o)
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
	if err := checkContracts(o); err != nil {
		return o, err
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

// WithTopics says what topics are to be. Default: WithOtherTopics. A topic that does not
// exist is made so. One that does is not changed; the relay stops, with a *TopicError, if
// it has another number of partitions or is compacted, and warns of what else differs.
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

// WithRefill has the relay fill a topic that is gone, or was made again, from the beginning
// of the log by itself. It is for brokers that forget everything when they stop, as those of
// tests and demos do. Default: the relay stops with a *TopicError.
func WithRefill() Option { return func(o *relayOptions) { o.refill = true } }
