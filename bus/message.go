package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

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

// The headers of an event's message. The value is the payload as it is stored.
const (
	HeaderID           = "annals-id"
	HeaderName         = "annals-name"
	HeaderSchema       = "annals-schema"
	HeaderContentType  = "content-type"
	HeaderCategory     = "annals-category"
	HeaderVersion      = "annals-version"
	HeaderPosition     = "annals-position"
	HeaderRecordedTime = "annals-recorded-time"
	HeaderMetadata     = "annals-metadata"
	HeaderTraceParent  = "traceparent" // W3C trace context
	HeaderTraceState   = "tracestate"
)

// ErrForeign is matched by every error of EventOf: the message was not made by
// a relay of Annals, or was damaged.
var ErrForeign = errors.New("message is no event of Annals")

// MessageOf returns the message that carries r on the topic.
func MessageOf(topic string, r event.Recorded) (Message, error) {
	metadata, err := json.Marshal(r.Metadata)
	if err != nil {
		return Message{}, fmt.Errorf("message of %s: %w", r, err)
	}
	m := Message{Topic: topic, Key: []byte(r.Stream.ID), Value: r.Payload, Headers: []Header{
		{HeaderID, []byte(r.Metadata.ID.String())},
		{HeaderName, []byte(r.Name)},
		{HeaderSchema, strconv.AppendInt(nil, int64(r.Schema), 10)},
		{HeaderContentType, []byte(r.ContentType)},
		{HeaderCategory, []byte(r.Stream.Category)},
		{HeaderVersion, strconv.AppendInt(nil, int64(r.Version), 10)},
		{HeaderPosition, strconv.AppendInt(nil, int64(r.Position), 10)},
		{HeaderRecordedTime, r.RecordedTime.AppendFormat(nil, time.RFC3339Nano)},
		{HeaderMetadata, metadata},
	}}
	if r.Metadata.TraceParent != "" {
		m.Headers = append(m.Headers, Header{HeaderTraceParent, []byte(r.Metadata.TraceParent)})
	}
	if r.Metadata.TraceState != "" {
		m.Headers = append(m.Headers, Header{HeaderTraceState, []byte(r.Metadata.TraceState)})
	}
	return m, nil
}

// EventOf returns the event that MessageOf made m from. The error matches
// ErrForeign and says what is missing or malformed.
func EventOf(m Message) (event.Recorded, error) {
	p := parser{m: m}
	r := event.Recorded{
		Raw: event.Raw{
			Name:        p.text(HeaderName),
			Schema:      int(p.number(HeaderSchema)),
			ContentType: p.text(HeaderContentType),
			Payload:     m.Value,
		},
		Stream:   event.Stream{Category: p.text(HeaderCategory), ID: string(m.Key)},
		Version:  event.Version(p.number(HeaderVersion)),
		Position: event.Position(p.number(HeaderPosition)),
	}
	if r.Payload == nil {
		r.Payload = []byte{} // a broker may not tell no bytes from none
	}
	p.parse(HeaderRecordedTime, func(v []byte) (err error) {
		r.RecordedTime, err = time.Parse(time.RFC3339Nano, string(v))
		r.RecordedTime = r.RecordedTime.UTC()
		return err
	})
	p.parse(HeaderMetadata, func(v []byte) error { return json.Unmarshal(v, &r.Metadata) })
	p.parse(HeaderID, func(v []byte) (err error) {
		r.Metadata.ID, err = uuid.ParseBytes(v)
		return err
	})
	if p.err == nil {
		p.err = errors.Join(r.Stream.Validate(), event.ValidateName(r.Name))
	}
	if p.err != nil {
		return event.Recorded{}, fmt.Errorf("read message of topic %s: %w: %w", m.Topic, ErrForeign, p.err)
	}
	return r, nil
}

// parser keeps the first error.
type parser struct {
	m   Message
	err error
}

func (p *parser) parse(key string, fn func([]byte) error) {
	if p.err != nil {
		return
	}
	for _, h := range p.m.Headers {
		if h.Key == key {
			if err := fn(h.Value); err != nil {
				p.err = fmt.Errorf("header %s: %w", key, err)
			}
			return
		}
	}
	p.err = fmt.Errorf("header %s is missing", key)
}

func (p *parser) text(key string) (s string) {
	p.parse(key, func(v []byte) error {
		s = string(v)
		return nil
	})
	return s
}

func (p *parser) number(key string) (n int64) {
	p.parse(key, func(v []byte) (err error) {
		n, err = strconv.ParseInt(string(v), 10, 64)
		if err == nil && n < 1 {
			err = fmt.Errorf("%d: want at least 1", n)
		}
		return err
	})
	return n
}
