package bus

import (
	"context"
	"fmt"
	"regexp"

	"github.com/annals-go/annals/event"
)

// Publisher sends messages to a broker. Implementations are safe for
// concurrent use.
type Publisher interface {
	// Topics makes sure that the topics exist, and returns the id of each one's
	// present incarnation: a topic that is deleted and made again has another.
	Topics(ctx context.Context, names ...string) (map[string]string, error)
	// Publish sends the messages in the given order and returns nil when the
	// broker has acknowledged all of them. After an error any of them may have
	// been delivered; for each key, those that were are the first of the given,
	// in order.
	Publish(ctx context.Context, messages []Message) error
	// Newest shows the messages of a topic, from the newest of each partition
	// backwards, until more returns false for one of the partition or it has no
	// more. Values may be left out. It is not called concurrently with Publish by
	// the same relay; what others publish meanwhile may be missing.
	Newest(ctx context.Context, topic string, visit func(m Message) (more bool)) error
}

// Mapper decides what is published of an event: the message, and false if
// nothing is. It must be pure, and must send all events of a stream to one
// topic, under one key, if their order matters to anybody.
type Mapper func(r event.Recorded) (Message, bool, error)

// TopicPerCategory publishes each event to the topic {domain}.{category}, so
// that a stream stays in one partition.
func TopicPerCategory(domain string) Mapper {
	return func(r event.Recorded) (Message, bool, error) {
		m, err := MessageOf(Topic(domain, r.Stream.Category), r)
		return m, true, err
	}
}

// Topic returns the name of a category's topic: {domain}.{category}.
func Topic(domain, category string) string { return domain + "." + category }

// DefaultDomain is the first word of topic names unless WithDomain says otherwise.
const DefaultDomain = "annals"

var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func checkDomain(domain string) error {
	const most = 128 // Kafka allows 249 bytes for a topic, and a category may take 64
	if len(domain) > most || !domainName.MatchString(domain) {
		return fmt.Errorf("option WithDomain: %q: want words of letters, digits, dashes and underscores, joined by dots, at most %d bytes", domain, most)
	}
	return nil
}
