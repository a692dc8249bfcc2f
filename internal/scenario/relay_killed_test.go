//go:build unix

package scenario_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/annals-go/annals/internal/oracle"
)

// Relays are killed, before they have stored what they published, behind that, and at any
// moment; three or four are there at once, one of them is frozen for longer than its lease
// again and again, and the leaders of partitions move. In the end the topics have what the
// log has, in the order of each key, and nobody had to help.
func TestFaultRelayKilled(t *testing.T) {
	t.Parallel()
	relayKilled(t, inProcess(t, 3), false)
}

// The same with ledgers, and also in the middle of a transaction: then each event is in its
// topic exactly once.
func TestFaultLedgerKilled(t *testing.T) {
	t.Parallel()
	relayKilled(t, inProcess(t, 3), true)
}

func relayKilled(t *testing.T, b *brokers, ledger bool) {
	t.Helper()
	m := newTeam(t, *timeFlag+time.Duration(*killsFlag)*(2*time.Second+b.begin), workerArgs{
		Batch: 200, Lease: 500 * time.Millisecond, Relay: true, Ledger: ledger, Brokers: b.seeds,
	})
	childProgram(t) // before the time runs
	stopFeeding := m.feed(3, 10*time.Millisecond+b.begin/20, 0)
	k := &killer{team: m, until: time.Now().Add(*timeFlag), begin: b.begin, least: *killsFlag, passed: map[string]int{"bus.relay.published": 0, "bus.relay.saved": 0}}
	if ledger {
		k.passed["bus.kafka.sent"] = 0
	}
	var killing, beside sync.WaitGroup
	running, enough := context.WithCancel(m.ctx)
	freezes, moves := 0, 0
	beside.Go(func() { freezes = m.freezing(running, m.args, b.begin) })
	if b.moveLeader != nil {
		beside.Go(func() {
			for r := random(m.draw(), 0); moment(running, r, 500*time.Millisecond); moves++ {
				b.moveLeader(r)
			}
		})
	}
	seed := m.draw()
	for i := range 3 {
		killing.Go(func() { k.kill(random(seed, i)) })
	}
	killing.Wait()
	enough()
	beside.Wait()
	stopFeeding()
	healed := time.Now()
	m.start("")
	took, found := oracle.Progress(healed, healTime+b.heal, drained(t, m.pool, healed)...)
	m.found(found)
	m.judgeRelay()
	t.Logf("%d kills, %d of them at points: %v; %d freezes, %d moves; drained within %v", k.kills, k.points, k.passed, freezes, moves, took)
}

// freezing starts a process, freezes it for longer than its lease, lets it go on for a
// while, and kills it, again and again. Begin is what it needs before it does anything.
func (m *team) freezing(ctx context.Context, args workerArgs, begin time.Duration) (times int) {
	for r := random(m.draw(), 0); ctx.Err() == nil; times++ {
		p := m.startAs(args, "")
		moment(ctx, r, 2*(args.Lease+begin))
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := p.Signal(s); err != nil {
				m.Error(err)
			}
			<-time.After(args.Lease + time.Duration(r.Int64N(int64(args.Lease))))
		}
		if err := p.Kill(); err != nil {
			m.Error(err)
		}
	}
	return times
}
