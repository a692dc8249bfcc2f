package worker

import (
	"encoding/binary"
	"math/bits"

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

// then returns the trail with one more place. Of those at about the same
// distance from it only the farthest stays.
func (t Trail) then(w Waypoint) Trail {
	kept := make([]byte, 0, len(t)+waypointSize)
	last := -1
	for _, p := range append(t.Waypoints(), w) {
		distance := bits.Len64(uint64(w.Position - p.Position))
		if distance == last || p.Position > w.Position {
			continue
		}
		last = distance
		kept = binary.BigEndian.AppendUint64(kept, uint64(p.Position))
		kept = append(kept, p.Digest[:]...)
	}
	return Trail(kept)
}
