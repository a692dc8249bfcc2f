package worker_test

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// The digest is stored, so it never changes. The literal was made when it was new.
func TestDigestIsPinned(t *testing.T) {
	t.Parallel()
	e := event.Recorded{
		Raw:    event.Raw{Name: "order.noted", Schema: 2, ContentType: "text/plain", Payload: []byte("x\x00\xff"), Closes: true},
		Stream: event.Stream{Category: "order", ID: "o-1"}, Version: 3, Position: 1 << 40,
		RecordedTime: time.Unix(5, 0),
	}
	e.Metadata.ID = event.ID{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16}
	first := worker.Digest{}.Next(e)
	e.Closes, e.Payload = false, nil
	second := first.Next(e)
	for _, c := range []struct {
		got  worker.Digest
		want string
	}{{first, "0e893c105e16e3833c99ee641b32b397"}, {second, "6b255a19c6db15ccf70f23a960cbfe46"}} {
		if got := hex.EncodeToString(c.got[:]); got != c.want {
			t.Errorf("digest %s, want %s", got, c.want)
		}
	}
	if got := (worker.Digest{}).Next(); got != (worker.Digest{}) {
		t.Errorf("digest of no event: %x", got)
	}
}

// Whatever says which event it is and what it says is in it; what may differ
// between two servers, or is for people, is not.
func TestDigestTellsEventsApart(t *testing.T) {
	t.Parallel()
	base := at(7)
	same := base
	same.RecordedTime, same.Metadata.Actor = time.Now(), "somebody"
	if (worker.Digest{}).Next(same) != (worker.Digest{}).Next(base) {
		t.Error("the recorded time or the actor is in the digest")
	}
	seen := map[worker.Digest]string{(worker.Digest{}).Next(base): "as it was"}
	for name, change := range map[string]func(*event.Recorded){
		"position":     func(e *event.Recorded) { e.Position++ },
		"version":      func(e *event.Recorded) { e.Version++ },
		"schema":       func(e *event.Recorded) { e.Schema++ },
		"id":           func(e *event.Recorded) { e.Metadata.ID[3]++ },
		"category":     func(e *event.Recorded) { e.Stream.Category = "orde" },
		"stream":       func(e *event.Recorded) { e.Stream = event.Stream{Category: "orde", ID: "r1"} },
		"name":         func(e *event.Recorded) { e.Name = "order.note" },
		"content type": func(e *event.Recorded) { e.ContentType = "text/plai" },
		"payload":      func(e *event.Recorded) { e.Payload = []byte("8") },
		"closes":       func(e *event.Recorded) { e.Closes = true },
	} {
		e := base
		change(&e)
		d := (worker.Digest{}).Next(e)
		if twin, twice := seen[d]; twice {
			t.Errorf("%s and %s have one digest", name, twin)
		}
		seen[d] = name
	}
	if a, b := (worker.Digest{}).Next(at(1), at(2)), (worker.Digest{}).Next(at(2), at(1)); a == b {
		t.Error("the order is not in the digest")
	}
	if a, b := (worker.Digest{}).Next(from(1, 9)...), (worker.Digest{}).Next(from(1, 4)...).Next(from(5, 9)...); a != b {
		t.Error("the pages are in the digest")
	}
}

// The trail stays small for as far as positions go, keeps the first and the last
// place, and leaves no gap that is much larger than its distance.
func TestTrailThinsOut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, step := range []int64{1, 10, 1000, 1 << 20, 1 << 33} {
		var m worker.Mark
		first := event.Position(0)
		for range 3000 {
			p := m.Position + 1 + event.Position(random.Int64N(step))
			if p >= 1<<48 {
				break
			}
			e := at(1)
			e.Position = p
			m = m.Reached(p, []event.Recorded{e})
			if first == 0 {
				first = p
			}
			places := m.Trail.Waypoints()
			if len(places) > 50 || len(m.Trail) != 24*len(places) {
				t.Fatalf("step %d: %d places in %d bytes at %d", step, len(places), len(m.Trail), p)
			}
			if places[0].Position != first || places[len(places)-1] != (worker.Waypoint{Position: p, Digest: m.Digest}) {
				t.Fatalf("step %d: from %d to %d, want from %d to %d", step, places[0].Position, places[len(places)-1].Position, first, p)
			}
			for i := 1; i < len(places); i++ {
				near, far := p-places[i].Position, p-places[i-1].Position
				if gap := far - near; gap > 8*near+4*event.Position(step) {
					t.Fatalf("step %d: a gap of %d at distance %d of %d", step, gap, near, p)
				}
			}
		}
	}
	var m worker.Mark
	e := at(1)
	for p := event.Position(1); p < 1<<48; p += p/3 + 1 { // ever larger steps
		e.Position = p
		m = m.Reached(p, []event.Recorded{e})
	}
	e.Position = math.MaxInt64
	m = m.Reached(math.MaxInt64, []event.Recorded{e})
	if n := len(m.Trail.Waypoints()); n > 64 {
		t.Errorf("%d places", n)
	}
}

func TestMarkBack(t *testing.T) {
	t.Parallel()
	m := given("a+1", 7, from(1, 100)...)
	m.Revision, m.Lineage = 9, "x"
	places := m.Trail.Waypoints()
	for i, w := range places {
		back, ok := m.Back(w.Position)
		got := back.Trail.Waypoints()
		if !ok || back.Position != w.Position || back.Digest != w.Digest || len(got) != i+1 || back.Revision != 9 || back.Server != "a+1" || back.Lineage != "x" {
			t.Errorf("Back(%d) = %+v, %v", w.Position, back, ok)
		}
		if next := back.Reached(100, from(int(w.Position)+1, 100)); next.Digest != m.Digest {
			t.Errorf("from %d on, the digest is another one", w.Position)
		}
		if got := m.Common(w.Position); got != w.Position {
			t.Errorf("Common(%d) = %d", w.Position, got)
		}
		if i > 0 {
			if got := m.Common(w.Position - 1); got != places[i-1].Position {
				t.Errorf("Common(%d) = %d, want %d", w.Position-1, got, places[i-1].Position)
			}
		}
	}
	if back, ok := m.Back(0); !ok || back != (worker.Mark{Revision: 9}) {
		t.Errorf("Back(0) = %+v, %v", back, ok)
	}
	for _, p := range []event.Position{1, 50, 101} {
		if _, ok := m.Back(p); ok {
			t.Errorf("Back(%d): there is no such place", p)
		}
	}
	if got := m.Common(1000); got != 100 {
		t.Errorf("Common = %d, want the mark", got)
	}
	if got := m.Common(1); got != 0 {
		t.Errorf("Common = %d, want 0", got)
	}
}
