package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrTopicChanged is matched by *TopicError.
var ErrTopicChanged = errors.New("topic is not what was agreed on")

// TopicError says that a topic is not what a relay has agreed on with the broker, or not
// what the program wants. The relay has stopped, and has published nothing since it saw
// that: somebody decides, see Adopt and Refill.
type TopicError struct {
	Relay, Topic string
	// Contract is that of the program.
	Contract Contract
	// Agreed is what was agreed on; its Revision is 0 if nothing was.
	Agreed Agreed
	// Has is what the broker has; its ID is "" if it has no such topic.
	Has Topic
}

// Is reports whether target is ErrTopicChanged.
func (e *TopicError) Is(target error) bool { return target == ErrTopicChanged }

type problem int

const (
	fits problem = iota
	compacted
	gone
	madeAgain
	grown
	notWanted
)

// problem returns what is wrong with the topic, after what was decided.
func (e *TopicError) problem() problem {
	agreed := e.Agreed.Revision > 0 && e.Agreed.Decision == Undecided
	switch {
	case e.Has.Compacted:
		return compacted
	case agreed && e.Has.ID == "":
		return gone
	case agreed && e.Has.ID != e.Agreed.ID:
		return madeAgain
	case agreed && e.Has.Partitions != e.Agreed.Partitions:
		return grown
	case e.Contract.Partitions > 0 && e.Contract.Partitions != e.Has.Partitions:
		return notWanted
	}
	return fits
}

// changed reports whether the topic is another one than was agreed on.
func (e *TopicError) changed() bool {
	return e.Agreed.Revision > 0 && (e.Has.ID != e.Agreed.ID || e.Has.Partitions != e.Agreed.Partitions)
}

func (e *TopicError) Error() string {
	text := fmt.Sprintf("%s: topic %s ", e.Relay, e.Topic)
	before, adopt, refill := e.before(), e.command(Adopt), e.command(Refill)
	decide := fmt.Sprintf("run %s to take it as it is and go on, or %s to fill it from the beginning of the log", adopt, refill)
	switch e.problem() {
	case compacted:
		text += fmt.Sprintf("is compacted (%s%s): it loses events and cannot be adopted: set its cleanup.policy to delete", e.Has, before)
		if e.Agreed.Revision > 0 {
			text += fmt.Sprintf(", and if it has lost some run %s to fill it from the beginning of the log", refill)
		}
	case gone:
		text += fmt.Sprintf("is gone%s: run %s to make it and fill it from the beginning of the log, or %s to make it and go on", before, refill, adopt)
	case madeAgain:
		text += fmt.Sprintf("was made again: it has %s%s: %s", e.Has, before, decide)
	case grown:
		text += fmt.Sprintf("has another number of partitions: it has %s%s: keys have moved, so see to its consumers, and %s", e.Has, before, decide)
	case notWanted:
		text += fmt.Sprintf("has %s, and its Contract in the program wants Partitions %d: say %d there, or change the topic", e.Has, e.Contract.Partitions, e.Has.Partitions)
		if e.Agreed.Revision > 0 {
			text += fmt.Sprintf(" and run %s or %s", adopt, refill)
		}
	case fits:
		text += "is as it was agreed on"
	}
	return text
}

// before says what was agreed on.
func (e *TopicError) before() string {
	if e.Agreed.Revision == 0 {
		return ""
	}
	return fmt.Sprintf(", agreed on since %s: %s", e.Agreed.Since.UTC().Format(time.RFC3339), e.Agreed.topic())
}

// command returns what a person runs to decide.
func (e *TopicError) command(d Decision) string {
	return fmt.Sprintf("annals relay %s %s %s --yes", d, strings.TrimPrefix(e.Relay, relayKind), e.Topic)
}

// topic returns what was agreed on, of what a broker can change.
func (a Agreed) topic() Topic { return Topic{ID: a.ID, Partitions: a.Partitions} }

// String returns the number of partitions and the id.
func (t Topic) String() string {
	if t.Partitions == 1 {
		return "1 partition, id " + t.ID
	}
	return fmt.Sprintf("%d partitions, id %s", t.Partitions, t.ID)
}
