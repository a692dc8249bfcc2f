package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// DefaultMaxBytes is the size of a file, decompressed, that Check refuses to
// exceed unless WithMaxBytes says otherwise: 64 GiB.
const DefaultMaxBytes = 64 << 30

// CheckOption changes what Check accepts.
type CheckOption func(*checkConfig) error

// maxFirsts is how many first events of streams are kept in memory: about 12 MiB.
const maxFirsts = 32 << 10

type checkConfig struct {
	maxBytes int64
	dir      string
	progress func(Progress)
	sorted   int // records in memory; for tests
}

// WithMaxBytes bounds the file, decompressed. Default DefaultMaxBytes, at least 1.
// It bounds the temporary files too: 80 bytes for each event.
func WithMaxBytes(n int64) CheckOption {
	return func(c *checkConfig) error {
		if n < 1 {
			return fmt.Errorf("option WithMaxBytes: %d: want at least 1", n)
		}
		c.maxBytes = n
		return nil
	}
}

// WithTempDir sets where temporary files lie; they are removed when Check
// returns. Default: the directory of the system.
func WithTempDir(dir string) CheckOption {
	return func(c *checkConfig) error {
		c.dir = dir
		return nil
	}
}

// Progress is how far a check has come.
type Progress struct {
	Events int64
	Bytes  int64 // decompressed
}

// WithCheckProgress calls fn after each few thousand events. Default: nobody is told.
func WithCheckProgress(fn func(Progress)) CheckOption {
	return func(c *checkConfig) error {
		c.progress = fn
		return nil
	}
}

// Checked is a file that Check has found whole. It is safe for concurrent use;
// the file is read again by each call.
type Checked struct {
	Header Header
	// SHA256 is that of the trailer, and names the content of the file.
	SHA256 [sha256.Size]byte
	// Events, Streams and Bytes, decompressed, are how many there are.
	Events, Streams, Bytes int64
	// LastPosition is that of the last event, 0 if there is none.
	LastPosition event.Position
	// FirstTime is the recorded time of the first event, LatestTime the latest of all.
	FirstTime, LatestTime time.Time
	// BackLine is the first line whose recorded time is more than TimeSlack before
	// an earlier one, 0 if there is none.
	BackLine int64

	src   Source
	first bits   // by line: the first of its stream
	later bits   // by line: of a stream that does not begin at version 1
	marks []mark // the ends of chunks
	// firsts are the first events, if they are few enough and no stream begins
	// later: then FirstRows needs no file.
	firsts []Row
	// plain: all metadata are spelled as they are stored.
	plain bool
}

// mark is a place of the file, and the sum of all bytes up to there.
type mark struct {
	line int64
	sum  [sha256.Size]byte
}

// Check reads a file from beginning to end and says what is wrong with it. It
// touches no store. Memory is bounded as the package says.
//
// Errors: *Error (ErrRefused), those of the source, and that of ctx.
func Check(ctx context.Context, src Source, opts ...CheckOption) (*Checked, error) {
	c := &checker{config: checkConfig{maxBytes: DefaultMaxBytes}, out: &Checked{src: src, plain: true}}
	for _, o := range opts {
		if err := o(&c.config); err != nil {
			return nil, err
		}
	}
	c.parser.strict = true
	c.streams = map[event.Stream]struct{}{}
	c.versions = sorter{dir: c.config.dir, most: c.config.sorted}
	c.ids = sorter{dir: c.config.dir, most: c.config.sorted}
	defer c.versions.close()
	defer c.ids.close()
	err := c.scan(ctx, src)
	if err == nil {
		err = c.merge(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("check file: %w", err)
	}
	return c.out, nil
}

type checker struct {
	config    checkConfig
	parser    parser
	canonical parser
	out       *Checked
	versions  sorter // stream, line, version, closes
	ids       sorter // stream, id, line
	row       Row
	streams   map[event.Stream]struct{} // those in out.firsts; nil: there are too many
}

// scan looks at each line by itself, and at what the lines have in common that
// needs no memory.
func (c *checker) scan(ctx context.Context, src Source) error {
	l, err := openLines(ctx, src, c.config.maxBytes)
	if err != nil {
		return err
	}
	defer func() { _ = l.close() }()
	end, err := c.lines(l)
	var refused *Error
	if errors.As(err, &refused) && refused.Line == 0 {
		refused.Line = l.n
		if refused.Stream == (event.Stream{}) && c.row.Line == l.n {
			refused.Stream = c.row.Stream
		}
	}
	if err != nil {
		return err
	}
	c.out.SHA256, c.out.Bytes = end.sum, l.bytes
	return nil
}

func (c *checker) lines(l *lines) (*trailer, error) {
	line, err := l.next()
	if errors.Is(err, io.EOF) {
		return nil, refuse("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	header, refused := c.parser.header(line)
	if refused != nil {
		return nil, refused
	}
	c.out.Header = header
	l.count()
	chunk, began := int64(0), l.bytes
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return nil, refuse("the file ends without the trailer").remedy(cutRemedy)
		}
		if err != nil {
			return nil, err
		}
		c.row.Line = l.n
		end, refused := c.parser.line(line, &c.row)
		if refused != nil {
			return nil, refused
		}
		if end != nil {
			c.row.Line = 0
			return end, c.end(l, end)
		}
		if err := c.event(&c.row); err != nil {
			return nil, err
		}
		l.count()
		if chunk++; chunk == chunkEvents || l.bytes-began >= chunkBytes {
			c.mark(l)
			chunk, began = 0, l.bytes
		}
	}
}

func (c *checker) mark(l *lines) {
	c.out.marks = append(c.out.marks, mark{l.n, l.total()})
	if c.config.progress != nil {
		c.config.progress(Progress{c.out.Events, l.bytes})
	}
}

// end compares the trailer with what was read.
func (c *checker) end(l *lines, end *trailer) error {
	switch {
	case end.events != c.out.Events:
		return refuse("the trailer says %d events, the file has %d", end.events, c.out.Events).remedy(cutRemedy)
	case end.lastPosition != c.out.LastPosition:
		return refuse("the trailer says last position %d, the file has %d", end.lastPosition, c.out.LastPosition).remedy(cutRemedy)
	case end.sum != l.total():
		return refuse("the trailer says sha256 %x, the lines before it have %x", end.sum, l.total()).remedy(cutRemedy)
	}
	if n := len(c.out.marks); c.out.Events > 0 && (n == 0 || c.out.marks[n-1].line < l.n-1) {
		c.out.marks = append(c.out.marks, mark{l.n - 1, l.total()})
	}
	at := l.n
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		var refused *Error
		if err != nil && !errors.As(err, &refused) {
			return err
		}
		if refused != nil && refused.Reason != "the file ends within the line" {
			return err // such as what follows a gzip
		}
		l.n = at + 1
		return refuse("the file goes on after the trailer").remedy("two files are not one: import them one after the other")
	}
	l.n = at
	return nil
}

// event looks at one event by itself, and at the one before it in the file.
func (c *checker) event(row *Row) error {
	switch {
	case row.Position < 1 || row.Position > MaxPosition:
		return refuse("position is %d, want 1 to %d", row.Position, MaxPosition)
	case row.Position <= c.out.LastPosition:
		return refuse("position %d follows %d, want them to grow", row.Position, c.out.LastPosition).remedy("lines were reordered or repeated: export again")
	case row.Version < 1 || row.Version > event.Version(MaxPosition):
		return refuse("version is %d, want 1 to %d", row.Version, MaxPosition)
	case row.ID == event.ID{}:
		return refuse("id is zero, want a UUID that is none other's")
	}
	if err := c.prepare(row); err != nil {
		return err
	}
	if c.out.Events == 0 {
		c.out.FirstTime = row.RecordedTime
	}
	if c.out.BackLine == 0 && row.RecordedTime.Before(c.out.LatestTime.Add(-TimeSlack)) {
		c.out.BackLine = row.Line
	}
	if row.RecordedTime.After(c.out.LatestTime) {
		c.out.LatestTime = row.RecordedTime
	}
	c.out.Events++
	c.out.LastPosition = row.Position
	c.keepFirst(row)

	sum := sha256.Sum256([]byte(row.Stream.String()))
	var r record
	copy(r[:16], sum[:])
	binary.BigEndian.PutUint64(r[16:], uint64(row.Line))
	binary.BigEndian.PutUint64(r[24:], uint64(row.Version))
	if row.Closes {
		r[32] = 1
	}
	if err := c.versions.add(r); err != nil {
		return err
	}
	copy(r[16:32], row.ID[:])
	binary.BigEndian.PutUint64(r[32:], uint64(row.Line))
	return c.ids.add(r)
}

// keepFirst remembers the first events of streams, until there are too many, or
// one is not the first of its stream ever.
func (c *checker) keepFirst(row *Row) {
	if c.streams == nil {
		return
	}
	if _, ok := c.streams[row.Stream]; ok {
		return
	}
	if len(c.streams) == maxFirsts || row.Version != 1 {
		c.streams, c.out.firsts = nil, nil
		return
	}
	c.streams[row.Stream] = struct{}{}
	c.out.firsts = append(c.out.firsts, Row{
		Line: row.Line, Position: row.Position, Stream: row.Stream, Version: row.Version, ID: row.ID, RecordedTime: row.RecordedTime, First: true,
	})
}

// prepare holds an event against every limit of an append.
func (c *checker) prepare(row *Row) error {
	m, refused := c.canonical.metadata(row.Metadata)
	if refused != nil {
		return refused
	}
	m.ID = row.ID
	prepared, err := eventstore.Prepare(row.Stream, []event.Raw{{
		Name: row.Name, Schema: row.Schema, ContentType: row.ContentType, Payload: row.Payload, Metadata: m, Closes: row.Closes,
	}})
	if err != nil {
		return refuseEvent(err)
	}
	c.out.plain = c.out.plain && string(prepared[0].StoredMetadata) == string(row.Metadata)
	return nil
}

func refuseEvent(err error) *Error {
	var (
		limit *eventstore.LimitError
		name  *event.NameError
		e     *Error
	)
	switch {
	case errors.As(err, &limit):
		e = refuse("%s: %d, at most %d", limit.What, limit.Got, limit.Max)
	case errors.As(err, &name):
		e = refuse("%v", name)
	case errors.Is(err, eventstore.ErrMetadataTime):
		e = refuse("metadata: %v", eventstore.ErrMetadataTime)
	default:
		e = refuse("%v", err)
	}
	e.Cause = err
	return e
}

// metadataKeys are those of the stored form.
var metadataKeys = map[string]int{
	"correlation": 1, "causation": 2, "actor": 4, "tenant": 8, "event_time": 16, "traceparent": 32, "tracestate": 64, "extra": 128,
}

// metadata reads metadata, and refuses what would not be read back as it is.
func (p *parser) metadata(b []byte) (m event.Metadata, err *Error) {
	if string(b) == "{}" {
		return m, nil
	}
	p.reset(b)
	seen := 0
	err = p.object(func(key []byte) *Error {
		bit, ok := metadataKeys[string(key)]
		if !ok {
			return refuse("metadata: unknown key %s", shown(key)).remedy("keys of your own belong under extra")
		}
		if seen&bit != 0 {
			return refuse("metadata: key %s comes twice", shown(key))
		}
		seen |= bit
		if bit == 128 {
			extra := map[string]bool{}
			return p.object(func(key []byte) *Error {
				if extra[string(key)] {
					return refuse("metadata: extra key %s comes twice", shown(key))
				}
				extra[string(key)] = true
				_, err := p.text()
				return err
			})
		}
		_, err := p.text()
		return err
	})
	if err != nil {
		return m, err
	}
	if jsonErr := json.Unmarshal(b, &m); jsonErr != nil {
		return m, refuse("metadata: event_time is no time such as 2026-01-31T09:00:00Z")
	}
	return m, nil
}

// bits is a set of lines.
type bits []uint64

func (b *bits) set(n int64) {
	for int64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bits) has(n int64) bool { return n/64 < int64(len(b)) && b[n/64]&(1<<(n%64)) != 0 }
