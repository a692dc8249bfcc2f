package postgres

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
)

// Limits of a group. A lane is a connection that sends one group after another.
const (
	groupLanes  = 2
	groupWrites = 128
	groupBytes  = 1 << 20 // of payloads
	// groupEvents is the most events that an append may have to travel in a
	// group: with more, sharing the commit gains nothing.
	groupEvents = 50
	// laneWait is how long an append on its own may keep its lane: one that waits
	// for another process's transaction shall not hold up the others.
	laneWait = 50 * time.Millisecond
)

// group makes many appends at once into few statements. An append that finds a
// free lane goes as it is, on the goroutine of its caller. While both lanes are
// taken appends gather, and a lane that is done takes what has gathered; if that
// is one append, its caller gets the lane.
//
// A stream is in one statement at a time, so that two appends of this process
// never wait for each other in the database; its appends queue here, and
// streams take turns, so that a hot one does not keep the others waiting.
type group struct {
	db *DB

	mu      sync.Mutex
	lanes   int                        // taken; if there is a ready one, at least one is
	ready   []*member                  // at most one of each stream, in order of arrival
	streams map[event.Stream][]*member // being sent or ready: who queues behind that
}

// member is one append on its way.
type member struct {
	eventstore.PreparedWrite
	bytes   int
	end     time.Time    // of its call
	verdict chan verdict // of one

	// guarded by group.mu
	sent bool
	told bool // a verdict is in the channel
	left bool // the caller has gone, and nobody reads the verdict
	lane bool // the caller has a lane
}

type verdict struct {
	eventstore.Result
	err error
	// alone: the caller makes the append, because it has got a lane for it or
	// because the group came to nothing, and calls group.done.
	alone bool
	lost  error // if alone: the group has no answer, and may be stored
}

func newGroup(d *DB) *group { return &group{db: d, streams: map[event.Stream][]*member{}} }

func groupable(w eventstore.PreparedWrite) bool {
	return len(w.Events) <= groupEvents && payloadBytes(w) <= groupBytes
}

func payloadBytes(w eventstore.PreparedWrite) int {
	n := 0
	for _, e := range w.Events {
		n += len(e.Payload) + len(e.StoredMetadata)
	}
	return n
}

// append returns when the append has its outcome or its time is over. In the
// second case the outcome is unknown if the append was sent, and the group that
// it travels in goes on.
func (g *group) append(ctx context.Context, w eventstore.PreparedWrite, end time.Time) (eventstore.Result, error) {
	m := &member{PreparedWrite: w, bytes: payloadBytes(w), end: end, verdict: make(chan verdict, 1)}
	if g.enter(m) {
		return g.appendAlone(ctx, m, nil)
	}
	wait, cancel := g.db.limitTo(ctx, end)
	defer cancel()
	select {
	case v := <-m.verdict:
		return g.heed(ctx, m, v)
	case <-wait.Done():
	}
	v, sent := g.leave(m)
	switch over := ended(wait); {
	case v != nil:
		return g.heed(ctx, m, *v)
	case sent:
		return eventstore.Result{}, fmt.Errorf("append %s: %w: %w", w.Stream, eventstore.ErrOutcomeUnknown, over)
	default: // and it never will be
		return eventstore.Result{}, fmt.Errorf("append %s: %w", w.Stream, over)
	}
}

func (g *group) heed(ctx context.Context, m *member, v verdict) (eventstore.Result, error) {
	if !v.alone {
		return v.Result, v.err
	}
	return g.appendAlone(ctx, m, v.lost)
}

func (g *group) appendAlone(ctx context.Context, m *member, lost error) (eventstore.Result, error) {
	defer g.done(m)                                                   //nolint:contextcheck // a group is nobody's alone
	defer time.AfterFunc(laneWait, func() { g.giveUpLane(m) }).Stop() //nolint:contextcheck // as above
	return g.db.appendAlone(ctx, m.PreparedWrite, m.end, lost)
}

// enter takes a free lane for the append, or queues it.
func (g *group) enter(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	behind, taken := g.streams[m.Stream]
	switch {
	case taken:
		g.streams[m.Stream] = append(behind, m)
		return false
	case g.lanes < groupLanes:
		g.lanes++
		g.streams[m.Stream] = nil
		m.sent, m.lane = true, true
		return true
	default:
		g.streams[m.Stream] = nil
		g.ready = append(g.ready, m)
		return false
	}
}

// giveUpLane lets others have the lane of an append that is still on its way.
func (g *group) giveUpLane(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.giveUpLaneLocked(m)
}

func (g *group) giveUpLaneLocked(m *member) {
	if m.lane {
		m.lane = false
		g.lanes--
		g.goOnLocked()
	}
}

// goOnLocked sends what is ready if a lane is free.
func (g *group) goOnLocked() {
	if len(g.ready) > 0 && g.lanes < groupLanes {
		g.lanes++
		go g.run()
	}
}

// leave gives up waiting. If the verdict has come in the same moment, it counts.
func (g *group) leave(m *member) (v *verdict, sent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.told {
		v := <-m.verdict
		return &v, true
	}
	m.left = true
	if m.sent {
		return nil, true
	}
	if i := slices.Index(g.ready, m); i >= 0 {
		g.ready = slices.Delete(g.ready, i, i+1)
		g.doneLocked(m)
		return nil, false
	}
	behind := g.streams[m.Stream]
	i := slices.Index(behind, m)
	g.streams[m.Stream] = slices.Delete(behind, i, i+1)
	return nil, false
}

// done gives back what an append has that its caller made: its lane, if it still
// has one, and its stream, so that the next append of that can go.
func (g *group) done(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doneLocked(m)
	if m.lane {
		g.giveUpLaneLocked(m)
	} else {
		g.goOnLocked()
	}
}

func (g *group) doneLocked(m *member) {
	behind := g.streams[m.Stream]
	if len(behind) == 0 {
		delete(g.streams, m.Stream)
		return
	}
	g.streams[m.Stream] = behind[1:]
	g.ready = append(g.ready, behind[0])
}

// run sends groups on one lane until nothing is ready, or a caller has got the
// lane. It takes a connection first and then the members, so that who waits for
// a connection can still leave, and the group grows meanwhile.
func (g *group) run() {
	for g.sendNext() {
	}
}

// sendNext reports whether the lane is still its caller's.
func (g *group) sendNext() bool {
	ctx, cancel := g.db.limit(context.Background())
	defer cancel()
	conn, err := g.db.pool.Acquire(ctx)
	if conn != nil {
		defer conn.Release()
	}
	runtime.Gosched() // callers that were just answered may be about to append again
	members, keep := g.take()
	switch {
	case !keep:
		return false
	case err != nil: // nothing was sent
		for _, m := range members {
			g.tell(m, verdict{err: fmt.Errorf("append %s: %w", m.Stream, late(ctx, err))})
		}
	default:
		g.send(conn, members)
	}
	return true
}

// take returns what goes into the next group, sorted by stream. The lane is kept
// for that only: without any it is given back, and a single one takes it along.
func (g *group) take() (members []*member, keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, bytes := 0, 0
	for _, m := range g.ready {
		if n == groupWrites || n > 0 && bytes+m.bytes > groupBytes {
			break
		}
		n, bytes = n+1, bytes+m.bytes
		m.sent = true
	}
	if n == 0 {
		g.lanes--
		return nil, false
	}
	members = slices.Clone(g.ready[:n])
	g.ready = slices.Delete(g.ready, 0, n)
	if n == 1 { // its caller waits as long as its own context says
		members[0].lane = true
		g.tellLocked(members[0], verdict{alone: true})
		return nil, false
	}
	slices.SortFunc(members, func(a, b *member) int { return a.Stream.Compare(b.Stream) })
	return members, true
}

// send makes one attempt. Without an answer each member finds out by itself what
// has become of its append, in the time that its own call has left.
func (g *group) send(q querier, members []*member) {
	writes := make([]eventstore.PreparedWrite, len(members))
	first := members[0].end
	for i, m := range members {
		writes[i] = m.PreparedWrite
		if m.end.Before(first) {
			first = m.end
		}
	}
	// Not less, because the others have time; who has none leaves.
	if least := time.Now().Add(shortestAttempt); first.Before(least) {
		first = least
	}
	ctx, cancel := limitAttempt(context.Background(), first)
	defer cancel()
	sql, args := g.db.batch(writes, false)
	crash.At("postgres.group.sending")
	v, err := scanVerdicts(q.QueryRow(ctx, sql, args...), writes)
	crash.At("postgres.group.answered")
	for i, m := range members {
		switch {
		case isRejected(err): // because of one of them, and nothing was written
			g.tell(m, verdict{alone: true})
		case err != nil:
			g.tell(m, verdict{alone: true, lost: err})
		case v.admitted[i]:
			g.tell(m, verdict{Result: v.written(i, m.PreparedWrite)})
		default:
			res, err := v.refused(i, m.PreparedWrite)
			g.tell(m, verdict{Result: res, err: err, alone: err == errAbsent}) //nolint:errorlint // made here
		}
	}
}

func (g *group) tell(m *member, v verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tellLocked(m, v)
}

// tellLocked hands the verdict to the caller, and frees the stream unless the
// caller still has to make the append alone.
func (g *group) tellLocked(m *member, v verdict) {
	if !v.alone || m.left {
		g.doneLocked(m)
	}
	if !m.left {
		m.told = true
		m.verdict <- v
	}
}
