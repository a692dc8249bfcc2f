package transfer

import (
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/annals-go/annals/event"
)

// trailer is the last line of a file.
type trailer struct {
	events       int64
	lastPosition event.Position
	sum          [32]byte
}

// parser reads lines. Its rows point into the line and into its own buffers.
type parser struct {
	scanner
	strict  bool // also look at what has been looked at when the file was checked
	payload []byte
	last    Row // its texts, which mostly come again
}

// The fields of the three kinds of lines, as bits of those that were seen.
const (
	fieldPosition = 1 << iota
	fieldStream
	fieldVersion
	fieldID
	fieldName
	fieldSchema
	fieldRecordedTime
	fieldMetadata
	fieldContentType
	fieldPayload
	fieldCloses

	fieldEvents
	fieldLastPosition
	fieldSum

	fieldFormat
	fieldFormatVersion
	fieldStore
	fieldWrittenTime

	fieldsOfEvent   = fieldCloses<<1 - 1
	fieldsOfTrailer = fieldEvents | fieldLastPosition | fieldSum
)

var fieldNames = []string{
	"position", "stream", "version", "id", "name", "schema", "recorded_time", "metadata", "content_type", "payload", "closes",
	"events", "last_position", "sha256", "format", "format_version", "store", "written_time",
}

// missing names the first field that is wanted and was not seen.
func missing(want, seen int) *Error {
	for i, name := range fieldNames {
		if want&^seen&(1<<i) != 0 {
			if 1<<i == fieldPayload {
				name = "payload, payload_text or payload_base64"
			}
			return refuse("%s is missing", name)
		}
	}
	return nil
}

// once notes a field, and refuses it if it was there before.
func once(seen *int, field int, key []byte) *Error {
	if *seen&field != 0 {
		if field == fieldPayload {
			return refuse("key %s comes after another payload: one of payload, payload_text and payload_base64 is wanted", shown(key))
		}
		return refuse("key %s comes twice", shown(key))
	}
	*seen |= field
	return nil
}

// header reads the first line.
func (p *parser) header(line []byte) (Header, *Error) {
	p.reset(line)
	var (
		h       Header
		seen    int
		version int64
	)
	err := p.object(func(key []byte) *Error {
		field, ok := map[string]int{
			"format": fieldFormat, "format_version": fieldFormatVersion, "store": fieldStore, "written_time": fieldWrittenTime,
		}[string(key)]
		if !ok {
			return refuse("unknown key %s in the header", shown(key))
		}
		err := once(&seen, field, key)
		if err != nil {
			return err
		}
		switch field {
		case fieldFormatVersion:
			version, err = p.number()
			return err
		case fieldWrittenTime:
			h.WrittenTime, err = p.time("written_time")
			return err
		}
		text, err := p.text()
		if err != nil {
			return err
		}
		if field == fieldStore {
			h.Store, err = store(text)
			return err
		}
		if string(text) != formatName {
			return refuse("format is %s, want %q", shown(text), formatName)
		}
		return nil
	})
	if err == nil {
		err = p.end()
	}
	if err == nil {
		err = missing(fieldFormat|fieldFormatVersion, seen)
	}
	if err == nil && version != formatVersion {
		err = refuse("format_version is %d, want %d", version, formatVersion).remedy("read it with a newer annals")
	}
	if err != nil && err.Remedy == "" {
		err.Remedy = `the first line of an export begins with {"format":"annals.log"`
	}
	return h, err
}

func store(text []byte) (string, *Error) {
	id, err := uuid.ParseBytes(text)
	if err != nil || len(text) != 36 {
		return "", refuse("store is %s, want a UUID", shown(text))
	}
	return id.String(), nil
}

// line reads an event, or the trailer: then row is nil. The row is valid until
// the next call.
func (p *parser) line(line []byte, row *Row) (t *trailer, err *Error) {
	p.reset(line)
	seen := 0
	*row = Row{Line: row.Line}
	var end trailer
	err = p.object(func(key []byte) *Error {
		switch string(key) {
		case "events":
			if err := once(&seen, fieldEvents, key); err != nil {
				return err
			}
			n, err := p.number()
			end.events = n
			return err
		case "last_position":
			if err := once(&seen, fieldLastPosition, key); err != nil {
				return err
			}
			n, err := p.number()
			end.lastPosition = event.Position(n)
			return err
		case "sha256":
			if err := once(&seen, fieldSum, key); err != nil {
				return err
			}
			text, err := p.text()
			if err != nil {
				return err
			}
			if n, hexErr := hex.Decode(end.sum[:], text[:min(len(text), 64)]); hexErr != nil || n != 32 || len(text) != 64 {
				return refuse("sha256 is %s, want 64 hexadecimal digits", shown(text))
			}
			return nil
		}
		return p.field(key, row, &seen)
	})
	if err == nil {
		err = p.end()
	}
	switch {
	case err != nil:
		return nil, err
	case seen&fieldsOfTrailer == 0:
		return nil, missing(fieldsOfEvent&^fieldCloses, seen)
	case seen&fieldsOfEvent != 0:
		return nil, refuse("keys of an event and of the trailer in one line")
	}
	return &end, missing(fieldsOfTrailer, seen)
}

func (p *parser) field(key []byte, row *Row, seen *int) (err *Error) {
	var field int
	switch string(key) {
	case "position":
		field = fieldPosition
	case "stream":
		field = fieldStream
	case "version":
		field = fieldVersion
	case "id":
		field = fieldID
	case "name":
		field = fieldName
	case "schema":
		field = fieldSchema
	case "recorded_time":
		field = fieldRecordedTime
	case "metadata":
		field = fieldMetadata
	case "content_type":
		field = fieldContentType
	case "closes":
		field = fieldCloses
	case "payload", "payload_text", "payload_base64":
		if err := once(seen, fieldPayload, key); err != nil {
			return err
		}
		return p.payloadOf(string(key), row)
	default:
		return refuse("unknown key %s", shown(key))
	}
	if err := once(seen, field, key); err != nil {
		return err
	}
	var n int64
	switch field {
	case fieldPosition:
		n, err = p.number()
		row.Position = event.Position(n)
	case fieldVersion:
		n, err = p.number()
		row.Version = event.Version(n)
	case fieldSchema:
		n, err = p.number()
		row.Schema = int(n)
	case fieldCloses:
		row.Closes, err = p.boolean()
	case fieldRecordedTime:
		row.RecordedTime, err = p.time("recorded_time")
	case fieldMetadata:
		row.Metadata, err = p.raw(p.strict)
	default:
		err = p.texts(field, row)
	}
	return err
}

// texts reads those fields that are strings of a few forms.
func (p *parser) texts(field int, row *Row) *Error {
	text, err := p.text()
	if err != nil {
		return err
	}
	switch field {
	case fieldStream:
		return p.stream(text, row)
	case fieldID:
		id, err := uuid.ParseBytes(text)
		if err != nil || len(text) != 36 {
			return refuse("id is %s, want a UUID", shown(text))
		}
		row.ID = id
	case fieldName:
		row.Name = again(text, &p.last.Name)
	case fieldContentType:
		row.ContentType = again(text, &p.last.ContentType)
	}
	return nil
}

func (p *parser) stream(text []byte, row *Row) *Error {
	if s := p.last.Stream; len(text) == len(s.Category)+1+len(s.ID) && string(text[:len(s.Category)]) == s.Category &&
		text[len(s.Category)] == '-' && string(text[len(s.Category)+1:]) == s.ID && s.Category != "" {
		row.Stream = s
		return nil
	}
	s, err := event.ParseStream(string(text))
	if err != nil {
		e := refuse("%v", err)
		e.Cause = err
		return e
	}
	row.Stream, p.last.Stream = s, s
	return nil
}

// again returns the text without a new string if it is the last one.
func again(b []byte, last *string) string {
	if string(b) != *last {
		*last = string(b)
	}
	return *last
}

// payloadOf reads the payload in one of its forms.
func (p *parser) payloadOf(key string, row *Row) (err *Error) {
	if key == "payload" {
		row.Payload, err = p.raw(p.strict)
		return err
	}
	text, err := p.text()
	if err != nil || key == "payload_text" {
		row.Payload = text
		return err
	}
	coding := base64.StdEncoding.Strict()
	if need := coding.DecodedLen(len(text)); cap(p.payload) < need {
		p.payload = make([]byte, need)
	}
	for _, c := range text { // which the decoder would pass over
		if c == '\n' || c == '\r' {
			return refuse("payload_base64 is no base64: a line break in it")
		}
	}
	n, decodeErr := coding.Decode(p.payload[:cap(p.payload)], text)
	if decodeErr != nil {
		return refuse("payload_base64 is no base64: %v", decodeErr)
	}
	row.Payload = p.payload[:n]
	return nil
}

// time reads a time that a store can hold: UTC, whole microseconds.
func (p *parser) time(what string) (time.Time, *Error) {
	text, err := p.text()
	if err != nil {
		return time.Time{}, err
	}
	t, parseErr := time.Parse(time.RFC3339Nano, string(text))
	if parseErr != nil || len(text) == 0 || text[len(text)-1] != 'Z' || t.Nanosecond()%1000 != 0 {
		return time.Time{}, refuse("%s is %s, want UTC to the microsecond, such as 2026-01-31T09:00:00.000001Z", what, shown(text))
	}
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, refuse("%s is %s, want the years 1970 to 9999", what, shown(text))
	}
	return t, nil
}
