package bus

import "context"

// Publisher sends messages to a broker. Implementations are safe for
// concurrent use.
type Publisher interface {
	// Topics returns what the broker has under the names, as it is now. A topic that does
	// not exist is left out.
	Topics(ctx context.Context, names ...string) (map[string]Topic, error)
	// Create makes topics, and returns when they can be published to. One that exists is
	// left as it is.
	Create(ctx context.Context, contracts ...Contract) error
	// Publish sends the messages in the given order and returns nil when the
	// broker has acknowledged all of them. After an error any of them may have
	// been delivered; for each key, those that were are the first of the given,
	// in order. It should be a *PublishError.
	Publish(ctx context.Context, messages []Message) error
	// Newest shows the messages of a topic, one partition after the other, each from
	// its newest message backwards, until visit returns false for one of the partition
	// or it has no more. Values may be left out. A topic that does not exist has no
	// messages. A relay does not call it while it publishes; what others publish
	// meanwhile may be missing.
	Newest(ctx context.Context, topic string, visit func(partition int32, m Message) (more bool)) error
}

// PublishError is what Publish returns if it knows which of its messages were
// acknowledged.
type PublishError struct {
	// Acked tells it of each message. One that is not may have been delivered all the same.
	Acked []bool
	// Index is that of the message whose fault it is, -1 if that is not known, or if it is
	// none's.
	Index int
	Err   error
}

func (e *PublishError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PublishError) Unwrap() error { return e.Err }

// Pinner is a Publisher that can be told over how many partitions the keys of a topic are
// spread. It goes on so when the topic has grown, so that no key moves.
type Pinner interface {
	Pin(topic string, partitions int)
}
