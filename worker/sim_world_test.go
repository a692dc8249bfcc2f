package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// simName is the reader that all workers of a world are.
const simName = "sim"

// simPlan is what a seed decides on beforehand: who works, and what goes wrong.
type simPlan struct {
	slots, segments, events, keys int
	relay                         bool // effects are elsewhere, so they are repeated
	shared                        bool // a key is two streams
	polls                         bool // Log.Wait wakes in vain
	storms                        bool // the store says which of its errors are nobody's fault
	batch                         int
	timeout, lease, chaos         time.Duration
	retry                         worker.Retry

	poison                                              []poisonKind // of events; empty: none
	poisoned                                            float64
	before, after                                       float64 // of store calls that fail
	freeze, slow                                        float64 // of all calls
	outages, leaves, kills                              int
	retries, discards, notes, late, lazy, uncovered, to bool
}

func planOf(seed uint64) simPlan {
	r := rand.New(rand.NewPCG(seed, 1))
	on := func(p float64) bool { return r.Float64() < p }
	share := func(p, most float64) float64 {
		if on(p) {
			return most * r.Float64()
		}
		return 0
	}
	some := func(p float64, n int) int {
		if on(p) {
			return 1 + r.IntN(n)
		}
		return 0
	}
	p := simPlan{
		slots: 1 + r.IntN(4), segments: 1 + r.IntN(5), events: 15 + r.IntN(46), keys: 3 + r.IntN(10),
		relay: on(.25), shared: on(.2), polls: on(.5), storms: on(.5),
		batch:   []int{1, 2, 3, 5, 8, 16, 40, 500}[r.IntN(8)],
		timeout: []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}[r.IntN(3)],
		lease:   []time.Duration{time.Second, 2 * time.Second, 5 * time.Second}[r.IntN(3)],
		retry: worker.Retry{
			Attempts: 3 + r.IntN(5), Kills: 2 + r.IntN(2),
			Base: 50 * time.Millisecond, Cap: []time.Duration{500 * time.Millisecond, 3 * time.Second}[r.IntN(2)],
		},
		poisoned: .02 + .3*r.Float64()*r.Float64(),
		before:   share(.4, .1), after: share(.4, .1), freeze: share(.3, .01), slow: share(.2, .05),
		outages: some(.3, 3), leaves: some(.4, 4), kills: some(.3, 3),
		retries: on(.4), discards: on(.3), notes: on(.2), late: on(.3), lazy: on(.3), uncovered: on(.3), to: on(.3),
	}
	if on(.3) {
		p.segments = 1
	}
	p.chaos = time.Duration(2+r.IntN(8)) * p.lease
	for k := range poisonStorm + 1 {
		if on(.3) {
			p.poison = append(p.poison, k)
		}
	}
	return p
}

// simWorld is a store, the workers at it, and what troubles them. All of it runs in one
// bubble; whatever is shared is under mu, which is never held while somebody sleeps.
//
// What happens is a function of the seed alone: every call sleeps until a moment that
// no other actor wakes at, so that one runs at a time, and each actor draws from a
// source of its own, so that it matters not in which order several come to sleep.
type simWorld struct {
	seed uint64
	simPlan
	db  *memory.DB
	log *slog.Logger

	mu     sync.Mutex
	calm   bool // nothing fails any more but events
	mended bool // nor do events
	outage outage
	actors map[int]*simActor
	ops    int
	turns  int              // calls since the last write, or the time below
	since  time.Time        // whichever was later
	trace  *strings.Builder // nil: not kept
	errs   []string         // what was violated
	model  simModel
	halt   context.CancelFunc
}

// simActor is one line of work: the crew of a slot, one of its segments, or one of
// those who trouble it.
type simActor struct {
	id int
	*rand.Rand
}

// The actors that are no workers; those of slots follow.
const (
	actorAppend = iota
	actorTrouble
	actorJudge
	actorOperator
	actorSlots = 16
)

func (w *simWorld) actorLocked(id int) *simActor {
	a := w.actors[id]
	if a == nil {
		a = &simActor{id, rand.New(rand.NewPCG(w.seed, uint64(id)+100))}
		w.actors[id] = a
	}
	return a
}

// moments is how many actors there can be.
const moments = 1024

// moment returns a time after the given one that is this actor's alone.
func (a *simActor) moment(t time.Time) time.Duration {
	n := t.UnixNano()
	n += (int64(a.id) - n%moments + moments) % moments
	if now := time.Now().UnixNano(); n <= now {
		n += moments * ((now-n)/moments + 1)
	}
	return time.Until(time.Unix(0, n))
}

// sleep lets an actor that is no worker wait.
func (w *simWorld) sleep(ctx context.Context, id int, d time.Duration) {
	w.mu.Lock()
	d = w.actorLocked(id).moment(time.Now().Add(d))
	w.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (w *simWorld) violatedLocked(format string, args ...any) {
	if len(w.errs) < 10 {
		w.errs = append(w.errs, fmt.Sprintf("at %v: ", time.Since(simStart))+fmt.Sprintf(format, args...))
	}
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%v VIOLATED "+format+"\n", append([]any{time.Since(simStart)}, args...)...)
	}
	w.halt()
}

func (w *simWorld) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violatedLocked(format, args...)
}

var simStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *simWorld) traceLocked(who, what string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%d %s %s %v\n", time.Since(simStart).Nanoseconds(), who, what, args)
	}
}

// outage is a time in which much fails at once.
type outage struct {
	until      time.Time
	store, app bool // what fails
	silent     bool // it does not answer
	marked     bool
}

func (w *simWorld) outLocked(now time.Time) *outage {
	if w.calm || !now.Before(w.outage.until) {
		return nil
	}
	return &w.outage
}

// simWorker is a process: one Reader, from its start to its end.
type simWorker struct {
	*simWorld
	slot   int
	holder string
	leave  context.CancelFunc

	// under mu
	dead   bool      // nothing that it does has an effect any more
	ended  bool      // Run has returned
	frozen time.Time // until when it stands still
}

// aheadOf is the actor of a slot that reads ahead for its segments.
const aheadOf = 15

// actorLocked returns who calls: a segment, or what reads ahead for them, by the label of
// its goroutine, or the crew.
func (w *simWorker) actorLocked(ctx context.Context) *simActor {
	id := actorOperator
	if w.slot >= 0 {
		id = actorSlots + w.slot*16
		if _, ok := pprof.Label(ctx, "read"); ok {
			id += aheadOf
		} else if part, ok := pprof.Label(ctx, "segment"); ok {
			id += 1 + segmentNumber(part)
		}
	}
	return w.simWorld.actorLocked(id)
}

// segmentNumber is the number in front of the name of a segment; there are at most ten.
func segmentNumber(part string) int {
	if part == "" {
		return 0
	}
	return int(part[0] - '0')
}
