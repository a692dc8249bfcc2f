package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/annals-go/annals/event"
)

// most is how many findings of a check are told one by one.
const most = 5

// Check holds the history against the events that the database has in the end,
// in the order of their positions. Nobody may append or read any more, and the
// readers must have read to the end. Of each check it returns the first findings,
// and how many more there are.
func (h *History) Check(committed []Event) []Finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{
		h: h, committed: committed, byID: make(map[event.ID]Event, len(committed)),
		streams: map[event.Stream][]Event{}, open: map[event.ID]bool{},
	}
	c.table()
	c.outcomes()
	c.linear()
	for _, r := range h.readers {
		c.reader(r)
	}
	return c.told()
}

type checker struct {
	report
	h         *History
	committed []Event
	byID      map[event.ID]Event
	streams   map[event.Stream][]Event // the committed ones, in the order of the versions
	open      map[event.ID]bool        // of appends without an answer
}

// report collects findings.
type report struct{ findings []Finding }

func (r *report) find(check Check, format string, args ...any) {
	r.findings = append(r.findings, Finding{check, fmt.Sprintf(format, args...)})
}

// told returns the first findings of each check, and how many more there are.
func (r *report) told() []Finding {
	count := map[Check]int{}
	var out []Finding
	for _, f := range r.findings {
		if count[f.Check]++; count[f.Check] <= most {
			out = append(out, f)
		}
	}
	for _, check := range slices.Sorted(maps.Keys(count)) {
		if n := count[check]; n > most {
			out = append(out, Finding{check, fmt.Sprintf("and %d more", n-most)})
		}
	}
	return out
}

func (c *checker) table() {
	last := event.Position(0)
	for _, e := range c.committed {
		if e.Position <= last {
			c.find(Order, "%s@%d is at position %d, behind %d", e.Stream, e.Version, e.Position, last)
		}
		last = e.Position
		if _, twice := c.byID[e.ID]; twice {
			c.find(Phantom, "%s@%d: id %s is stored twice", e.Stream, e.Version, e.ID)
		}
		c.byID[e.ID] = e
		have := c.streams[e.Stream]
		if n := len(have); n > 0 && have[n-1].Version >= e.Version {
			c.find(Order, "%s@%d at position %d comes after version %d", e.Stream, e.Version, e.Position, have[n-1].Version)
		}
		c.streams[e.Stream] = append(have, e)
	}
	for s, have := range c.streams {
		slices.SortStableFunc(have, func(a, b Event) int { return cmp.Compare(a.Version, b.Version) })
		for i, e := range have {
			if e.Version != event.Version(i+1) {
				c.find(Dense, "%s has version %d where %d belongs", s, e.Version, i+1)
				break
			}
		}
	}
}

func (c *checker) outcomes() {
	sent := make(map[event.ID]bool, len(c.byID))
	for _, a := range c.h.appends {
		for _, w := range a.writes {
			for _, id := range w.ids {
				sent[id] = true
				c.open[id] = c.open[id] || a.outcome == unknown
			}
		}
	}
	for _, a := range c.h.appends {
		stored, all := 0, 0
		for _, w := range a.writes {
			all += len(w.ids)
			stored += c.write(a, w)
		}
		if a.outcome == unknown && stored != 0 && stored != all {
			c.find(Torn, "%d of %d events of an append to %s are stored", stored, all, a.writes[0].stream)
		}
	}
	for _, e := range c.committed {
		if !sent[e.ID] {
			c.find(Phantom, "%s@%d with id %s was never sent", e.Stream, e.Version, e.ID)
		}
	}
}

// write returns how many of the events are stored.
func (c *checker) write(a *Append, w write) (stored int) {
	var first, last Event
	for i, id := range w.ids {
		e, ok := c.byID[id]
		switch {
		case !ok && a.outcome == acked:
			c.find(Lost, "event %d of %d to %s, with id %s", i+1, len(w.ids), w.stream, id)
		case ok && a.outcome == refused && (a.conflict != nil || !c.open[id]):
			// An error that is no answer of the model says nothing of an earlier append
			// with the same ids, which had no answer.
			c.find(Phantom, "%s@%d with id %s was refused or rolled back", e.Stream, e.Version, id)
		case ok && e.sum != w.sums[i]:
			c.find(Lost, "%s@%d with id %s is stored with other content, or in another stream", e.Stream, e.Version, id)
		}
		if !ok {
			continue
		}
		if stored++; stored == 1 {
			first = e
		} else if e.Version != last.Version+1 {
			c.find(Contiguous, "%s: event %d of %d is at version %d, behind %d", e.Stream, i+1, len(w.ids), e.Version, last.Version)
		}
		last = e
	}
	if stored != len(w.ids) || stored == 0 || a.outcome == refused || w.result.Repeated {
		return stored
	}
	if before := first.Version - 1; !w.expect.Allows(before) {
		c.find(Expectation, "append to %s behind version %d, expected %s", w.stream, before, w.expect)
	}
	if r := w.result; a.outcome == acked && (r.Version != last.Version || r.Position != last.Position) {
		c.find(Answer, "append to %s was answered version %d at %d, is version %d at %d", w.stream, r.Version, r.Position, last.Version, last.Position)
	}
	return stored
}

func (c *checker) reader(r *Reader) {
	c.findings = append(c.findings, r.findings...)
	got := r.got
	for _, e := range c.committed {
		if e.Position <= r.query.After || !selects(r.query, e.Stream.Category, e.Name) {
			continue
		}
		for len(got) > 0 && got[0].position < e.Position {
			c.stray(r, got[0])
			got = got[1:]
		}
		switch {
		case len(got) == 0 || got[0].position > e.Position:
			c.find(Missed, "reader %s was not given %s@%d at position %d, and is behind %d", r.name, e.Stream, e.Version, e.Position, r.cursor)
		case got[0] != e.place():
			c.find(c.strayed(got[0].id), "reader %s was given %s, stored is %s", r.name, got[0], e.place())
			got = got[1:]
		default:
			got = got[1:]
		}
	}
	for _, p := range got {
		c.stray(r, p)
	}
	for _, other := range c.h.readers {
		if other == r {
			break
		}
		if sameSelection(other.query, r.query) && !slices.Equal(other.got, r.got) {
			c.find(Unequal, "readers %s and %s: %d and %d events", other.name, r.name, len(other.got), len(r.got))
		}
	}
}

func (c *checker) stray(r *Reader, p place) {
	c.find(c.strayed(p.id), "reader %s was given what is not stored: %s", r.name, p)
}

// strayed is the check for an event that a reader should not have been given.
func (c *checker) strayed(id event.ID) Check {
	if c.open[id] {
		return Unsettled
	}
	return Stray
}
