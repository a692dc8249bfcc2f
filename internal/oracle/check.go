package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
)

// Check names a promise that a history can break.
type Check string

// The checks.
const (
	// Lost: an append was acknowledged, and an event of it is not stored as given.
	Lost Check = "lost"
	// Phantom: an event is stored that was refused, rolled back, or never sent.
	Phantom Check = "phantom"
	// Torn: of an append without an answer, a part is stored.
	Torn Check = "torn"
	// Dense: the versions of a stream are not 1, 2, 3 and so on.
	Dense Check = "dense"
	// Contiguous: the events of a write are not next to each other in their stream.
	Contiguous Check = "contiguous"
	// Order: in the order of the positions, the versions of a stream do not grow.
	Order Check = "order"
	// Answer: the result of an append is not where its events are.
	Answer Check = "answer"
	// Expectation: an append was stored although its stream did not meet what it
	// expected, or refused although it did.
	Expectation Check = "expectation"
	// Time: an append or a conflict shows a stream as it was before something
	// that had ended when it began.
	Time Check = "time"
	// Missed: a reader was not given an event that it selects.
	Missed Check = "missed"
	// Stray: a reader was given what is not stored so, or what it does not select.
	Stray Check = "stray"
	// Behind: a reader was given an event at or before its cursor, or out of order.
	Behind Check = "behind"
	// Reread: what a reader was given again is not what it was given before.
	Reread Check = "reread"
	// Unequal: two readers of the same selection were given different logs.
	Unequal Check = "unequal"
)

// Finding is one place where a history is not as promised.
type Finding struct {
	Check Check
	Text  string
}

func (f Finding) String() string { return string(f.Check) + ": " + f.Text }

// most is how many findings of a check are told one by one.
const most = 5

// Check holds the history against the events that the database has in the end,
// in the order of their positions. Nobody may append or read any more, and the
// readers must have read to the end. Of each check it returns the first findings,
// and how many more there are.
func (h *History) Check(committed []Event) []Finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{h: h, committed: committed, byID: make(map[event.ID]Event, len(committed))}
	c.table()
	c.outcomes()
	c.times()
	for _, r := range h.readers {
		c.reader(r)
	}
	return c.told()
}

type checker struct {
	h         *History
	committed []Event
	byID      map[event.ID]Event
	findings  []Finding
}

func (c *checker) find(check Check, format string, args ...any) {
	c.findings = append(c.findings, Finding{check, fmt.Sprintf(format, args...)})
}

func (c *checker) told() []Finding {
	count := map[Check]int{}
	var out []Finding
	for _, f := range c.findings {
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
	versions := map[event.Stream][]event.Version{}
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
		have := versions[e.Stream]
		if n := len(have); n > 0 && have[n-1] >= e.Version {
			c.find(Order, "%s@%d at position %d comes after version %d", e.Stream, e.Version, e.Position, have[n-1])
		}
		versions[e.Stream] = append(have, e.Version)
	}
	for s, have := range versions {
		slices.Sort(have)
		for i, v := range have {
			if v != event.Version(i+1) {
				c.find(Dense, "%s has version %d where %d belongs", s, v, i+1)
				break
			}
		}
	}
}

func (c *checker) outcomes() {
	sent := make(map[event.ID]bool, len(c.byID))
	for _, a := range c.h.appends {
		stored, all := 0, 0
		for _, w := range a.writes {
			all += len(w.ids)
			stored += c.write(a, w)
			for _, id := range w.ids {
				sent[id] = true
			}
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
		case ok && a.outcome == refused:
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

// sight is an append or a conflict as a look at one stream. The versions put the
// appends of a stream in an order, and a conflict belongs behind the append whose
// version it saw: the rank. If one sight ended before another began, its rank
// must not be higher. As that fixes the order wholly, it is all that a search
// for some order of the history (linearizability) could find out.
type sight struct {
	rank         int64
	began, ended time.Duration // ended < 0: it was never answered
	what         string
}

func (c *checker) times() {
	sights := map[event.Stream][]sight{}
	ends := map[event.Stream]map[event.Version]bool{}
	for _, a := range c.h.appends {
		for s, v := range c.reached(a) {
			ended := a.ended
			if a.outcome == unknown {
				ended = -1
			}
			sights[s] = append(sights[s], sight{2 * int64(v), a.began, ended, fmt.Sprintf("the append of version %d", v)})
			if ends[s] == nil {
				ends[s] = map[event.Version]bool{0: true}
			}
			ends[s][v] = true
		}
	}
	for _, a := range c.h.appends {
		if a.conflict == nil || a.outcome != refused {
			continue
		}
		s, v := a.conflict.Stream, a.conflict.Actual
		if a.conflict.Expected.Allows(v) {
			c.find(Expectation, "%v: that is what it expected", a.conflict)
		}
		if v != 0 && !ends[s][v] {
			c.find(Time, "%v: no append ended there", a.conflict)
			continue
		}
		sights[s] = append(sights[s], sight{2*int64(v) + 1, a.began, a.ended, fmt.Sprintf("the conflict at version %d", v)})
	}
	for s, of := range sights {
		c.inTime(s, of)
	}
}

// reached returns the version that an append has brought each stream to, if it
// is stored.
func (c *checker) reached(a *Append) map[event.Stream]event.Version {
	if a.outcome == refused {
		return nil
	}
	out := map[event.Stream]event.Version{}
	for _, w := range a.writes {
		if w.result.Repeated || len(w.ids) == 0 {
			continue
		}
		if e, ok := c.byID[w.ids[len(w.ids)-1]]; ok {
			out[w.stream] = max(out[w.stream], e.Version)
		}
	}
	return out
}

func (c *checker) inTime(s event.Stream, sights []sight) {
	ended := slices.Clone(sights)
	ended = slices.DeleteFunc(ended, func(x sight) bool { return x.ended < 0 })
	slices.SortFunc(ended, func(a, b sight) int { return cmp.Compare(a.ended, b.ended) })
	slices.SortFunc(sights, func(a, b sight) int { return cmp.Compare(a.began, b.began) })
	highest := sight{rank: -1}
	for _, x := range sights {
		for len(ended) > 0 && ended[0].ended < x.began {
			if ended[0].rank > highest.rank {
				highest = ended[0]
			}
			ended = ended[1:]
		}
		if x.rank < highest.rank {
			c.find(Time, "%s: %s began when %s had ended", s, x.what, highest.what)
		}
	}
}

func (c *checker) reader(r *Reader) {
	c.findings = append(c.findings, r.findings...)
	got := r.got
	for _, e := range c.committed {
		if e.Position <= r.query.After || !selects(r.query, e.Stream.Category, e.Name) {
			continue
		}
		for len(got) > 0 && got[0].position < e.Position {
			c.find(Stray, "reader %s was given what is not stored: %s", r.name, got[0])
			got = got[1:]
		}
		switch {
		case len(got) == 0 || got[0].position > e.Position:
			c.find(Missed, "reader %s was not given %s@%d at position %d, and is behind %d", r.name, e.Stream, e.Version, e.Position, r.cursor)
		case got[0] != e.place():
			c.find(Stray, "reader %s was given %s, stored is %s", r.name, got[0], e.place())
			got = got[1:]
		default:
			got = got[1:]
		}
	}
	for _, p := range got {
		c.find(Stray, "reader %s was given what is not stored: %s", r.name, p)
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
