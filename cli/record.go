package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

const (
	tableTime      = "2006-01-02T15:04:05.000Z07:00"
	jsonType       = "application/json"
	metadataColumn = 40 // characters of it on a terminal
)

// eventRecord is the JSON form of an event.
type eventRecord struct {
	Position      event.Position  `json:"position"`
	Stream        string          `json:"stream"`
	Version       event.Version   `json:"version"`
	ID            event.ID        `json:"id"`
	Name          string          `json:"name"`
	Schema        int             `json:"schema"`
	RecordedTime  time.Time       `json:"recorded_time"`
	Metadata      event.Metadata  `json:"metadata"`
	ContentType   string          `json:"content_type"`
	Closes        bool            `json:"closes,omitempty"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	PayloadBase64 *string         `json:"payload_base64,omitempty"`
}

func newEventRecord(e event.Recorded) eventRecord {
	r := eventRecord{
		Position: e.Position, Stream: e.Stream.String(), Version: e.Version, ID: e.Metadata.ID, Name: e.Name,
		Schema: e.Schema, RecordedTime: e.RecordedTime, Metadata: e.Metadata, ContentType: e.ContentType, Closes: e.Closes,
	}
	// json.Valid lets bytes pass that are no UTF-8, and no JSON reader would.
	if e.ContentType == jsonType && utf8.Valid(e.Payload) && json.Valid(e.Payload) {
		r.Payload = e.Payload
	} else {
		text := base64.StdEncoding.EncodeToString(e.Payload)
		r.PayloadBase64 = &text
	}
	return r
}

// payload is what the table shows: JSON on one line, else how much there is.
func (r eventRecord) payload() string {
	if r.PayloadBase64 != nil {
		return fmt.Sprintf("(%d bytes of %s)", base64.StdEncoding.DecodedLen(len(*r.PayloadBase64))-strings.Count(*r.PayloadBase64, "="), r.ContentType)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, r.Payload); err != nil {
		return string(r.Payload)
	}
	return b.String()
}

// streamRow is an event in the table of its stream.
type streamRow struct{ eventRecord }

var streamHeader = []string{"VERSION", "POSITION", "RECORDED", "NAME", "METADATA", "PAYLOAD"}

func (r streamRow) cells(width int) []string {
	var metadata bytes.Buffer
	e := json.NewEncoder(&metadata)
	e.SetEscapeHTML(false)
	_ = e.Encode(r.Metadata) // texts and a time, read from JSON before
	text := strings.TrimSpace(metadata.String())
	if width > 0 {
		text = cut(escape(text), metadataColumn)
	}
	return []string{number(r.Version), number(r.Position), r.RecordedTime.Format(tableTime), r.Name, text, r.payload()}
}

// logRow is an event in the table of the log.
type logRow struct{ eventRecord }

var logHeader = []string{"POSITION", "RECORDED", "STREAM", "VERSION", "NAME", "PAYLOAD"}

func (r logRow) cells(int) []string {
	return []string{number(r.Position), r.RecordedTime.Format(tableTime), r.Stream, number(r.Version), r.Name, r.payload()}
}

// streamRecord is a stream in a list of streams.
type streamRecord struct {
	Stream       string         `json:"stream"`
	Version      event.Version  `json:"version"`
	Position     event.Position `json:"position"`
	RecordedTime time.Time      `json:"recorded_time"`
}

func newStreamRecord(s postgres.StreamInfo) streamRecord {
	return streamRecord{s.Stream.String(), s.Version, s.Position, s.RecordedTime}
}

var listHeader = []string{"STREAM", "VERSION", "POSITION", "RECORDED"}

func (r streamRecord) cells(int) []string {
	return []string{r.Stream, number(r.Version), number(r.Position), r.RecordedTime.Format(tableTime)}
}

func number[N ~int64](n N) string { return strconv.FormatInt(int64(n), 10) }
