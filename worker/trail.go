package worker

import (
	"encoding/binary"
	"math/bits"
	"sort"

	"github.com/annals-go/annals/event"
)

// Trail is the places that a mark was at, dense near the mark and ever sparser
// behind it, about one for each doubling of the distance. It is opaque, a value,
// and at most 50 places of 24 bytes. A history that went another way is found
// between two of them, without a look at all of it.
type Trail string

// Waypoint is one place of a trail.
type Waypoint struct {
	Position event.Position
	Digest   Digest
}

const waypointSize = 8 + len(Digest{})

// Waypoints returns the places, oldest first. What was damaged is left out.
func (t Trail) Waypoints() []Waypoint {
	out := make([]Waypoint, 0, len(t)/waypointSize)
	for ; len(t) >= waypointSize; t = t[waypointSize:] {
		w := Waypoint{Position: event.Position(binary.BigEndian.Uint64([]byte(t[:8])))}
		copy(w.Digest[:], t[8:waypointSize])
		if n := len(out); w.Position <= 0 || n > 0 && out[n-1].Position >= w.Position {
			continue
		}
		out = append(out, w)
	}
	return out
}

// before returns the places before a position, oldest first.
func (t Trail) before(p event.Position) []Waypoint {
	all := t.Waypoints()
	return all[:sort.Search(len(all), func(i int) bool { return all[i].Position >= p })]
}

// newest returns where the newest place is, 0 if there is none.
func (t Trail) newest() event.Position {
	if all := t.Waypoints(); len(all) > 0 {
		return all[len(all)-1].Position
	}
	return 0
}

// then returns the trail with one more place. Of those at about the same
// distance from it only the farthest stays.
func (t Trail) then(w Waypoint) Trail {
	var kept []Waypoint
	last := -1
	for _, p := range append(t.before(w.Position), w) {
		if distance := bits.Len64(uint64(w.Position - p.Position)); distance != last {
			last = distance
			kept = append(kept, p)
		}
	}
	return trailOf(kept)
}

func trailOf(places []Waypoint) Trail {
	b := make([]byte, 0, len(places)*waypointSize)
	for _, p := range places {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Position))
		b = append(b, p.Digest[:]...)
	}
	return Trail(b)
}
