//go:build unix

package scenario_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/worker"
)

// The worker of a stream that is poisoned is killed while it parks it, while it is
// parked, while it drains, and when it switches back. All the time events are appended
// to it. The order of the stream is kept, and the counts are exact.
func TestFaultPoisonKilled(t *testing.T) {
	t.Parallel()
	m := newTeam(t, *timeFlag+2*patience, workerArgs{Segments: 1, Batch: 20, Lease: 300 * time.Millisecond, Projection: true})
	childProgram(t)
	bad := event.Stream{Category: "order", ID: "bad"}
	key := bad.String()
	m.append(bad, "", 1)
	m.append(bad, doRefuse, 2)
	for range 10 {
		m.append(m.any(), "", 3)
	}
	stopFeeding, stopLooking := m.feed(2, 20*time.Millisecond, 0), m.accounted()
	kills := 0
	// at has a worker end at a point, and reports whether it did.
	at := func(point string, n int) bool {
		p := m.start(fmt.Sprint(point, ":", n))
		select {
		case err := <-p.ended:
			kills++
			return err == nil
		case <-time.After(3 * time.Second):
			_ = p.Kill()
			return false
		}
	}
	state := func() worker.State { return m.parked()[key].State }

	for n := 1; n <= 3; n++ { // it parks: in one of the first batches
		for _, point := range []string{"postgres.advance.saved", "postgres.advance.committed"} {
			if !at(point, n) {
				t.Errorf("nothing passes %s while the stream is parked", point)
			}
			m.append(bad, "", 1)
		}
	}
	p := m.start("") // it is parked
	eventually(t, "the stream is parked", func() bool { return state() == worker.Waiting })
	for range 30 {
		m.append(bad, "", 9)
	}
	eventually(t, "all of it goes behind", func() bool { return m.parked()[key].Events >= 300 })
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if got := m.handled()[key]; got != "1 to 2" {
		t.Errorf("of the parked stream, %s was applied, want 1 to 2", got)
	}

	m.args.Fixed = true
	amender := worker.Amender{Store: m.db, Name: tallies, Actor: "the test"}
	retry := func() { // also after it was killed too often
		if state() == worker.Waiting {
			if _, err := amender.RetryParked(m.ctx, 0, worker.Key{Key: key}); err != nil {
				t.Error(err)
			}
		}
	}
	// It drains, a hundred at a time, and switches back: each of these is tried, and
	// killed before its write, in it, and after it.
	points := []string{
		"worker.drain.begun", "postgres.advance.committed", "projection.handled", "postgres.advance.committed",
		"postgres.advance.saved", "postgres.advance.committed",
	}
	held := []int{}
	for n := 0; len(m.parked()) > 0 && n < 60; n++ {
		retry()
		m.append(bad, "", 2)
		held = append(held, m.parked()[key].Events)
		at(points[n%len(points)], 1)
		m.append(bad, "", 2)
	}
	if len(m.parked()) > 0 {
		t.Errorf("the stream is parked still, after %d kills: %+v", kills, m.parked())
	}
	stopFeeding()
	healed := time.Now()
	m.start("")
	_, late := oracle.Progress(healed, healTime, drained(t, m.pool, healed)...)
	m.found(late)
	stopLooking()
	if len(held) < 3 {
		t.Errorf("it has drained in %d runs, want several", len(held))
	}
	m.judge(nil)
	t.Logf("%d kills; of the parked stream there were %v events at the begin of each run that drained it", kills, held)
}
