package main

import (
	"context"
	"fmt"
	"time"
)

// workload is one thing to measure, under a name that stays.
type workload struct {
	name string
	unit string // of what measure returns
	// lower means that less is better.
	lower   bool
	measure func(sample) float64
	// of says what the percentiles are percentiles of. Empty: there are none.
	of string
	// once means that a side is one piece of work and not a span of time: one
	// round without a warm-up.
	once bool
	// apart means that it needs more than others do, and is run only if it is asked for.
	apart bool
	bar   bar
	open  func(ctx context.Context, l *lab) (*trial, error)
}

// trial is a workload that has its database and tables.
type trial struct {
	// sides are run in turns. The first is Annals, the second is the statement
	// by hand. Each further one makes a row of its own, without a bar.
	sides []side
	// finish checks what was written, and returns what else is worth saying.
	finish func(ctx context.Context) ([]string, error)
	close  func()
}

// noting adds something to say.
func (t *trial) noting(more ...func() string) *trial {
	finish := t.finish
	t.finish = func(ctx context.Context) ([]string, error) {
		notes, err := finish(ctx)
		for _, note := range more {
			notes = append(notes, note())
		}
		return notes, err
	}
	return t
}

// side is one of the things that are compared.
type side struct {
	// label names a further side.
	label string
	// ours means that a further side is Annals, to be compared with the second
	// side; otherwise the first is compared with it.
	ours bool
	run  func(ctx context.Context, d time.Duration) (sample, error)
}

// sample is what one side did in one round.
type sample struct {
	n         int // events, or appends, that were done
	took      time.Duration
	latencies []time.Duration
}

func perSecond(s sample) float64 { return float64(s.n) / s.took.Seconds() }

func seconds(s sample) float64 { return s.took.Seconds() }

// bar is what a workload has to reach. The zero value is no bar.
type bar struct {
	ratio    float64 // at least
	most     float64 // of the unit, at most
	least    float64 // of the unit, at least
	finishes bool
}

func (b bar) text(unit string) string {
	switch {
	case b.ratio > 0 && b.least > 0:
		return fmt.Sprintf(">= %.2f and >= %g %s", b.ratio, b.least, unit)
	case b.ratio > 0:
		return fmt.Sprintf(">= %.2f", b.ratio)
	case b.most > 0:
		return fmt.Sprintf("<= %g %s", b.most, unit)
	case b.finishes:
		return "finishes"
	}
	return ""
}

// verdict is for a workload that was measured to its end.
func (b bar) verdict(ratio, value float64) string {
	switch {
	case b == bar{}:
		return ""
	case b.ratio > 0 && ratio < b.ratio, b.most > 0 && value > b.most, value < b.least:
		return "below"
	}
	return "ok"
}

// workloads lists all, in the order in which they are run.
func workloads() []workload {
	return []workload{
		appends(1, 1, bar{ratio: 0.75}),
		appends(1, 4, bar{}),
		appends(1, 16, bar{ratio: 1.2}),
		appends(1, 64, bar{ratio: 2.5}),
		appends(1, 128, bar{}),
		appends(10, 1, bar{}),
		appends(10, 16, bar{ratio: 0.85}),
		load(100, bar{ratio: 0.9}),
		load(1000, bar{}),
		pages(100, bar{}),
		pages(1000, bar{ratio: 0.9}),
		tail("tail/1000-per-second", false, bar{most: 10}),
		tail("tail/other-database", true, bar{most: 10}),
		mixed(bar{ratio: 0.9}),
		imports(func(l *lab) int { return l.events }, bar{ratio: 0.8}),
		relay(bar{ratio: 0.7, least: 100_000}),
		visible("append-to-consumer/1000-per-second", inProcess, bar{most: 30}),
		consume(bar{ratio: 0.7, least: 30_000}),
		transaction("transaction/60000-appends", 1, func(l *lab) int { return l.inOne }),
		transaction("transaction/12x2000", 12, func(l *lab) int { return l.inTwelve }),
		apacheRelay(bar{ratio: 0.6}),
		apacheVisible(bar{}),
	}
}
