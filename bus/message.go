package bus

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/annals-go/annals/event"
)

// Message is a record of a topic.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header is a header of a Message. Keys may repeat; the first counts.
type Header struct {
	Key   string
	Value []byte
}

// The headers of an event's message. The value is the payload as it is stored. Those of
// what the metadata does not state are left out. Times are RFC 3339, with nanoseconds.
const (
	HeaderID           = "annals-id"
	HeaderName         = "annals-name"
	HeaderSchema       = "annals-schema"
	HeaderContentType  = "content-type"
	HeaderCategory     = "annals-category"
	HeaderStream       = "annals-stream" // the id of the stream; left out while it is the key
	HeaderVersion      = "annals-version"
	HeaderPosition     = "annals-position"
	HeaderCloses       = "annals-closes" // "1": the event is the last of its stream
	HeaderRecordedTime = "annals-recorded-time"
	HeaderEventTime    = "annals-event-time" // when the fact happened
	HeaderCorrelation  = "annals-correlation"
	HeaderCausation    = "annals-causation"
	HeaderMetadata     = "annals-metadata" // all of it but the id, as JSON
	HeaderTraceParent  = "traceparent"     // W3C trace context
	HeaderTraceState   = "tracestate"
)

// The headers of CloudEvents 1.0 in the binary mode of Kafka, for consumers that know
// nothing of Annals. The type is the name of the event, the subject the id of its stream,
// and the time its event time, or else when it was recorded. The trace context is that of
// the append, as the extension for distributed tracing wants it. There is no dataschema:
// a schema version is no URI.
const (
	HeaderCESpecVersion = "ce_specversion"
	HeaderCEID          = "ce_id"
	HeaderCESource      = "ce_source"
	HeaderCEType        = "ce_type"
	HeaderCESubject     = "ce_subject"
	HeaderCETime        = "ce_time"
	HeaderCETraceParent = "ce_traceparent"
	HeaderCETraceState  = "ce_tracestate"
)

// MessageOption changes what MessageOf, and the mappers of this package, make of an
// event.
type MessageOption func(*form)

// form is how events become messages.
type form struct {
	source []byte // of CloudEvents; nil: it has no headers of them
}

// MaxSource is the most bytes of a source of CloudEvents.
const MaxSource = 512

// CloudEvents adds the headers of CloudEvents with the source, a URI reference such as
// "/shop" or "https://shop.example/orders"; "": none are added. A source and an event id
// together are unlike any other. Default: MessageOf adds none, TopicPerCategory and
// TopicPerName those with the source "/{domain}". It panics if the source is no URI
// reference, or has more than MaxSource bytes.
func CloudEvents(source string) MessageOption {
	if _, err := url.Parse(source); err != nil || len(source) > MaxSource {
		panic(fmt.Sprintf("bus: option CloudEvents: %.80q: want a URI reference of at most %d bytes, such as /shop", source, MaxSource))
	}
	return func(f *form) {
		f.source = nil
		if source != "" {
			f.source = []byte(source)
		}
	}
}

// formOf returns what the options say, on top of CloudEvents with a source.
func formOf(source string, opts []MessageOption) *form {
	f := &form{}
	if source != "" {
		f.source = []byte(source)
	}
	for _, o := range opts {
		o(f)
	}
	return f
}

var plain = &form{}

// MessageOf returns the message that carries r on the topic, under the id of its stream
// as the key. EventOf gives back r from it. An event that a store has accepted fits, with all
// headers, into a record of the size that brokers and clients take by default. The payload
// of r is its value and must not be changed.
func MessageOf(topic string, r event.Recorded, opts ...MessageOption) (Message, error) {
	if len(opts) == 0 {
		return plain.message(topic, r)
	}
	return formOf("", opts).message(topic, r)
}

var (
	one         = []byte("1")
	specVersion = []byte("1.0")
)

// message has one buffer for all values.
func (f *form) message(topic string, r event.Recorded) (Message, error) {
	md := &r.Metadata
	texts := len(md.Correlation) + len(md.Causation) + len(md.TraceParent) + len(md.TraceState)
	buf := make([]byte, 0, 256+len(r.Stream.ID)+len(r.Name)+len(r.ContentType)+len(r.Stream.Category)+texts+metadataSize(md))
	hs := make([]Header, 0, f.headers(&r)+relayHeaders)
	from := 0
	// value returns what was appended since it was called last.
	value := func(b []byte) []byte {
		v := b[from:len(b):len(b)]
		buf, from = b, len(b)
		return v
	}
	text := func(s string) []byte { return value(append(buf, s...)) }
	number := func(n int64) []byte { return value(strconv.AppendInt(buf, n, 10)) }

	key := text(r.Stream.ID)
	id := value(appendID(buf, md.ID))
	name := text(r.Name)
	recorded := value(r.RecordedTime.AppendFormat(buf, time.RFC3339Nano))
	hs = append(hs,
		Header{HeaderID, id},
		Header{HeaderName, name},
		Header{HeaderSchema, number(int64(r.Schema))},
		Header{HeaderContentType, text(r.ContentType)},
		Header{HeaderCategory, text(r.Stream.Category)},
		Header{HeaderVersion, number(int64(r.Version))},
		Header{HeaderPosition, number(int64(r.Position))},
		Header{HeaderRecordedTime, recorded})
	b, err := appendMetadata(buf, md)
	if err != nil {
		return Message{}, fmt.Errorf("message of %s: %w", r, err)
	}
	hs = append(hs, Header{HeaderMetadata, value(b)})
	if r.Closes {
		hs = append(hs, Header{HeaderCloses, one})
	}
	at := recorded
	if !md.EventTime.IsZero() {
		at = value(md.EventTime.AppendFormat(buf, time.RFC3339Nano))
		hs = append(hs, Header{HeaderEventTime, at})
	}
	if md.Correlation != "" {
		hs = append(hs, Header{HeaderCorrelation, text(md.Correlation)})
	}
	if md.Causation != "" {
		hs = append(hs, Header{HeaderCausation, text(md.Causation)})
	}
	var parent, state []byte
	if md.TraceParent != "" {
		parent = text(md.TraceParent)
		hs = append(hs, Header{HeaderTraceParent, parent})
	}
	if md.TraceState != "" {
		state = text(md.TraceState)
		hs = append(hs, Header{HeaderTraceState, state})
	}
	if f.source != nil {
		hs = append(hs,
			Header{HeaderCESpecVersion, specVersion},
			Header{HeaderCEID, id},
			Header{HeaderCESource, f.source},
			Header{HeaderCEType, name},
			Header{HeaderCESubject, key},
			Header{HeaderCETime, at})
		if parent != nil {
			hs = append(hs, Header{HeaderCETraceParent, parent})
		}
		if parent != nil && state != nil { // one without the other says nothing
			hs = append(hs, Header{HeaderCETraceState, state})
		}
	}
	return Message{Topic: topic, Key: key, Value: r.Payload, Headers: hs}, nil
}

// relayHeaders is room for those that a relay adds.
const relayHeaders = 2

// headers returns how many there are at most.
func (f *form) headers(r *event.Recorded) int {
	md := &r.Metadata
	n := 9
	for _, is := range [...]bool{r.Closes, !md.EventTime.IsZero(), md.Correlation != "", md.Causation != "", md.TraceParent != "", md.TraceState != ""} {
		if is {
			n++
		}
	}
	if f.source != nil {
		n += 8
	}
	return n
}

// appendID appends the usual form of a UUID.
func appendID(b []byte, id event.ID) []byte {
	b = append(hex.AppendEncode(b, id[:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:])
}

// Keyed returns m under another key, with HeaderStream, so that EventOf still knows the
// stream. What is lost: the events of one stream under two keys lie in two partitions,
// and nobody can tell their order there; a consumer that parks by stream parks one part
// of it; and a relay that parks a stream holds aside one key in part.
func Keyed(m Message, key []byte) Message {
	if _, ok := m.header(HeaderStream); !ok {
		m.Headers = append(slices.Clip(m.Headers), Header{HeaderStream, m.Key})
	}
	m.Key = key
	return m
}

// header returns the value of the first header of the key; false: there is none.
func (m Message) header(key string) ([]byte, bool) {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}
