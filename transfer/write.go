package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// WriteOption changes what Write writes.
type WriteOption func(*writeConfig)

type writeConfig struct {
	query    eventstore.LogQuery
	upto     event.Position
	stream   *event.Stream
	store    string
	progress func(Summary)
	timeout  time.Duration
	now      func() time.Time
}

// WithSelection writes the events after a position, and only those of the
// categories and names, if there are any. Default: all. A selection by name
// leaves holes in streams, so such a file is for reading: Check refuses it.
func WithSelection(after event.Position, categories, names []string) WriteOption {
	return func(c *writeConfig) {
		c.query.After, c.query.Categories, c.query.Names = after, categories, names
	}
}

// WithLast ends after the events up to the position. Default: the newest one
// there is when Write begins, which is also the most.
func WithLast(p event.Position) WriteOption { return func(c *writeConfig) { c.upto = p } }

// WithOneStream writes the events of one stream alone. It reads the log of its
// category. Default: all streams.
func WithOneStream(s event.Stream) WriteOption {
	return func(c *writeConfig) { c.stream, c.query.Categories = &s, []string{s.Category} }
}

// WithStore writes the incarnation of the store, a UUID, into the header.
// Default: it is left out.
func WithStore(incarnation string) WriteOption { return func(c *writeConfig) { c.store = incarnation } }

// WithWriteProgress calls fn after each page. Default: nobody is told.
func WithWriteProgress(fn func(Summary)) WriteOption {
	return func(c *writeConfig) { c.progress = fn }
}

// WithPageTimeout bounds the read of each page, and how long Write waits for an
// open append that holds its readers up: then the error is ErrHeld. Default
// 1 min, at least 1 ms. Raise it where transactions that append stay open longer.
func WithPageTimeout(d time.Duration) WriteOption {
	return func(c *writeConfig) { c.timeout = max(d, time.Millisecond) }
}

// Summary says what Write has written.
type Summary struct {
	Events int64
	// LastPosition is that of the last event, 0 if there is none.
	LastPosition event.Position
	// Head is where Write ends.
	Head event.Position
	// Read is how far it has read: everything up to there is in the file, as far as
	// it is selected.
	Read event.Position
	// Bytes are those of the text, before any compression.
	Bytes int64
	// SHA256 is the sum of the trailer.
	SHA256 [32]byte
}

// Write writes the events of a log as package transfer says, and returns how
// many. It ends at the newest event that there was when it began: where an open
// append holds its readers up before that, it waits. It holds one page of events.
// What it has written without an error is a whole
// file; after an error there is no trailer, and Check refuses what is there.
func Write(ctx context.Context, w io.Writer, log eventstore.Log, opts ...WriteOption) (Summary, error) {
	c := writeConfig{timeout: time.Minute, now: time.Now}
	for _, o := range opts {
		o(&c)
	}
	s, err := c.write(ctx, w, log)
	if err != nil {
		return s, fmt.Errorf("export log: %w", err)
	}
	return s, nil
}

func (c *writeConfig) write(ctx context.Context, w io.Writer, log eventstore.Log) (Summary, error) {
	head, err := log.Head(ctx)
	if err != nil {
		return Summary{}, err
	}
	if c.upto > 0 {
		head = min(head, c.upto)
	}
	e := &encoder{w: bufio.NewWriterSize(w, 256<<10), sum: sha256.New()}
	s := Summary{Head: head, Read: c.query.After}
	if err := e.write(e.header(c.store, c.now())); err != nil {
		return s, err
	}
	moved := c.now()
	for q := c.query; q.After < head; {
		page, err := c.page(ctx, log, q)
		if err != nil {
			return s, err
		}
		for i := range page.Events {
			r := &page.Events[i]
			if r.Position > head || c.stream != nil && r.Stream != *c.stream {
				continue
			}
			line, err := e.event(r)
			if err != nil {
				return s, err
			}
			if err := e.write(line); err != nil {
				return s, err
			}
			s.Events, s.LastPosition, s.Bytes = s.Events+1, r.Position, e.written
		}
		s.Read = min(page.Next, head)
		if c.progress != nil {
			c.progress(s)
		}
		if page.Next > q.After {
			q.After, moved = page.Next, c.now()
			continue
		}
		if c.now().Sub(moved) > c.timeout {
			return s, fmt.Errorf("%w: it stands at position %d for %v, the newest is %d", ErrHeld, q.After, c.timeout, head)
		}
		if err := log.Wait(ctx, q.After); err != nil {
			return s, err
		}
	}
	e.sum.Sum(s.SHA256[:0])
	err = e.write(fmt.Appendf(e.line[:0], `{"events":%d,"last_position":%d,"sha256":"%x"}`, s.Events, s.LastPosition, s.SHA256))
	s.Bytes = e.written
	if err != nil {
		return s, err
	}
	return s, e.w.Flush()
}

func (c *writeConfig) page(ctx context.Context, log eventstore.Log, q eventstore.LogQuery) (eventstore.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return log.ReadLog(ctx, q)
}

// encoder writes lines and sums them up.
type encoder struct {
	w       *bufio.Writer
	sum     hash.Hash
	line    []byte
	written int64
	scan    scanner
}

func (e *encoder) write(line []byte) error {
	line = append(line, '\n')
	e.line = line            // its room is used again
	_, _ = e.sum.Write(line) // never fails
	e.written += int64(len(line))
	_, err := e.w.Write(line)
	return err
}

func (e *encoder) header(store string, now time.Time) []byte {
	b := fmt.Appendf(e.line[:0], `{"format":%q,"format_version":%d`, formatName, formatVersion)
	if store != "" {
		b = append(b, `,"store":`...)
		b = appendText(b, store)
	}
	return fmt.Appendf(b, `,"written_time":"%s"}`, now.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano))
}

func (e *encoder) event(r *event.Recorded) ([]byte, error) {
	metadata, err := json.Marshal(r.Metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", r, err)
	}
	b := e.line[:0]
	b = append(b, `{"position":`...)
	b = strconv.AppendInt(b, int64(r.Position), 10)
	b = append(b, `,"stream":`...)
	b = appendText(b, r.Stream.String())
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, int64(r.Version), 10)
	b = append(b, `,"id":"`...)
	b = append(b, r.Metadata.ID.String()...)
	b = append(b, `","name":`...)
	b = appendText(b, r.Name)
	b = append(b, `,"schema":`...)
	b = strconv.AppendInt(b, int64(r.Schema), 10)
	b = append(b, `,"recorded_time":"`...)
	b = r.RecordedTime.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","metadata":`...)
	b = appendEscaped(b, metadata)
	b = append(b, `,"content_type":`...)
	b = appendText(b, r.ContentType)
	if r.Closes {
		b = append(b, `,"closes":true`...)
	}
	b = e.payload(b, r.Payload)
	return append(b, '}'), nil
}

// payload takes the first form that keeps every byte: as JSON, if nothing in it
// has to be escaped; as a text, unless base64 is shorter.
func (e *encoder) payload(b, payload []byte) []byte {
	graphic, text := true, utf8.Valid(payload)
	for i := 0; text && graphic && i < len(payload); {
		r, n := utf8.DecodeRune(payload[i:])
		graphic = isPlain(r)
		i += n
	}
	if text && graphic {
		e.scan.reset(payload)
		if value, err := e.scan.raw(true); err == nil && len(value) == len(payload) && payload[0] != ' ' {
			return append(append(b, `,"payload":`...), payload...)
		}
	}
	if text {
		with := appendText(append(b, `,"payload_text":`...), string(payload))
		if len(with)-len(b) <= base64.StdEncoding.EncodedLen(len(payload))+len(`,"payload_base64":""`) || len(payload) < 64 {
			return with
		}
	}
	b = append(b, `,"payload_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, payload)
	return append(b, '"')
}

// isPlain reports a character that no terminal acts on.
func isPlain(r rune) bool {
	return ' ' <= r && r < 0x7f || r > 0x7f && unicode.IsGraphic(r)
}

// appendText appends a valid text as a JSON string.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		if r == '"' || r == '\\' {
			b = append(b, '\\')
		}
		b = appendRune(b, r)
	}
	return append(b, '"')
}

// appendEscaped appends valid JSON: what has to be escaped in it is in a string.
func appendEscaped(b, json []byte) []byte {
	for _, r := range string(json) {
		b = appendRune(b, r)
	}
	return b
}

func appendRune(b []byte, r rune) []byte {
	switch {
	case isPlain(r):
		return utf8.AppendRune(b, r)
	case r == '\n':
		return append(b, `\n`...)
	case r == '\t':
		return append(b, `\t`...)
	case r <= 0xffff:
		return fmt.Appendf(b, `\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
}
