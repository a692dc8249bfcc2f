//go:build unix

package scenario_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

// replicas of the topics, one on each broker.
const replicas = 3

// replicated are relays and consumers on three brokers, and one who appends.
type replicated struct {
	*team
	*onApache
	members []*member
}

// exact is the domain of relays with ledgers, beside others without.
const exact = "exact"

func newReplicated(t *testing.T, d time.Duration) *replicated {
	t.Helper()
	a := startApache(t, replicas)
	a.inSync()
	m := newTeam(t, d, workerArgs{
		Batch: 500, Lease: 500 * time.Millisecond, Consume: true, Brokers: a.seeds, Replicas: replicas, CallTimeout: 5 * time.Second,
	})
	relay := m.args
	relay.Consume, relay.Relay = false, true
	ledger := relay
	ledger.Ledger, ledger.Domain = true, exact
	r := &replicated{team: m, onApache: a, members: []*member{m.startAs(relay, ""), m.startAs(relay, ""), m.startAs(ledger, ""), m.start(""), m.start("")}}
	for _, p := range r.members {
		if !p.wait("ready", nil) {
			t.Fatal("a process does not begin")
		}
	}
	for _, category := range []uint64{0, 1, 2} { // so that all topics are there
		m.append(stream(category), "", 0)
	}
	r.caughtUp("at the beginning")
	return r
}

// caughtUp waits until all that has been appended by now has taken effect.
func (r *replicated) caughtUp(when string) (took time.Duration) {
	r.Helper()
	healed := time.Now()
	took, late := oracle.Progress(healed, healTime+r.heal, r.consumed(healed, r.head())...)
	for _, f := range late {
		r.Errorf("%s: %v", when, f)
	}
	return took.Round(time.Millisecond)
}

// end judges all, when nobody appends any more.
func (r *replicated) end() {
	r.Helper()
	healed := time.Now()
	_, late := oracle.Progress(healed, healTime+r.heal, append(drained(r.T, r.pool, healed), r.consumed(healed, r.head())...)...)
	r.found(late)
	for _, p := range r.members {
		quit(r.T, p)
	}
	again, found := oracle.Published(committed(r.T, r.pool), nil, messagesIn(r.T, r.ctx, r.seeds, topicsOf(exact)...), 0)
	r.found(found)
	r.Logf("%.3f of the messages of ledgers came again", again)
	r.judgeConsumer()
	for _, p := range r.members {
		r.judgeCalls(p)
	}
}

// The leader of a partition is killed, again and again, under load, and coordinators of
// groups and transactions with it. Another replica leads then, which has all that was
// acknowledged: relays with and without ledgers, and consumers, go on by themselves while
// the broker is down, nothing is lost, nothing takes effect twice, and each stream keeps its
// order. It comes back, and is in sync, before the next is killed.
func TestApacheOwnLeaderKilled(t *testing.T) {
	t.Parallel()
	const leastKills = 3
	r := newReplicated(t, *timeFlag+4*time.Minute)
	stopFeeding := r.feed(3, 40*time.Millisecond, 0)
	draw := random(r.draw(), 0)
	began := time.Now()
	for kills := 1; kills <= leastKills || time.Since(began) < *timeFlag; kills++ {
		r.inSync()
		moment(r.ctx, draw, time.Second)
		node := r.leader(draw)
		r.kill(node)
		took := r.caughtUp("with a broker down")
		r.restart(node)
		t.Logf("kill %d, of broker %d: what there was had taken effect after %v", kills, node, took)
	}
	r.inSync()
	stopFeeding()
	r.end()
}

// Fewer replicas are in sync than there have to be, because one of three brokers is down
// and all have to be, or because two are: then there is no majority of controllers
// either. Nothing is published until they are back, nothing is lost, and all goes on by
// itself.
func TestApacheOwnTooFewReplicas(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, *timeFlag+4*time.Minute)
	stopFeeding := r.feed(3, 40*time.Millisecond, 0)
	draw := random(r.draw(), 0)

	r.inSync()
	_ = r.probed() // its topic is made while all are there
	r.wantInSync("3")
	node := r.leader(draw)
	r.kill(node)
	var err error
	eventually(t, "a producer is told that there are too few replicas", func() bool {
		err = r.probed()
		return errors.Is(err, kerr.NotEnoughReplicas)
	})
	r.stands("with one of three down, and three to be in sync")
	r.reports("has 2 of 3 replicas in sync, and min.insync.replicas is 3: look at brokers [" + strconv.Itoa(int(node)) + "]")
	r.restart(node)
	t.Logf("one down: %v; all had taken effect within %v", err, r.caughtUp("with all three back"))
	r.wantInSync("2")
	r.inSync()

	node = r.leader(draw)
	down := r.others(draw, node)
	for _, n := range down {
		r.kill(n)
	}
	r.stands("with two of three down")
	r.restart(down...)
	t.Logf("two down: all had taken effect within %v", r.caughtUp("with all back"))
	r.inSync()
	stopFeeding()
	r.end()
}

// stands waits until the relay stands, and looks whether it does for a while.
func (r *replicated) stands(when string) {
	r.Helper()
	mark := func() (p event.Position) {
		if err := r.pool.QueryRow(r.ctx, `SELECT position FROM annals.checkpoints WHERE name = 'relay/main' AND part = ''`).Scan((*int64)(&p)); err != nil {
			r.Fatal(err)
		}
		return p
	}
	last, since := mark(), time.Now()
	eventually(r.T, when+" the relay stands for 3 s", func() bool {
		if now := mark(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	if head := r.head(); head <= last {
		r.Errorf("%s: the relay stands at the head, %d: nothing was appended behind it", when, head)
	}
}

// reports waits until the status of the relay says why it stands.
func (r *replicated) reports(why string) {
	r.Helper()
	store, said := postgres.New(r.pool), ""
	eventually(r.T, "the relay says that its topic "+why, func() bool {
		s, err := store.Status(r.ctx, "relay/main")
		if err != nil {
			r.Fatal(err)
		}
		for _, p := range s.Parts {
			if p.Seat != nil && p.Seat.Report.Error != "" {
				said = p.Seat.Report.Error
			}
		}
		return strings.Contains(said, why)
	})
	r.Logf("the relay says: %s", said)
}
