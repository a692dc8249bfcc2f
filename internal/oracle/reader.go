package oracle

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Reader is one reader of the log, from the beginning to the end of the run.
type Reader struct {
	name   string
	query  eventstore.LogQuery
	cursor event.Position
	got    []place
	// again is where in got the reader is after a restart: what it had been
	// given behind its cursor must come a second time, as it came before.
	again    int
	findings []Finding
}

// place is what the oracle keeps of an event that a reader was given.
type place struct {
	position event.Position
	version  event.Version
	id       event.ID
	sum      sum
}

func (e Event) place() place { return place{e.Position, e.Version, e.ID, e.sum} }

func (p place) String() string {
	return fmt.Sprintf("position %d: version %d, id %s, content %x", p.position, p.version, p.id, p.sum)
}

// Reader adds a reader. The query's Categories and Names say what it selects; its
// After is where it begins, usually 0.
func (h *History) Reader(name string, query eventstore.LogQuery) *Reader {
	r := &Reader{name: name, query: query, cursor: query.After}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers = append(h.readers, r)
	return r
}

// Query returns the query for the reader's next page.
func (r *Reader) Query() eventstore.LogQuery {
	q := r.query
	q.After = r.cursor
	return q
}

// Cursor returns the position behind which the reader goes on.
func (r *Reader) Cursor() event.Position { return r.cursor }

// Events returns how many different events the reader was given.
func (r *Reader) Events() int { return len(r.got) }

// Page notes a page that the reader was given.
func (r *Reader) Page(page eventstore.Page) {
	events := make([]Event, 0, len(page.Events))
	for _, e := range page.Events {
		events = append(events, Note(e))
	}
	r.page(page.After, page.Next, events)
}

func (r *Reader) page(after, next event.Position, events []Event) {
	if after != r.cursor {
		r.find(Behind, "asked after %d, was answered after %d", r.cursor, after)
	}
	at := after
	for _, e := range events {
		if e.Position <= at {
			r.find(Behind, "%s@%d at position %d came at or before %d", e.Stream, e.Version, e.Position, at)
		}
		at = e.Position
		if !selects(r.query, e.Stream.Category, e.Name) {
			r.find(Stray, "%s@%d, %s, is not selected", e.Stream, e.Version, e.Name)
		}
		r.take(e.place())
	}
	if next < at {
		r.find(Behind, "the next page begins behind %d, the last event is at %d", next, at)
	}
	for r.again < len(r.got) && r.got[r.again].position <= next {
		r.find(Reread, "read again, without %s", r.got[r.again])
		r.again++
	}
	r.cursor = next
}

func (r *Reader) take(p place) {
	if r.again == len(r.got) {
		r.got = append(r.got, p)
		r.again++
		return
	}
	if r.got[r.again] != p {
		r.find(Reread, "read again as %s, before as %s", p, r.got[r.again])
	}
	r.again++
}

// Restart notes that the reader goes on from a cursor that it was given before.
func (r *Reader) Restart(cursor event.Position) {
	r.cursor = cursor
	r.again = sort.Search(len(r.got), func(i int) bool { return r.got[i].position > cursor })
}

func (r *Reader) find(c Check, format string, args ...any) {
	r.findings = append(r.findings, Finding{c, "reader " + r.name + ": " + fmt.Sprintf(format, args...)})
}

func selects(q eventstore.LogQuery, category, name string) bool {
	return (len(q.Categories) == 0 || slices.Contains(q.Categories, category)) && (len(q.Names) == 0 || slices.Contains(q.Names, name))
}

func sameSelection(a, b eventstore.LogQuery) bool {
	return a.After == b.After && slices.Equal(a.Categories, b.Categories) && slices.Equal(a.Names, b.Names)
}

// StreamRead is one read of a stream, from its first event on. It belongs to one
// goroutine.
type StreamRead struct {
	history      *History
	stream       event.Stream
	got          []place
	whole        bool
	began, ended time.Duration
}

// BeginRead notes that a stream is about to be read, forward and without a limit.
func (h *History) BeginRead(s event.Stream) *StreamRead {
	r := &StreamRead{history: h, stream: s, began: h.now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
	return r
}

// Got notes an event that the read has yielded.
func (r *StreamRead) Got(e event.Recorded) { r.got = append(r.got, Note(e).place()) }

// End notes that the read is over. Without an error it has seen the whole
// stream.
func (r *StreamRead) End(err error) {
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	r.whole, r.ended = err == nil, r.history.now()
}

// ReadStream reads a stream and notes what it yields.
func (h *History) ReadStream(ctx context.Context, store eventstore.Store, s event.Stream) error {
	r := h.BeginRead(s)
	for e, err := range store.ReadStream(ctx, s, eventstore.StreamQuery{}) {
		if err != nil {
			r.End(err)
			return err
		}
		r.Got(e)
	}
	r.End(nil)
	return nil
}
