package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
)

// Limits of one append. An event within them fits into one Kafka record of the
// broker's default size (1,000,012 bytes with key and headers, which may have the
// metadata three times), so the relay never meets an event that it cannot send.
const (
	MaxEvents        = 1000      // events of one append
	MaxAppendBytes   = 8 << 20   // payloads and metadata of one append
	MaxPayloadBytes  = 900 << 10 // of one event
	MaxMetadataBytes = 16 << 10  // of one event, as JSON
	MaxExtraKeys     = 64        // of Metadata.Extra
	MaxWrites        = 100       // streams of one AppendAll
)

// Prepared is an event that has passed Prepare, with its metadata as it is stored.
type Prepared struct {
	event.Raw
	StoredMetadata []byte
}

// Prepare checks an append against every limit and gives ids to the events
// that have none. It changes nothing that the caller holds. Every Store calls
// it before it does anything else, so that bad input costs no round trip.
//
// Errors: ErrNoEvents, *LimitError, *event.NameError, ErrNotLast, ErrIDReused
// when two of the events have the same id.
func Prepare(s event.Stream, events []event.Raw) ([]Prepared, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("append %s: %w", s, ErrNoEvents)
	}
	if len(events) > MaxEvents {
		return nil, &LimitError{s, "events", len(events), MaxEvents}
	}
	out := make([]Prepared, len(events))
	total := 0
	for i, e := range events {
		p, err := prepare(s, e)
		if err != nil {
			return nil, err
		}
		if j := slices.IndexFunc(out[:i], func(q Prepared) bool { return q.Metadata.ID == p.Metadata.ID }); j >= 0 {
			return nil, fmt.Errorf("append %s: events %d and %d have the same id %s: %w", s, j+1, i+1, p.Metadata.ID, ErrIDReused)
		}
		if e.Closes && i < len(events)-1 {
			return nil, fmt.Errorf("append %s: event %d of %d: %w", s, i+1, len(events), ErrNotLast)
		}
		total += p.bytes()
		out[i] = p
	}
	if total > MaxAppendBytes {
		return nil, &LimitError{s, "bytes of all events", total, MaxAppendBytes}
	}
	return out, nil
}

func (p Prepared) bytes() int { return len(p.Payload) + len(p.StoredMetadata) }

// PreparedWrite is a Write that has passed PrepareAll.
type PreparedWrite struct {
	Stream event.Stream
	Expect Expect
	Events []Prepared
	Place  int // among the writes given
}

// PrepareAll is Prepare for AppendAll: the limits hold for all writes together.
// It returns them sorted by stream, so that implementations lock in one order.
func PrepareAll(writes []Write) ([]PreparedWrite, error) {
	if len(writes) == 0 {
		return nil, fmt.Errorf("append all: %w", ErrNoEvents)
	}
	if len(writes) > MaxWrites {
		return nil, &LimitError{event.Stream{}, "streams", len(writes), MaxWrites}
	}
	out := make([]PreparedWrite, len(writes))
	events, total := 0, 0
	for i, w := range writes {
		prepared, err := Prepare(w.Stream, w.Events)
		if err != nil {
			return nil, err
		}
		events += len(prepared)
		for _, p := range prepared {
			total += p.bytes()
		}
		out[i] = PreparedWrite{w.Stream, w.Expect, prepared, i}
	}
	if events > MaxEvents {
		return nil, &LimitError{event.Stream{}, "events", events, MaxEvents}
	}
	if total > MaxAppendBytes {
		return nil, &LimitError{event.Stream{}, "bytes of all events", total, MaxAppendBytes}
	}
	slices.SortFunc(out, func(a, b PreparedWrite) int { return a.Stream.Compare(b.Stream) })
	for i := 1; i < len(out); i++ {
		if out[i].Stream == out[i-1].Stream {
			return nil, fmt.Errorf("append %s: %w", out[i].Stream, ErrStreamTwice)
		}
	}
	return out, nil
}

func prepare(s event.Stream, e event.Raw) (Prepared, error) {
	if err := event.ValidateName(e.Name); err != nil {
		return Prepared{}, fmt.Errorf("append %s: %w", s, err)
	}
	if e.Schema < 1 || e.Schema > 1<<15-1 {
		return Prepared{}, &LimitError{s, "schema version of " + e.Name + ", from 1", e.Schema, 1<<15 - 1}
	}
	if e.ContentType == "" || len(e.ContentType) > event.MaxNameBytes || !printable(e.ContentType) {
		return Prepared{}, fmt.Errorf("append %s: %w", s, &event.NameError{What: "content type", Name: e.ContentType, Reason: "want 1 to 128 printable ASCII characters"})
	}
	if len(e.Payload) > MaxPayloadBytes {
		return Prepared{}, &LimitError{s, "payload bytes of " + e.Name, len(e.Payload), MaxPayloadBytes}
	}
	if len(e.Metadata.Extra) > MaxExtraKeys {
		return Prepared{}, &LimitError{s, "extra metadata keys of " + e.Name, len(e.Metadata.Extra), MaxExtraKeys}
	}
	if err := checkText(e.Metadata); err != nil {
		return Prepared{}, fmt.Errorf("append %s: metadata of %s: %w", s, e.Name, err)
	}
	e.Metadata.EventTime = storable(e.Metadata.EventTime)
	if y := e.Metadata.EventTime.Year(); y < 0 || y > 9999 {
		return Prepared{}, fmt.Errorf("append %s: metadata of %s: %w", s, e.Name, ErrMetadataTime)
	}
	stored, err := json.Marshal(e.Metadata)
	if err != nil {
		return Prepared{}, fmt.Errorf("append %s: metadata of %s: %w", s, e.Name, err)
	}
	if len(stored) > MaxMetadataBytes {
		return Prepared{}, &LimitError{s, "metadata bytes of " + e.Name, len(stored), MaxMetadataBytes}
	}
	if e.Metadata.ID == (event.ID{}) {
		e.Metadata.ID = event.NewID()
	}
	return Prepared{e, stored}, nil
}

// Same reports whether r is what an append of p stored: the digest of an event
// is its name, schema version, content type, payload, and whether it closes.
func (p Prepared) Same(r event.Raw) bool {
	return p.Name == r.Name && p.Schema == r.Schema && p.ContentType == r.ContentType && p.Closes == r.Closes && bytes.Equal(p.Payload, r.Payload)
}

// ErrMetadataText says that a metadata text is not valid UTF-8, so it would not be read
// back as it was given.
var ErrMetadataText = errors.New("text is not valid UTF-8")

// ErrMetadataTime says that an event time has no year of four digits, which is how it
// is stored.
var ErrMetadataTime = errors.New("event time is not in the years 0 to 9999")

// storable returns the same instant in a zone that JSON can write, which is one
// of whole minutes: zones of before the railways are not.
func storable(t time.Time) time.Time {
	if _, offset := t.Zone(); offset%60 != 0 || offset <= -24*60*60 || offset >= 24*60*60 {
		return t.UTC()
	}
	return t
}

func checkText(m event.Metadata) error {
	ok := true
	for _, s := range []string{m.Correlation, m.Causation, m.Actor, m.Tenant, m.TraceParent, m.TraceState} {
		ok = ok && utf8.ValidString(s)
	}
	for k, v := range m.Extra {
		ok = ok && utf8.ValidString(k) && utf8.ValidString(v)
	}
	if !ok {
		return ErrMetadataText
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
