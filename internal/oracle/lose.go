package oracle

import (
	"time"

	"github.com/annals-go/annals/event"
)

// Lose takes the acknowledged appends out of the history whose first event lost
// knows, and what was refused or read because of them: the store was set back to
// before them, and that is what the test wants. It returns how many events they
// had. What is left is judged as if they had never been.
func (h *History) Lose(lost func(event.ID) bool) (events int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := map[event.Stream]event.Version{} // the first version lost
	appends := h.appends[:0:0]
	for _, a := range h.appends {
		if a.outcome != acked || len(a.writes) == 0 || len(a.writes[0].ids) == 0 || !lost(a.writes[0].ids[0]) {
			appends = append(appends, a)
			continue
		}
		for _, w := range a.writes {
			events += len(w.ids)
			first := w.result.Version - event.Version(len(w.ids)) + 1
			if v, ok := since[w.stream]; !ok || first < v {
				since[w.stream] = first
			}
		}
	}
	anew := map[event.Stream]time.Duration{} // when something took the place of what was lost
	for _, a := range appends {
		for _, w := range a.writes {
			if first, ok := since[w.stream]; ok && a.outcome == acked && w.result.Version >= first {
				if began, ok := anew[w.stream]; !ok || a.began < began {
					anew[w.stream] = a.began
				}
			}
		}
	}
	saw := func(s event.Stream, v event.Version, began time.Duration) bool {
		first, ok := since[s]
		again, later := anew[s]
		return ok && v >= first && (!later || began < again)
	}
	h.appends = appends[:0]
	for _, a := range appends {
		if x := a.conflict; x == nil || !saw(x.Stream, x.Actual, a.began) {
			h.appends = append(h.appends, a)
		}
	}
	reads := h.reads[:0:0]
	for _, r := range h.reads {
		if n := len(r.got); n == 0 || !saw(r.stream, r.got[n-1].version, r.began) {
			reads = append(reads, r)
		}
	}
	h.reads = reads
	return events
}
