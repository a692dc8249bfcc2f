package aggregate

import (
	"sync"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

type snapshotKey struct {
	stream      event.Stream
	fingerprint eventstore.Fingerprint
}

// job is a snapshot to save, after one that was ignored has been dropped.
type job struct {
	key      snapshotKey
	ignored  eventstore.Snapshot // version 0: none
	snapshot eventstore.Snapshot // version 0: none
}

// queue holds the jobs that wait, one for each key, in the order in which the
// keys came.
type queue struct {
	more chan struct{} // a hint that there are jobs

	mu      sync.Mutex
	running int // of Run
	states  int // the most jobs
	bytes   int // the most bytes of states
	held    int // bytes of states
	order   []snapshotKey
	jobs    map[snapshotKey]job
	// last is the version of the newest snapshot of a key that is on its way to
	// the store, or cannot be encoded, so that the loads that come meanwhile do
	// not all encode it again. It is emptied when it is full, which costs no more
	// than that.
	last map[snapshotKey]event.Version
}

const rememberedKeys = 4096

func (q *queue) init(states, bytes int) {
	q.more = make(chan struct{}, 1)
	q.states, q.bytes = states, bytes
	q.jobs = map[snapshotKey]job{}
	q.last = map[snapshotKey]event.Version{}
}

func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running++
}

// close reports whether nobody else takes jobs, and then lets none in.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	return q.running == 0
}

// lately is the version of the newest snapshot of the key that is on its way, 0
// if there is none, or if it is above at: then the stream went back.
func (q *queue) lately(key snapshotKey, at event.Version) event.Version {
	q.mu.Lock()
	defer q.mu.Unlock()
	if v := q.last[key]; v <= at {
		return v
	}
	return 0
}

// arrived ends what lately says, unless a newer one is on its way.
func (q *queue) arrived(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last[j.key] == j.snapshot.Version {
		delete(q.last, j.key)
	}
}

// room reports whether a job of the key would be let in.
func (q *queue) room(key snapshotKey) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, replaces := q.jobs[key]
	return q.running > 0 && (replaces || len(q.jobs) < q.states)
}

func (q *queue) tried(key snapshotKey, v event.Version) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.triedLocked(key, v)
}

func (q *queue) triedLocked(key snapshotKey, v event.Version) {
	if len(q.last) >= rememberedKeys {
		clear(q.last)
	}
	q.last[key] = v
}

// put reports whether the job was let in. Of two snapshots of one key the newer
// one stays, or the one that comes with a snapshot to drop, because that one's
// load has seen more. What is to be dropped stays until it is.
func (q *queue) put(j job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	have, replaces := q.jobs[j.key]
	if j.snapshot.Version == 0 || j.ignored.Version == 0 && j.snapshot.Version < have.snapshot.Version {
		j.snapshot = have.snapshot
	}
	if j.ignored.Version == 0 {
		j.ignored = have.ignored
	}
	held := q.held - len(have.snapshot.State) + len(j.snapshot.State)
	if q.running == 0 || held > q.bytes || !replaces && len(q.jobs) >= q.states {
		return false
	}
	if !replaces {
		q.order = append(q.order, j.key)
	}
	q.jobs[j.key], q.held = j, held
	if j.snapshot.Version > 0 {
		q.triedLocked(j.key, j.snapshot.Version)
	}
	q.hint()
	return true
}

// take returns the job that waits the longest.
func (q *queue) take() (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return job{}, false
	}
	j := q.jobs[q.order[0]]
	q.order = q.order[1:]
	delete(q.jobs, j.key)
	q.held -= len(j.snapshot.State)
	if len(q.order) > 0 {
		q.hint() // for another Run
	}
	return j, true
}

func (q *queue) hint() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}
