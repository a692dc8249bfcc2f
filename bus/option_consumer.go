package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

type consumerOptions struct {
	worker     worker.Reader // as far as options set it
	identity   func(m Received) (event.ID, bool)
	foreign    *Foreign
	memory     time.Duration
	dead       bool
	deadLetter Publisher
	deadTopic  Contract
}

// ConsumerOption changes how a Consumer runs. Run returns an error if it is out of its
// bounds, and names it.
type ConsumerOption interface{ consumer(o *consumerOptions) }

type consumerOption func(*consumerOptions)

func (opt consumerOption) consumer(o *consumerOptions) { opt(o) }

// The bounds of WithMemory.
const (
	// DefaultMemory is how long a consumer remembers unless WithMemory says otherwise.
	DefaultMemory = 45 * 24 * time.Hour
	// MinMemory is less than it can be told to.
	MinMemory = 40 * 24 * time.Hour
)

// newConsumerOptions returns the options, or what is wrong with one of them.
func newConsumerOptions(opts []ConsumerOption) (consumerOptions, error) {
	o := consumerOptions{worker: worker.Reader{Batch: 1000}.OrDefaults(), memory: DefaultMemory}
	for _, opt := range opts {
		opt.consumer(&o)
	}
	err := o.worker.Validate()
	switch {
	case err != nil:
		return o, err
	case o.memory != 0 && o.memory <= MinMemory:
		return o, fmt.Errorf("option WithMemory: %v: want more than %v, 40 days, or 0 for ever", o.memory, MinMemory)
	case o.dead && o.deadLetter == nil:
		return o, errors.New("option WithDeadLetter: the publisher is nil")
	case o.dead && o.deadTopic.Topic == "":
		return o, errors.New("option WithDeadLetter: the topic has no name")
	}
	return o, nil
}

// WithMemory sets how long a consumer remembers which messages have taken effect: one that
// comes again within that time is told for sure, and later it is parked with ErrForgotten.
// Default DefaultMemory, 45 days; more than 40 days; 0: for ever. Longer than the topics
// keep messages is enough, unless they are filled again. Each message that is remembered is
// a row. What is too old is deleted about once an hour, by the clock of this process.
func WithMemory(d time.Duration) ConsumerOption {
	return consumerOption(func(o *consumerOptions) { o.memory = d })
}

// WithIdentity says what a message is known by: two with one id are one message, and the
// second has no effect. It must be pure. False leaves it to the default: the id of an
// event, whatever topic it comes in, if all its headers are there and well-formed; else the source and id of a CloudEvent (ce_source,
// ce_id); else the place in the topic, by which only the same record is a repeat, and not
// what its producer has sent twice.
func WithIdentity(of func(m Received) (event.ID, bool)) ConsumerOption {
	return consumerOption(func(o *consumerOptions) { o.identity = of })
}

// WithForeign says what becomes of a message that no route takes and that is no event
// of Annals, such as garbage of another producer, or an event so damaged that its name
// cannot be read. Refuse: it is parked, with its bytes. Ignore: it passes by, as events do
// that no route takes. Default: Refuse if the consumer has a route of On, as it expects
// events, else Ignore. What a route takes it takes whatever it is: a damaged event of a
// family of On is parked in any case.
func WithForeign(f Foreign) ConsumerOption {
	return consumerOption(func(o *consumerOptions) { o.foreign = &f })
}

// WithDeadLetter has a copy of each message at which a key is parked for somebody to
// decide sent to a topic, for tools that look there: the same key, value and headers, with
// those of a dead letter before them (HeaderDeadTopic and so on). It is sent before the
// message is parked, at least once; while that fails nothing is parked, and the consumer
// pauses. A copy that the broker refuses for good, such as one that is too large with the
// headers, is logged as an error, and the message parked without it. Messages that wait behind it are not sent. The topic is made if it does not
// exist. The copy is for looking at: what is parked is decided on with a worker.Amender.
// Default: nothing is sent.
func WithDeadLetter(to Publisher, topic Contract) ConsumerOption {
	return consumerOption(func(o *consumerOptions) { o.dead, o.deadLetter, o.deadTopic = true, to, topic })
}
