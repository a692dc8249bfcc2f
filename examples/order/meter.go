package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/worker"
)

// meter counts what passes the stages of the pipeline. It is safe for
// concurrent use.
type meter struct {
	began     time.Time
	appended  stage
	relayed   stage
	projected stage

	mu        sync.Mutex
	latencies []time.Duration
}

// stage counts events, and at the first stage the invoices they come from.
type stage struct{ events, invoices atomic.Int64 }

func (s *stage) add(events, invoices int) {
	s.events.Add(int64(events))
	s.invoices.Add(int64(invoices))
}

func newMeter() *meter { return &meter{began: time.Now()} }

func (m *meter) onRelayed(a worker.Applied) { m.relayed.add(len(a.Events), 0) }

// maxLatencies bounds the sample: what comes later is not measured.
const maxLatencies = 1_000_000

// onApplied measures from the append, by the clock of the database, to the
// commit of the read model, by the clock of this process. Events of an earlier
// run are not measured.
func (m *meter) onApplied(a worker.Applied) {
	now := time.Now()
	m.projected.add(len(a.Events), 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range a.Events {
		if e.RecordedTime.After(m.began) && len(m.latencies) < maxLatencies {
			m.latencies = append(m.latencies, now.Sub(e.RecordedTime))
		}
	}
}

// quantile returns the latency that a share q of the events stayed within.
func (m *meter) quantile(q float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.latencies) == 0 {
		return 0
	}
	slices.Sort(m.latencies)
	return m.latencies[min(int(q*float64(len(m.latencies))), len(m.latencies)-1)]
}

// expected estimates how many events a stage will see: those appended, and one
// for each invoice to come.
func (m *meter) expected(invoices int) int64 {
	return m.appended.events.Load() + max(0, int64(invoices)-m.appended.invoices.Load())
}

// lag returns how many events a stage is behind the appends of this run.
func (m *meter) lag(s *stage) int64 {
	return max(0, m.appended.events.Load()-s.events.Load())
}
