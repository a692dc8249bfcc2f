//go:build unix

package scenario_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/worker"
)

var killsFlag = flag.Int("scenario.kills", 20, "how many processes TestFaultWorkersKilled kills at least")

// Three processes of workers share a projection of several segments and a relay
// while others append. They are killed at every crash point, and at any moment, and
// started again. In the end the counts are exact, and nobody had to help.
func TestFaultWorkersKilled(t *testing.T) {
	t.Parallel()
	d := *timeFlag
	m := newTeam(t, d+time.Duration(*killsFlag)*2*time.Second, workerArgs{Segments: 4, Batch: 50, Lease: 500 * time.Millisecond, Projection: true, Relay: true})
	childProgram(t) // before the time runs
	stopFeeding, stopLooking := m.feed(3, 15*time.Millisecond, 10), m.accounted()
	k := &killer{team: m, until: time.Now().Add(d), least: *killsFlag, passed: map[string]int{}}
	for _, p := range workerPoints(t) {
		k.passed[p] = 0
	}
	var killing sync.WaitGroup
	seed := m.draw()
	for i := range 3 {
		killing.Go(func() { k.kill(random(seed, i)) })
	}
	killing.Wait()
	stopFeeding()
	healed := time.Now()
	m.start("")
	m.start("")
	took, found := oracle.Progress(healed, healTime, drained(t, m.pool, healed)...)
	m.found(found)
	eventually(t, "nothing is parked", func() bool { return len(m.parked()) == 0 })
	stopLooking()
	m.judge(nil)
	t.Logf("%d kills, %d of them at points: %v; drained within %v, and all that had stumbled within %v", k.kills, k.points, k.passed, took, time.Since(healed).Round(time.Millisecond))
}

// killer kills the members of a team.
type killer struct {
	*team
	until  time.Time
	begin  time.Duration // lives are longer by that
	least  int
	mu     sync.Mutex
	enough bool
	kills  int
	points int
	passed map[string]int
}

// next returns at which point the next process ends: the one that was passed least,
// half of the time, else none.
func (k *killer) next(r *rand.Rand) (point string, more bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	least := math.MaxInt
	for p, n := range k.passed {
		if n < least || n == least && p < point {
			point, least = p, n
		}
	}
	if k.enough || k.ctx.Err() != nil || least > 0 && k.kills >= k.least && time.Now().After(k.until) {
		return "", false
	}
	if r.IntN(2) == 0 {
		return "", true
	}
	if r.IntN(2) == 0 { // any, so that the rare ones do not take all the time
		n := r.IntN(len(k.passed))
		for p := range k.passed {
			if n--; n < 0 {
				point = p
			}
		}
	}
	return point, true
}

func (k *killer) kill(r *rand.Rand) {
	for {
		point, more := k.next(r)
		if !more {
			return
		}
		if k.passes(r, point) {
			k.mu.Lock()
			k.passed[point]++
			k.points++
			k.mu.Unlock()
		}
		k.mu.Lock()
		k.kills++
		k.mu.Unlock()
	}
}

// passes starts a member and kills it, and reports whether it has ended at the point.
func (k *killer) passes(r *rand.Rand, point string) bool {
	most := 700*time.Millisecond + k.begin
	at := ""
	if point != "" {
		at, most = fmt.Sprint(point, ":", 1+r.IntN(9)), 2*time.Second+k.begin
	}
	p := k.start(at)
	if !p.wait("ready", nil) {
		k.Errorf("a member does not begin: %v", p.Kill())
		return false
	}
	life := time.Duration(r.Int64N(int64(most)))
	if point != "" {
		life = most
	}
	select {
	case err := <-p.ended:
		if err != nil {
			k.Errorf("a member has ended: %v", err)
			k.mu.Lock()
			k.enough = true
			k.mu.Unlock()
		}
		return point != "" && err == nil
	case <-time.After(life):
	case <-k.ctx.Done():
	}
	if err := p.Kill(); err != nil {
		k.Error(err)
	}
	return false
}

// An event ends each process that handles it. It is found, isolated and parked after
// a few of them; all others take effect once, also those that were in batches with
// it, and those of other segments in the same process.
func TestFaultKillerEvent(t *testing.T) {
	t.Parallel()
	for segment := range killerSegments {
		t.Run(fmt.Sprint("segment ", segment), func(t *testing.T) {
			t.Parallel()
			killerEvent(t, segment)
		})
	}
}

const killerSegments = 3

func killerEvent(t *testing.T, segment int) {
	t.Helper()
	m := newTeam(t, *timeFlag, workerArgs{Segments: killerSegments, Batch: 100, Lease: 500 * time.Millisecond, Projection: true})
	for i := range 600 { // so that the first batches are full
		m.append(stream(uint64(i%m.streams)), "", i%3)
	}
	bad := m.any()
	for worker.SegmentOf(bad.String(), killerSegments) != segment {
		bad = m.any()
	}
	before := m.version(bad)
	m.append(bad, doExit, 2)
	for other := range killerSegments { // what takes its time beside it is innocent
		slow := bad
		for worker.SegmentOf(slow.String(), killerSegments) != other || slow == bad {
			slow = m.any()
		}
		m.append(slow, doDwell, 0)
	}
	stopFeeding, stopLooking := m.feed(2, 20*time.Millisecond, 0), m.accounted()

	running, cancel := context.WithCancel(m.ctx)
	var keeping sync.WaitGroup
	var ends atomic.Int64
	keeping.Go(func() { // the process is started again whenever it ends
		for running.Err() == nil {
			p := m.start("")
			select {
			case <-p.ended:
				ends.Add(1)
			case <-running.Done():
				_ = p.Kill()
			}
		}
	})
	began := time.Now()
	eventually(t, "the event is parked", func() bool {
		p, ok := m.parked()[bad.String()]
		return ok && p.State == worker.Waiting
	})
	found := time.Since(began)
	// Batches of 100 are searched in steps of 16: 100, 6, 1. The first end may come
	// without a claim, and the event by itself ends DefaultKills processes.
	if most := int64(1 + 2 + worker.DefaultKills); ends.Load() > most {
		t.Errorf("%d processes have ended, want at most %d", ends.Load(), most)
	}
	m.append(bad, doExit, 1) // behind it
	<-time.After(*timeFlag / 4)
	stopFeeding()
	healed := time.Now()
	_, late := oracle.Progress(healed, healTime, drained(t, m.pool, healed)...)
	m.found(late)
	stopLooking()
	got, want := m.parked(), int(m.version(bad)-before)
	if len(got) != 1 || got[bad.String()].Events != want || got[bad.String()].State != worker.Waiting {
		t.Errorf("parked are %+v, want %s with %d events", got, bad, want)
	}
	m.judge(map[string]event.Version{bad.String(): before + 1})
	t.Logf("found after %v and %d ends of the process", found.Round(time.Millisecond), ends.Load())
	cancel()
	keeping.Wait()
}

// version returns where a stream is.
func (m *team) version(s event.Stream) (v event.Version) {
	m.Helper()
	if err := m.pool.QueryRow(m.ctx, `
SELECT coalesce(max(version), 0)
FROM annals.events
WHERE category = $1
  AND stream_id = $2`, s.Category, s.ID).Scan((*int64)(&v)); err != nil {
		m.Fatal(err)
	}
	return v
}
