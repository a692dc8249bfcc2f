package worker_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// simModel is what should be: it judges each write as it is committed.
type simModel struct {
	events  []*simEvent // by position, from 1
	keys    map[worker.Key]*simKey
	left    int                 // events that have not taken effect
	epochs  map[string]int64    // the newest of each segment
	holders map[string]string   // who has it
	deaths  map[string]int      // terms of a segment that ended without notice
	waiting map[worker.Key]bool // what somebody has to decide on
	retries map[worker.Key]int  // decisions to try again
	hits    map[worker.Key]int  // attempts that the store has spoiled
	outages int                 // so far
	killers int                 // events that end the process
	running []*simWorker        // processes
}

type simEvent struct {
	position event.Position
	key      worker.Key
	place    int // in the order of its key, from 0; -1: it is not covered
	kind     poisonKind
	poisoned bool
	left     int // how often it will fail
	tries    int
	kills    int
}

// simKey is what has the order of events.
type simKey struct {
	events []*simEvent
	next   int          // how many are done with
	gone   map[int]bool // which will not take effect
}

func newModel() simModel {
	return simModel{
		keys: map[worker.Key]*simKey{}, epochs: map[string]int64{}, holders: map[string]string{}, deaths: map[string]int{},
		waiting: map[worker.Key]bool{}, retries: map[worker.Key]int{}, hits: map[worker.Key]int{},
	}
}

func (m *simModel) appendedLocked(key worker.Key, position event.Position, covered bool) *simEvent {
	e := &simEvent{position: position, key: key, place: -1}
	m.events = append(m.events, e)
	if covered {
		k := m.keys[key]
		if k == nil {
			k = &simKey{gone: map[int]bool{}}
			m.keys[key] = k
		}
		e.place = len(k.events)
		k.events = append(k.events, e)
		m.left++
	}
	return e
}

// pass goes over what has been given up.
func (k *simKey) pass(m *simModel) {
	for k.gone[k.next] {
		k.next++
		m.left--
	}
}

// tookEffectLocked: in the order of the key, and once, unless it is a relay.
func (m *simModel) tookEffectLocked(w *simWorld, r event.Recorded) {
	e := m.events[r.Position-1]
	k := m.keys[e.key]
	switch {
	case e.place < 0:
		w.violatedLocked("event %d took effect, and is not covered", e.position)
	case e.place == k.next:
		k.next++
		m.left--
		k.pass(m)
	case e.place > k.next:
		w.violatedLocked("event %d of %v took effect before event %d", e.position, e.key, k.events[k.next].position)
	case !w.relay:
		w.violatedLocked("event %d took effect again", e.position)
	}
}

// claimedLocked: each term has its epoch for itself.
func (m *simModel) claimedLocked(w *simWorker, t worker.Term) {
	if t.Epoch <= m.epochs[t.Segment] {
		w.violatedLocked("epoch %d of segment %q again", t.Epoch, t.Segment)
	}
	m.epochs[t.Segment] = t.Epoch
	m.holders[t.Segment] = w.holder
}

// wroteLocked judges a write that was committed.
func (m *simModel) wroteLocked(w *simWorld, t worker.Term, write worker.Write) {
	if t != (worker.Term{}) && t.Epoch != m.epochs[t.Segment] {
		w.violatedLocked("a write of epoch %d of segment %q after epoch %d had begun", t.Epoch, t.Segment, m.epochs[t.Segment])
	}
	w.turns, w.since = 0, time.Now()
	for part, mark := range write.Marks {
		if w.trace != nil {
			w.traceLocked("mark", part, t.Epoch, mark.Position, mark.Claim, len(write.Park), len(write.Done))
		}
	}
	for _, a := range write.Audit {
		w.traceLocked(a.Actor, "audit", a.Action, a.Key, a.Seq)
		m.retries[a.Key]++
		if a.Action == "discard" {
			e := m.events[a.Seq-1]
			k := m.keys[e.key]
			if e.place < k.next && !w.relay {
				w.violatedLocked("event %d was discarded after it took effect", e.position)
			}
			if e.place >= k.next {
				k.gone[e.place] = true
				k.pass(m)
			}
		}
	}
	for _, p := range write.Park {
		if p.State == worker.Waiting && !m.waiting[p.Key] {
			m.mayWaitLocked(w, p)
		}
		m.waiting[p.Key] = p.State == worker.Waiting
	}
	for _, k := range write.Free {
		delete(m.waiting, k)
	}
}

// mayWaitLocked: only what is poisoned waits for somebody, or what the faults have hit
// as often.
func (m *simModel) mayWaitLocked(w *simWorld, p worker.Parked) {
	k := m.keys[p.Key]
	w.traceLocked("model", "waiting", p.Key, p.Error)
	if k.next < len(k.events) {
		if k.events[k.next].poisoned {
			return
		}
	}
	if w.relay && k.next > 0 && k.events[k.next-1].poisoned {
		return // it was published at last, and its mark not stored
	}
	if m.hits[p.Key]+m.outages+m.deaths[p.Part] >= min(w.retry.Attempts, w.retry.Kills) {
		return
	}
	w.violatedLocked("%v waits though its first event is innocent, after %d hits, %d outages and %d deaths: %s", p.Key, m.hits[p.Key], m.outages, m.deaths[p.Part], p.Error)
}

// mayBeLeft reports whether the next event of a key fails still, or waits for somebody.
func (m *simModel) mayBeLeft(k *simKey) bool {
	e := k.events[k.next]
	return e.left > 0 || m.waiting[e.key]
}

// conservedLocked: each event took effect, is parked, or lies before its reader; one of
// these, and a relay at least one.
func (w *simWorld) conservedLocked(quiet bool) {
	m := &w.model
	ctx := context.Background()
	marks, err := w.db.Checkpoint(ctx, simName)
	if err != nil {
		w.violatedLocked("%v", err)
	}
	all, err := w.db.Parked(ctx, worker.ParkedQuery{Name: simName})
	if err != nil {
		w.violatedLocked("%v", err)
	}
	parked := map[event.Position]worker.Key{}
	for _, p := range all {
		items, err := w.db.Items(ctx, simName, p.Key, 0, len(m.events))
		if err != nil || len(items) == 0 {
			w.violatedLocked("%v is parked and has no events (%v)", p.Key, err)
		}
		for _, i := range items {
			parked[event.Position(i.Seq)] = p.Key
		}
		if p.Error == "" && p.State == worker.Waiting {
			w.violatedLocked("%v waits, and nothing says why", p.Key)
		}
	}
	for _, e := range m.events {
		if e.place < 0 {
			continue
		}
		k := m.keys[e.key]
		done := e.place < k.next || k.gone[e.place]
		at, aside := parked[e.position]
		pending := e.position > marks[e.key.Part].Position
		n := 0
		for _, is := range []bool{done, aside, pending} {
			if is {
				n++
			}
		}
		if n == 0 || n > 1 && !w.relay || aside && at != e.key {
			w.violatedLocked("event %d of %v: done %v, parked %v under %v, pending %v", e.position, e.key, done, aside, at, pending)
		}
		if !quiet {
			continue
		}
		if pending {
			w.violatedLocked("event %d of %v is pending after all was quiet", e.position, e.key)
		}
	}
	if quiet && m.left > 0 {
		for _, k := range slices.SortedFunc(maps.Keys(m.keys), compareKeys) {
			if key := m.keys[k]; key.next < len(key.events) && !m.mayBeLeft(key) {
				w.violatedLocked("event %d of %v is innocent and took no effect", key.events[key.next].position, k)
			}
		}
	}
}

func compareKeys(a, b worker.Key) int {
	return compareStrings(a.Part+"\x00"+a.Key, b.Part+"\x00"+b.Key)
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// settledLocked reports whether all took effect but what is poisoned and what is behind it.
func (w *simWorld) settledLocked() bool {
	if w.model.left == 0 {
		return w.allReadLocked()
	}
	for _, k := range w.model.keys {
		if k.next < len(k.events) && (w.mended || !w.model.mayBeLeft(k)) {
			return false
		}
	}
	return w.allReadLocked()
}

// allReadLocked reports whether all marks are at the head, and, of what is mended,
// nothing is parked.
func (w *simWorld) allReadLocked() bool {
	marks, err := w.db.Checkpoint(context.Background(), simName)
	for _, part := range worker.SegmentNames(w.segments) {
		if err != nil || marks[part].Position != event.Position(len(w.model.events)) {
			return false
		}
	}
	if !w.mended {
		return true
	}
	all, err := w.db.Parked(context.Background(), worker.ParkedQuery{Name: simName})
	return err == nil && len(all) == 0
}

func (w *simWorld) stateLocked() string {
	ctx := context.Background()
	marks, _ := w.db.Checkpoint(ctx, simName)
	parked, _ := w.db.Parked(ctx, worker.ParkedQuery{Name: simName})
	roster, _ := w.db.Roster(ctx, simName)
	out := fmt.Sprintf("%d of %d events are left; roster %+v\n", w.model.left, len(w.model.events), roster)
	for part, m := range marks {
		out += fmt.Sprintf("part %q at %d, claim %+v\n", part, m.Position, m.Claim)
	}
	for _, p := range parked {
		out += fmt.Sprintf("%v %s, %d events from %d, attempt %d, next %v: %s\n", p.Key, p.State, p.Events, p.First, p.Attempts, p.Next.Sub(simStart), p.Error)
	}
	return out
}
