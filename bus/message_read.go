package bus

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/annals-go/annals/event"
)

// ErrForeign is matched by every error of EventOf: the message was not made by
// a relay of Annals, or was damaged.
var ErrForeign = errors.New("message is no event of Annals")

// EventOf returns the event that MessageOf made m from. The error matches
// ErrForeign and says what is missing or malformed.
func EventOf(m Message) (event.Recorded, error) {
	p := parser{m: m}
	p.find()
	r := event.Recorded{
		Raw: event.Raw{
			Name:        p.text(atName),
			Schema:      int(p.number(atSchema)),
			ContentType: p.text(atContentType),
			Payload:     m.Value,
		},
		Stream:   event.Stream{Category: p.text(atCategory), ID: p.stream()},
		Version:  event.Version(p.number(atVersion)),
		Position: event.Position(p.number(atPosition)),
	}
	if r.Payload == nil {
		r.Payload = []byte{} // a broker may not tell no bytes from none
	}
	r.RecordedTime = p.time(atRecordedTime).UTC()
	p.metadata(&r.Metadata)
	r.Metadata.ID = p.id(atID)
	r.Closes = p.flag(atCloses)
	if p.err == nil {
		p.err = errors.Join(r.Stream.Validate(), event.ValidateName(r.Name))
	}
	if p.err != nil {
		return event.Recorded{}, fmt.Errorf("read message of topic %s: %w: %w", m.Topic, ErrForeign, p.err)
	}
	return r, nil
}

// The headers that EventOf reads.
const (
	atID = iota
	atName
	atSchema
	atContentType
	atCategory
	atStream
	atVersion
	atPosition
	atCloses
	atRecordedTime
	atMetadata
	ats
)

var atKeys = [ats]string{
	HeaderID, HeaderName, HeaderSchema, HeaderContentType, HeaderCategory, HeaderStream,
	HeaderVersion, HeaderPosition, HeaderCloses, HeaderRecordedTime, HeaderMetadata,
}

// parser keeps the first error.
type parser struct {
	m   Message
	at  [ats]int // where the headers are, from 1
	err error
}

// find looks for the headers, in one pass.
func (p *parser) find() {
	for i, h := range p.m.Headers {
		var at int
		switch h.Key {
		case HeaderID:
			at = atID
		case HeaderName:
			at = atName
		case HeaderSchema:
			at = atSchema
		case HeaderContentType:
			at = atContentType
		case HeaderCategory:
			at = atCategory
		case HeaderStream:
			at = atStream
		case HeaderVersion:
			at = atVersion
		case HeaderPosition:
			at = atPosition
		case HeaderCloses:
			at = atCloses
		case HeaderRecordedTime:
			at = atRecordedTime
		case HeaderMetadata:
			at = atMetadata
		default:
			continue
		}
		if p.at[at] == 0 {
			p.at[at] = i + 1
		}
	}
}

// value returns a header that must be there; false after an error.
func (p *parser) value(at int) ([]byte, bool) {
	if p.err != nil {
		return nil, false
	}
	if p.at[at] == 0 {
		p.err = fmt.Errorf("header %s is missing", atKeys[at])
		return nil, false
	}
	return p.m.Headers[p.at[at]-1].Value, true
}

func (p *parser) failed(at int, err error) {
	if err != nil {
		p.err = fmt.Errorf("header %s: %w", atKeys[at], err)
	}
}

func (p *parser) text(at int) string {
	v, _ := p.value(at)
	return string(v)
}

// stream returns the id of the stream: the key, unless a header says otherwise.
func (p *parser) stream() string {
	if p.at[atStream] != 0 {
		return p.text(atStream)
	}
	return string(p.m.Key)
}

func (p *parser) number(at int) (n int64) {
	if v, ok := p.value(at); ok {
		var err error
		if n, err = strconv.ParseInt(string(v), 10, 64); err == nil && n < 1 {
			err = fmt.Errorf("%d: want at least 1", n)
		}
		p.failed(at, err)
	}
	return n
}

func (p *parser) flag(at int) bool {
	if p.at[at] == 0 {
		return false
	}
	v, ok := p.value(at)
	if ok && string(v) != "1" {
		p.failed(at, fmt.Errorf("%.20q: want 1, or none", v))
	}
	return ok
}

func (p *parser) time(at int) (t time.Time) {
	if v, ok := p.value(at); ok {
		var err error
		t, err = time.Parse(time.RFC3339Nano, string(v))
		p.failed(at, err)
	}
	return t
}

func (p *parser) id(at int) (id event.ID) {
	if v, ok := p.value(at); ok {
		var err error
		id, err = uuid.ParseBytes(v)
		p.failed(at, err)
	}
	return id
}

func (p *parser) metadata(m *event.Metadata) {
	if v, ok := p.value(atMetadata); ok {
		p.failed(atMetadata, readMetadata(v, m))
	}
}
