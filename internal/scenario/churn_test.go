//go:build unix

package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
)

// Members of a consumer group come and go, between one and five of them: they leave, are
// killed at any moment or at a crash point, or are frozen for longer than their session. Coordinators of the group and
// leaders of partitions move. Each event has one effect, in the order of its stream, and
// in the end all have been consumed, and nobody had to help.
func TestFaultRebalanceChurn(t *testing.T) {
	t.Parallel()
	rebalanceChurn(t, inProcess(t, 3))
}

func rebalanceChurn(t *testing.T, b *brokers) {
	t.Helper()
	m := newTeam(t, *timeFlag*2, workerArgs{Batch: 50, Lease: 500 * time.Millisecond, Consume: true, Brokers: b.seeds})
	childProgram(t) // before the time runs
	relays := m.args
	relays.Consume, relays.Relay = false, true
	running, enough := context.WithCancel(m.ctx)
	var beside sync.WaitGroup
	for range 2 {
		beside.Go(func() { m.freezing(running, relays, b.begin) }) // so that there are repeats
	}
	beside.Go(func() {
		for r := random(m.draw(), 0); moment(running, r, 2*time.Second); {
			m.append(m.any(), doDwell, 0) // so that members end in the middle of something
		}
	})
	stopFeeding := m.feed(3, 15*time.Millisecond, 3)
	g := &group{team: m, random: random(m.draw(), 0), did: map[string]int{}}
	for _, p := range crashPoints(t) {
		if strings.HasPrefix(p, "bus.consumer.") {
			g.points = append(g.points, p)
		}
	}
	g.join("")
	for until := time.Now().Add(2 * *timeFlag); time.Now().Before(until) && m.ctx.Err() == nil; {
		g.change()
		switch n := g.random.IntN(3); {
		case n == 0 && b.moveCoordinators != nil:
			b.moveCoordinators()
			g.did["coordinators moved"]++
		case n == 1 && b.moveLeader != nil:
			b.moveLeader(g.random)
			g.did["leaders moved"]++
		}
		moment(m.ctx, g.random, 2*session/3)
	}
	enough()
	beside.Wait()
	stopFeeding()
	healed := time.Now()
	relay := m.startAs(relays, "")
	g.wake(0)
	g.join("") // the others may end at a point yet
	took, late := oracle.Progress(healed, healTime+b.heal, append(drained(t, m.pool, healed), m.consumed(healed, m.head())...)...)
	m.found(late)
	g.leave()
	if err := relay.Kill(); err != nil {
		t.Error(err)
	}
	m.judgeConsumer()
	t.Logf("%v; all consumed within %v", g.did, took)
}

// quit ends a process that is ready as its supervisor would.
func quit(t *testing.T, p *member) {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Errorf("process %d does not end", p.PID())
	}
}

// group are the members of a consumer group.
type group struct {
	*team
	random  *rand.Rand
	members []*member
	frozen  []frozen
	points  []string // at which a member may end
	did     map[string]int
}

type frozen struct {
	*member
	until time.Time
}

// join starts a member, which ends at a crash point if one is given.
func (g *group) join(crash string) {
	g.Helper()
	p := g.start(crash)
	if !p.wait("ready", nil) {
		g.Fatal("a member does not begin")
	}
	g.members = append(g.members, p)
	g.did["joined"]++
}

// take takes one out of the members.
func (g *group) take() *member {
	i := g.random.IntN(len(g.members))
	p := g.members[i]
	g.members = slices.Delete(g.members, i, i+1)
	return p
}

// wake lets those go on that were frozen for long enough, or all if none may stay so.
func (g *group) wake(mayStay int) {
	g.Helper()
	g.frozen = slices.DeleteFunc(g.frozen, func(f frozen) bool {
		if mayStay > 0 && time.Now().Before(f.until) {
			return false
		}
		g.signal(f.member, syscall.SIGCONT)
		g.members = append(g.members, f.member)
		return true
	})
}

// signal sends a signal to a member, which may have ended at a point.
func (g *group) signal(p *member, s syscall.Signal) {
	g.Helper()
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.Error(err)
	}
}

// change has one member come, leave, die or freeze. There are one to five.
func (g *group) change() {
	g.Helper()
	g.wake(1)
	g.members = slices.DeleteFunc(g.members, func(p *member) bool {
		select {
		case err := <-p.ended:
			if err != nil {
				g.Fatalf("a member has ended by itself: %v", err)
			}
			g.did["ended at a point"]++
			return true
		default:
			return false
		}
	})
	switch n := len(g.members); {
	case n == 0 || n+len(g.frozen) < 5 && g.random.IntN(2) == 0:
		point := ""
		if g.random.IntN(2) == 0 {
			point = fmt.Sprint(g.points[g.random.IntN(len(g.points))], ":", 1+g.random.IntN(60))
		}
		g.join(point)
	case g.random.IntN(3) == 0:
		quit(g.T, g.take())
		g.did["left"]++
	case g.random.IntN(2) == 0:
		if err := g.take().Kill(); err != nil {
			g.Error(err)
		}
		g.did["killed"]++
	default:
		p := g.take()
		g.signal(p, syscall.SIGSTOP)
		g.frozen = append(g.frozen, frozen{p, time.Now().Add(session + time.Duration(g.random.Int64N(int64(session))))})
		g.did["frozen"]++
	}
	if len(g.members) == 0 {
		g.join("")
	}
}

// leave ends all members.
func (g *group) leave() {
	g.Helper()
	g.wake(0)
	for _, p := range g.members {
		quit(g.T, p)
	}
}

// consumed watches the consumers until each event up to a position has taken effect, or
// patience is over.
func (m *team) consumed(since time.Time, to event.Position) (lags []oracle.Lag) {
	m.Helper()
	for r := random(0, 0); time.Since(since) < patience && moment(m.ctx, r, 100*time.Millisecond); {
		l := oracle.Lag{Name: "consumers"}
		if err := m.pool.QueryRow(m.ctx, `
SELECT count(*)
FROM annals.events e
WHERE position <= $1
  AND NOT EXISTS (SELECT FROM handled h WHERE h.event_id = e.event_id)`, int64(to)).Scan(&l.Lag); err != nil {
			m.Fatal(err)
		}
		l.At = time.Now()
		if lags = append(lags, l); l.Lag == 0 {
			break
		}
	}
	return lags
}

// judgeConsumer judges what relays and consumers have done.
func (m *team) judgeConsumer() {
	m.Helper()
	m.judgeRelay()
	stored := committed(m.T, m.pool)
	m.found(slices.Concat(
		oracle.Effects("tallied", stored, count, m.tallied()),
		oracle.Effects("handled", stored, inOrder, m.handled()),
		chain(m.T, m.ctx, m.pool),
	))
}

// inOrder is what handled tells of events that were applied once, in their order.
func inOrder(model map[string]string, e oracle.Event) {
	model[e.Stream.String()] = fmt.Sprint("1 to ", e.Version)
}

// The broker is killed every few seconds, and comes back with what it has acknowledged.
// Relays and consumers go on by themselves.
func TestFaultBrokerRestarts(t *testing.T) {
	t.Parallel()
	brokerRestarts(t, inChild(t))
}

func brokerRestarts(t *testing.T, b *brokers) {
	t.Helper()
	m := newTeam(t, *timeFlag+patience, workerArgs{Batch: 50, Lease: 500 * time.Millisecond, Consume: true, Brokers: b.seeds})
	relay := m.args
	relay.Consume, relay.Relay = false, true
	members := []*member{m.startAs(relay, ""), m.startAs(relay, ""), m.start("")}
	for _, p := range members {
		if !p.wait("ready", nil) {
			t.Fatal("a process does not begin")
		}
	}
	stopFeeding := m.feed(3, 15*time.Millisecond, 0)
	r, kills := random(m.draw(), 0), 0
	for until := time.Now().Add(*timeFlag); (kills < 3 || time.Now().Before(until)) && moment(m.ctx, r, 2*time.Second); kills++ {
		down := make(chan struct{})
		time.AfterFunc(time.Duration(r.Int64N(int64(time.Second))), func() { close(down) })
		b.again(down)
	}
	stopFeeding()
	healed := time.Now()
	took, late := oracle.Progress(healed, healTime+b.heal, append(drained(t, m.pool, healed), m.consumed(healed, m.head())...)...)
	m.found(late)
	for _, p := range members {
		quit(t, p)
	}
	m.judgeConsumer()
	t.Logf("%d kills of the broker; all consumed within %v", kills, took)
}
