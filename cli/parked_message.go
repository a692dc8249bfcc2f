package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// messageRecord is a message that is held aside.
type messageRecord struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	Offset    int64          `json:"offset"`
	Time      time.Time      `json:"time"`
	Key       bytesRecord    `json:"key"`
	Headers   []headerRecord `json:"headers"`
	Value     bytesRecord    `json:"value"`
}

type headerRecord struct {
	Key string `json:"key"`
	bytesRecord
}

// bytesRecord is bytes as text, or in base64 if they are none.
type bytesRecord struct {
	Text   *string `json:"text,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

func newBytesRecord(b []byte) bytesRecord {
	s := string(b)
	if utf8.Valid(b) {
		return bytesRecord{Text: &s}
	}
	s = base64.StdEncoding.EncodeToString(b)
	return bytesRecord{Base64: &s}
}

// bytesShown is how many characters people are shown of a value.
const bytesShown = 4096

func (r bytesRecord) text() string {
	if r.Text != nil {
		return cut(*r.Text, bytesShown)
	}
	return "(base64) " + cut(*r.Base64, bytesShown)
}

// keptMessage returns the message that an item carries, nil if it carries none.
func keptMessage(i worker.Item) *messageRecord {
	var e struct {
		ContentType string `json:"content_type"`
		Payload     []byte `json:"payload"`
	}
	if json.Unmarshal(i.Data, &e) != nil {
		return nil
	}
	m, err := bus.Carried(event.Recorded{Raw: event.Raw{ContentType: e.ContentType, Payload: e.Payload}})
	if err != nil {
		return nil
	}
	r := &messageRecord{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time,
		Key: newBytesRecord(m.Key), Headers: []headerRecord{}, Value: newBytesRecord(m.Value),
	}
	if y := r.Time.Year(); y < 0 || y > 9999 { // JSON has no others
		r.Time = time.Time{}
	}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, headerRecord{h.Key, newBytesRecord(h.Value)})
	}
	return r
}

// page writes the message for people, each text of it escaped.
func (r *messageRecord) page(w io.Writer) {
	line := func(what, text string) { fmt.Fprintf(w, "     %-7s %s\n", what, escape(text)) }
	line("time", r.Time.Format(tableTime))
	line("key", r.Key.text())
	for _, h := range r.Headers {
		line("header", cut(h.Key, bytesShown)+": "+h.text())
	}
	line("value", r.Value.text())
}
