package oracle

import (
	"fmt"
	"slices"
	"sort"

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
	if page.After != r.cursor {
		r.find(Behind, "asked after %d, was answered after %d", r.cursor, page.After)
	}
	at := page.After
	for _, e := range page.Events {
		if e.Position <= at {
			r.find(Behind, "%s came at or before %d", e, at)
		}
		at = e.Position
		if !selects(r.query, e.Stream.Category, e.Name) {
			r.find(Stray, "%s is not selected", e)
		}
		r.take(Note(e).place())
	}
	if page.Next < at {
		r.find(Behind, "the next page begins behind %d, the last event is at %d", page.Next, at)
	}
	for r.again < len(r.got) && r.got[r.again].position <= page.Next {
		r.find(Reread, "read again, without %s", r.got[r.again])
		r.again++
	}
	r.cursor = page.Next
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
