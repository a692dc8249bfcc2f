package bus

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// headers is what the headers of a message say of it, as far as that is needed before it
// is applied.
type headers struct {
	// isEvent: all that an event has and that is looked at here is there, and well-formed,
	// and so is its lineage if it has one. Of one without it, EventOf is an error.
	isEvent  bool
	name     string         // of the event; "": there is none, or it is malformed
	stream   event.Stream   // that an event, or a damaged one, says it is of; zero: it says none, or a malformed one
	position event.Position // 0: it is no event
	id       event.ID       // zero: there is none, or it is malformed
	lineage  []byte

	cloudID, cloudSource []byte
}

// inspect reads the headers in one pass. Valid is the text of a lineage, so that one
// which all messages have is not parsed each time; "": none is known.
func inspect(m Message, valid string) headers {
	var out headers
	var id, name, category, stream, position []byte
	for _, h := range m.Headers {
		switch h.Key {
		case HeaderID:
			first(&id, h.Value)
		case HeaderName:
			first(&name, h.Value)
		case HeaderCategory:
			first(&category, h.Value)
		case HeaderStream:
			first(&stream, h.Value)
		case HeaderPosition:
			first(&position, h.Value)
		case HeaderLineage:
			first(&out.lineage, h.Value)
		case HeaderCEID:
			first(&out.cloudID, h.Value)
		case HeaderCESource:
			first(&out.cloudSource, h.Value)
		}
	}
	if stream == nil {
		stream = m.Key
	}
	parsed, errID := uuid.ParseBytes(id)
	out.id = parsed
	damaged := id != nil && name != nil && position != nil // at worst: they are there
	if s := (event.Stream{Category: string(category), ID: string(stream)}); damaged && s.Validate() == nil {
		out.stream = s
	}
	if s := string(name); event.ValidateName(s) == nil {
		out.name = s
	}
	at, errAt := strconv.ParseInt(string(position), 10, 64)
	out.isEvent = errID == nil && errAt == nil && at > 0 && out.name != "" && out.stream.ID != ""
	if out.isEvent && string(out.lineage) != valid {
		_, err := eventstore.ParseLineage(string(out.lineage))
		out.isEvent = err == nil
	}
	if out.isEvent {
		out.position = event.Position(at)
	}
	return out
}

// first keeps the first value of a header.
func first(to *[]byte, v []byte) {
	if *to == nil {
		if v == nil {
			v = []byte{}
		}
		*to = v
	}
}

// space is the namespace of ids that are made of what a message has.
var space = uuid.MustParse("8f1f9a9e-6d0c-5d0a-9c39-5f4b1f3a7a10")

// identify returns what a message is known by: the id of an event, else the source and
// id of a CloudEvent, else its place in the topic, so that then only the record itself
// is a repeat of it. The id of an event in a message that is none counts for nothing.
func (h headers) identify(d Delivery, offset int64) event.ID {
	switch {
	case h.isEvent && h.id != event.ID{}:
		return h.id
	case len(h.cloudID) > 0 && len(h.cloudSource) > 0:
		return uuid.NewSHA1(space, fmt.Appendf(nil, "cloudevent %q %q", h.cloudSource, h.cloudID))
	}
	return uuid.NewSHA1(space, fmt.Appendf(nil, "record %q %q %d", d.Source, d.Part, offset))
}

// keyed returns what a message has in common with those whose order matters, as a
// stream: that of an event, also of a damaged one, so that what comes behind it in its
// stream waits for it. A damaged one has an id, a name and a position, whatever is in
// them: a record that only names a category must not hold up a stream. Others have a namespace of their own, which no event can be in,
// as a slash is in no category: the topic with the key of the record, or the part if it
// has none.
func (h headers) keyed(part string, m Message) event.Stream {
	switch {
	case h.stream.ID != "":
		return h.stream
	case len(m.Key) == 0:
		return event.Stream{Category: foreignPrefix + part}
	}
	return event.Stream{Category: foreignPrefix + m.Topic, ID: shown(m.Key)}
}

const foreignPrefix = "foreign/"

// keyOf is the key that a carrier is parked by.
func keyOf(e event.Recorded) string {
	if e.Stream.ID == "" {
		return e.Stream.Category
	}
	return e.Stream.String()
}

// shown returns the key of a record as a text that every store can keep and index.
func shown(key []byte) string {
	const most = 192
	s := string(key)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		s = strconv.Quote(s)
	}
	if len(s) > most {
		s = fmt.Sprintf("sha256:%x", sha256.Sum256(key))
	}
	return s
}
