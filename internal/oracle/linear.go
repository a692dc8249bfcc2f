package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// sight is an operation as a look at one stream: an append, a conflict, a
// repeat or a read. The model of a stream is its version. Each operation says
// which version it left or saw: an append that was acknowledged by its answer,
// one without an answer by where it is stored. If it is not stored it has had
// no effect, and is no sight.
type sight struct {
	kind         sightKind
	steps        []step        // of an append
	version      event.Version // left by an append, seen by the others
	expect       eventstore.Expect
	began, ended time.Duration
	// place among those that saw the same version, in the order in which they
	// began. One order explains them if any does, so no other is searched.
	place int
}

type sightKind int

const (
	appended sightKind = iota
	repeated           // the stream is at the version or behind it
	refusal            // a conflict
	seen               // a read to the end
)

// step is one write of an append: a transaction may have several to one stream.
type step struct {
	expect eventstore.Expect
	events int
}

// never is the end of an operation that nobody has heard of again.
const never = time.Duration(math.MaxInt64)

// rank puts the sights of a stream in an order: what saw a version comes behind
// the append that left it. A repeat has a place behind that too, but no last one.
func (s sight) rank() int64 {
	if s.kind == appended {
		return 2 * int64(s.version)
	}
	return 2*int64(s.version) + 1
}

func (s sight) String() string {
	switch s.kind {
	case repeated:
		return fmt.Sprintf("the repeat of version %d", s.version)
	case refusal:
		return fmt.Sprintf("the conflict at version %d", s.version)
	case seen:
		return fmt.Sprintf("the read of version %d", s.version)
	case appended:
	}
	return fmt.Sprintf("the append of version %d", s.version)
}

// state is where a stream is in a search: at a version, and how many of those
// that saw it have been placed. The next append must wait for the rest: the
// version never comes again.
type state struct {
	version event.Version
	placed  int
}

// linear searches, for each stream, for an order of its operations that explains
// all answers and does not contradict time: an operation that ended before
// another began comes before it.
func (c *checker) linear() {
	for s, of := range c.sights() {
		words := c.inTime(s, of)
		verdict := search(of, c.h.search)
		switch {
		case verdict == porcupine.Unknown:
			c.find(Linear, "%s: no order of %d operations was found in %v", s, len(of), c.h.search)
		case verdict == porcupine.Illegal && !words:
			c.find(Linear, "%s: no order of %d operations explains their answers", s, len(of))
		}
	}
}

// sights returns the operations of each stream.
func (c *checker) sights() map[event.Stream][]sight {
	out := map[event.Stream][]sight{}
	slices.SortStableFunc(c.h.appends, func(a, b *Append) int { return cmp.Compare(a.began, b.began) })
	anew := map[event.ID]bool{} // what was appended by an operation that is a sight
	for _, a := range c.h.appends {
		for i, w := range a.writes {
			if len(w.ids) == 0 || a.outcome != acked {
				continue
			}
			if w.result.Repeated && !c.open[w.ids[0]] && !anew[w.ids[0]] {
				a.writes[i].resent = true // it repeats itself: the call has sent it more than once
			}
			if !w.result.Repeated || a.writes[i].resent {
				anew[w.ids[0]] = true
			}
		}
	}
	for _, a := range c.h.appends {
		if a.outcome == refused {
			if x := a.conflict; x != nil {
				if x.Expected.Allows(x.Actual) {
					c.find(Expectation, "%v: that is what it expected", x)
				}
				out[x.Stream] = append(out[x.Stream], sight{kind: refusal, expect: x.Expected, version: x.Actual, began: a.began, ended: a.ended})
			}
			continue
		}
		for s, x := range c.left(a, anew) {
			out[s] = append(out[s], x)
		}
	}
	for _, r := range c.h.reads {
		c.content(r)
		if r.whole {
			out[r.stream] = append(out[r.stream], sight{kind: seen, version: event.Version(len(r.got)), began: r.began, ended: r.ended})
		}
	}
	return out
}

// left returns what an append that was not refused did to each of its streams.
func (c *checker) left(a *Append, anew map[event.ID]bool) map[event.Stream]sight {
	out := map[event.Stream]sight{}
	for _, w := range a.writes {
		if len(w.ids) == 0 {
			continue
		}
		x := out[w.stream]
		x.began, x.ended = a.began, a.ended
		switch {
		case a.outcome == unknown:
			e, stored := c.byID[w.ids[len(w.ids)-1]]
			if !stored || anew[w.ids[0]] { // it was sent again, and that stored it
				continue
			}
			anew[w.ids[0]] = true // of several without an answer, the one that began first
			x.version, x.ended = e.Version, never
		case w.result.Repeated && !w.resent:
			x.kind, x.version = repeated, w.result.Version
		default:
			x.version = w.result.Version
		}
		x.steps = append(x.steps, step{w.expect, len(w.ids)})
		out[w.stream] = x
	}
	return out
}

// content holds what a read of a stream yielded against what is stored.
func (c *checker) content(r *StreamRead) {
	stored := c.streams[r.stream]
	for i, p := range r.got {
		if p.version != event.Version(i+1) {
			c.find(Order, "a read of %s yielded version %d where %d belongs", r.stream, p.version, i+1)
			return
		}
		if i >= len(stored) || stored[i].place() != p {
			c.find(c.strayed(p.id), "a read of %s yielded what is not stored so: %s", r.stream, p)
			return
		}
	}
}

// inTime looks for operations that saw, or left, an earlier version than one
// that had ended before they began: the most common reason why there is no
// order, in words.
func (c *checker) inTime(s event.Stream, sights []sight) (found bool) {
	left := map[event.Version]bool{0: true}
	for _, x := range sights {
		if x.kind != appended {
			continue
		}
		if left[x.version] {
			c.find(Linear, "%s: two appends were answered version %d", s, x.version)
			found = true
		}
		left[x.version] = true
	}
	ended := slices.Clone(sights)
	slices.SortFunc(ended, func(a, b sight) int { return cmp.Compare(a.ended, b.ended) })
	slices.SortFunc(sights, func(a, b sight) int { return cmp.Compare(a.began, b.began) })
	highest := sight{version: -1}
	for _, x := range sights {
		if x.kind != appended && !left[x.version] {
			c.find(Linear, "%s: %s: no append ended there", s, x)
			found = true
			continue
		}
		for len(ended) > 0 && ended[0].ended < x.began {
			if ended[0].rank() > highest.rank() {
				highest = ended[0]
			}
			ended = ended[1:]
		}
		if x.kind != repeated && x.rank() < highest.rank() {
			c.find(Linear, "%s: %s began when %s had ended", s, x, highest)
			found = true
		}
	}
	return found
}

// pieceOf is about how many operations are searched at once: the search needs
// memory for the square of them. A long history is cut where nothing was on its
// way.
const pieceOf = 1000

// search asks porcupine whether there is an order.
func search(sights []sight, patience time.Duration) porcupine.CheckResult {
	tighten(sights)
	slices.SortStableFunc(sights, func(a, b sight) int { return cmp.Compare(a.began, b.began) })
	until := time.Now().Add(patience)
	from, at, busy := 0, event.Version(0), time.Duration(-1)
	for i, x := range sights {
		if i-from >= pieceOf && x.began > busy {
			if verdict := searchPiece(sights[from:i], at, time.Until(until)); verdict != porcupine.Ok {
				return verdict
			}
			at = reached(sights[from:i], at)
			from = i
		}
		busy = max(busy, x.ended)
	}
	return searchPiece(sights[from:], at, time.Until(until))
}

// tighten gives an end to operations without one, and an earlier one to others:
// what left or saw a lower version took effect before what left a higher one
// had ended.
func tighten(sights []sight) {
	slices.SortFunc(sights, func(a, b sight) int { return cmp.Compare(b.rank(), a.rank()) })
	earliest, higher := never, never // of all that came so far, and of those with a higher rank
	for i := range sights {
		x := &sights[i]
		if i > 0 && x.rank() != sights[i-1].rank() {
			higher = earliest
		}
		if x.kind == repeated {
			continue
		}
		// Where it contradicts the beginning, there is no order: the search says so.
		x.ended = max(x.began, min(x.ended, higher))
		earliest = min(earliest, x.ended)
	}
}

func reached(sights []sight, at event.Version) event.Version {
	for _, x := range sights {
		if x.kind == appended {
			at = max(at, x.version)
		}
	}
	return at
}

func searchPiece(sights []sight, at event.Version, patience time.Duration) porcupine.CheckResult {
	if patience <= 0 {
		return porcupine.Unknown // zero would mean for ever
	}
	saw := map[event.Version]int{}
	history := make([]porcupine.Operation, 0, len(sights))
	for _, x := range sights { // in the order in which they began
		if x.kind == refusal || x.kind == seen {
			x.place = saw[x.version]
			saw[x.version]++
		}
		history = append(history, porcupine.Operation{Input: x, Call: int64(x.began), Return: int64(x.ended)})
	}
	return porcupine.CheckOperationsTimeout(porcupine.Model{
		Init: func() any { return state{version: at} },
		Step: func(at, input, _ any) (bool, any) { return input.(sight).step(at.(state), saw) },
	}, history, patience)
}

// step reports whether an operation may come next, and what it leaves.
func (s sight) step(at state, saw map[event.Version]int) (bool, any) {
	switch s.kind {
	case repeated:
		return at.version >= s.version, at
	case refusal, seen:
		fits := s.kind == seen || !s.expect.Allows(at.version)
		return fits && at.version == s.version && at.placed == s.place, state{at.version, at.placed + 1}
	case appended:
	}
	if at.placed != saw[at.version] {
		return false, at
	}
	v := at.version
	for _, step := range s.steps {
		if !step.expect.Allows(v) {
			return false, at
		}
		v += event.Version(step.events)
	}
	return v == s.version, state{version: v}
}
