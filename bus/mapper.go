package bus

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/annals-go/annals/event"
)

// Mapper decides what is published of an event: the message, and false if
// nothing is. It must be pure, and must send all events of a stream to one
// topic, under one key, if their order matters to anybody: see Keyed.
//
// A mapper of your own calls one of this package, or MessageOf, and changes the message:
// it adds headers, say. The headers of a message are its own: a relay appends to them. An
// error, or a panic, is the event's: it is parked, with all
// later ones of its stream.
type Mapper func(r event.Recorded) (Message, bool, error)

// TopicPerCategory publishes each event to the topic {domain}.{category}, so
// that a stream stays in one partition.
func TopicPerCategory(domain string, opts ...MessageOption) Mapper {
	f := formOf("/"+domain, opts)
	return func(r event.Recorded) (Message, bool, error) {
		m, err := f.message(TopicName(domain, r.Stream.Category), r)
		return m, err == nil, err
	}
}

// TopicPerName publishes each event to the topic {domain}.{name}, such as
// shop.order.placed, for consumers that want one kind of event and nothing else.
//
// What is lost: the order of a stream. Its events lie in several topics, and nothing can
// be concluded about their order there but by HeaderVersion; a consumer of several of
// them may see that an order was shipped before it sees that it was placed. Within one
// topic, the events of a stream are in order. The relay reads the log from the beginning
// when it meets a name that is new in its category, so a new name costs it that once.
// A topic has at most 249 bytes, so with names of 128 the domain has at most 120.
func TopicPerName(domain string, opts ...MessageOption) Mapper {
	f := formOf("/"+domain, opts)
	return func(r event.Recorded) (Message, bool, error) {
		m, err := f.message(TopicName(domain, r.Name), r)
		return m, err == nil, err
	}
}

// TopicName returns the name of a category's topic, {domain}.{category}, or of the topic
// of a name.
func TopicName(domain, category string) string { return domain + "." + category }

// Categories maps the events of each category by its own mapper, and those of others by
// the last one. nil: they are held back.
func Categories(by map[string]Mapper, others Mapper) Mapper {
	return func(r event.Recorded) (Message, bool, error) {
		m, ok := by[r.Stream.Category]
		if !ok {
			m = others
		}
		if m == nil {
			return Message{}, false, nil
		}
		return m(r)
	}
}

// Filter maps the events that keep lets through, and holds back the others.
func Filter(keep func(r event.Recorded) bool, m Mapper) Mapper {
	return func(r event.Recorded) (Message, bool, error) {
		if !keep(r) {
			return Message{}, false, nil
		}
		return m(r)
	}
}

// Drop holds back the events of some names, and maps the others.
func Drop(m Mapper, names ...string) Mapper {
	return Filter(func(r event.Recorded) bool { return !slices.Contains(names, r.Name) }, m)
}

// DefaultDomain is the first word of topic names unless WithDomain says otherwise.
const DefaultDomain = "annals"

var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// ValidateDomain returns an error unless topics can be named by the domain: words of
// letters, digits, dashes and underscores, joined by dots, at most 128 bytes.
func ValidateDomain(domain string) error {
	const most = 128 // Kafka allows 249 bytes for a topic, and a category may take 64
	if len(domain) > most || !domainName.MatchString(domain) {
		return fmt.Errorf("%q: want words of letters, digits, dashes and underscores, joined by dots, at most %d bytes", domain, most)
	}
	return nil
}

func checkDomain(domain string) error {
	if err := ValidateDomain(domain); err != nil {
		return fmt.Errorf("option WithDomain: %w", err)
	}
	return nil
}
