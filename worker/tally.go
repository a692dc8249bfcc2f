package worker

import "hash/maphash"

// tally notices that most of what is tried fails, whatever the errors say: then it is
// not the fault of single events. It remembers the newest outcome of each of the keys
// that were tried last, however old that is. The zero value is ready. It takes at most
// about 1 KiB, and is not safe for concurrent use.
type tally struct {
	ring []outcome // oldest first, at most one per key
	bad  int       // how many of them failed
	seed maphash.Seed
}

// outcome is kept with a hash of the key, as keys of foreign messages can be long.
type outcome struct {
	key    uint64
	failed bool
}

// Of tallyKeys keys, at least tallyLeast, and at least the share, must fail.
const (
	tallyKeys  = 64
	tallyLeast = 10
)

// ok says that an event of the key took effect.
func (t *tally) ok(key string) { t.add(key, false) }

// failed says that one did not, whatever becomes of it.
func (t *tally) failed(key string) { t.add(key, true) }

// systemic reports whether a share of the keys fail, if so many others do not.
func (t *tally) systemic(share float64, others int) bool {
	return t.bad >= tallyLeast && float64(t.bad) >= share*float64(len(t.ring)+others)
}

// reset forgets all.
func (t *tally) reset() { t.ring, t.bad = t.ring[:0], 0 }

func (t *tally) add(key string, failed bool) {
	if t.ring == nil {
		t.ring, t.seed = make([]outcome, 0, tallyKeys), maphash.MakeSeed()
	}
	o := outcome{maphash.String(t.seed, key), failed}
	at := 0
	for at < len(t.ring) && t.ring[at].key != o.key {
		at++
	}
	if at == len(t.ring) {
		at = 0 // not among them: the oldest goes if there is no room
	}
	if len(t.ring) == tallyKeys || len(t.ring) > 0 && t.ring[at].key == o.key {
		t.remove(at)
	}
	t.ring = append(t.ring, o)
	if failed {
		t.bad++
	}
}

func (t *tally) remove(at int) {
	if t.ring[at].failed {
		t.bad--
	}
	t.ring = append(t.ring[:at], t.ring[at+1:]...)
}
