//go:build unix

package scenario_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
)

// The network between the brokers and those who publish and consume swallows everything,
// is very slow, or loses connections and tells it late, or never. Every call of the relay
// returns by its deadline, nothing is left behind, and after each fault all is as before
// within 15 s, or what a call to join a group may take longer.
func TestFaultBrokerHalfOpen(t *testing.T) {
	t.Parallel()
	brokerHalfOpen(t, inProcess(t, 1))
}

func brokerHalfOpen(t *testing.T, b *brokers) {
	t.Helper()
	network := newLine(t, b.seeds[0])
	m := newTeam(t, *timeFlag+2*time.Minute, workerArgs{
		Batch: 50, Lease: 2 * time.Second, Relay: true, Consume: true, Brokers: b.seeds, Via: network.addr(), CallTimeout: callTimeout,
	})
	p := m.start("")
	stopFeeding := m.feed(2, 40*time.Millisecond, 0)
	faults := []struct {
		name        string
		begin, heal func()
	}{
		{"a black hole", func() { network.setRate(0) }, func() { network.setRate(unlimited) }},
		{"a slow line", func() { network.setRate(2000) }, func() { network.setRate(unlimited) }},
		{"connections whose end is told late", func() { network.lose(faultFor) }, func() {}},
		{"connections whose end is never told", network.strand, func() {}},
		{"connections that end", network.cut, network.cut},
	}
	began := time.Now()
	for i := 0; i < len(faults) || time.Since(began) < *timeFlag; i++ {
		fault := faults[i%len(faults)]
		fault.begin()
		<-time.After(faultFor)
		fault.heal()
		healed := time.Now()
		took, found := oracle.Progress(healed, healTime+b.heal, m.consumed(healed, m.head())...)
		for _, f := range found {
			t.Errorf("after %s: %v", fault.name, f)
		}
		t.Logf("after %s all is as before within %v", fault.name, took.Round(time.Millisecond))
	}
	stopFeeding()
	healed := time.Now()
	_, late := oracle.Progress(healed, healTime+b.heal, m.consumed(healed, m.head())...)
	m.found(late)
	quit(t, p)
	m.judgeConsumer()
	m.judgeCalls(p)
}

// head is the position of the last event.
func (m *team) head() (p event.Position) {
	m.Helper()
	if err := m.pool.QueryRow(m.ctx, `SELECT coalesce(max(position), 0) FROM annals.events`).Scan((*int64)(&p)); err != nil {
		m.Fatal(err)
	}
	return p
}

// judgeCalls judges what a process that has ended has told of its calls and goroutines.
func (m *team) judgeCalls(p *member) {
	m.Helper()
	var samples []oracle.Sample
	for len(p.told) > 0 {
		switch told := <-p.told; told.kind {
		case "late":
			m.Errorf("late: %s", told.data)
		case "goroutines":
			var n int
			if err := json.Unmarshal(told.data, &n); err != nil {
				m.Error(err)
			}
			samples = append(samples, oracle.Sample{Goroutines: n})
		}
	}
	m.found(oracle.Hygiene(samples, oracle.Sample{Goroutines: 20}))
	m.Logf("%d samples, %d goroutines at the end", len(samples), samples[len(samples)-1].Goroutines)
}
