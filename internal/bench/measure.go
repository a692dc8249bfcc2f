package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// plan says how long to measure.
type plan struct {
	rounds int
	time   time.Duration // of one side in one round
}

// result is one line: Annals beside one other way.
type result struct {
	Workload string      `json:"workload"`
	Beside   string      `json:"beside,omitempty"` // which sides, unless they are the usual ones
	Unit     string      `json:"unit"`
	Annals   sideResult  `json:"annals"`
	ByHand   *sideResult `json:"by_hand,omitempty"`
	Ratio    *spread     `json:"ratio,omitempty"` // above 1: Annals is better
	Bar      string      `json:"bar,omitempty"`
	Verdict  string      `json:"verdict,omitempty"`
	Notes    []string    `json:"notes,omitempty"`
}

type sideResult struct {
	spread
	Latency *latency `json:"latency,omitempty"`
}

// latency is of all rounds together.
type latency struct {
	Of  string        `json:"of"`
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// measure opens a workload, runs its sides in turns and checks what they wrote.
func (l *lab) measure(ctx context.Context, w workload, p plan) (_ []result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure %s: %w", w.name, err)
		}
	}()
	t, err := w.open(ctx, l)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if w.once {
		p.rounds = 1
	} else if err := t.warmUp(ctx, min(p.time, time.Second)); err != nil {
		return nil, err
	}
	all := make([][]sample, len(t.sides))
	for round := range p.rounds {
		for i := range t.sides {
			i = (i + round) % len(t.sides) // who comes first finds another server than who comes last
			runtime.GC()                   // nobody pays for the garbage of the one before
			s, err := t.sides[i].run(ctx, p.time)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], s)
		}
	}
	notes, err := t.finish(ctx)
	if err != nil {
		return nil, err
	}
	return w.results(t, all, notes), nil
}

// warmUp opens connections, prepares statements and fills caches.
func (t *trial) warmUp(ctx context.Context, d time.Duration) error {
	for _, s := range t.sides {
		if _, err := s.run(ctx, d); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
	}
	return nil
}

func (w workload) results(t *trial, all [][]sample, notes []string) []result {
	first := w.compare(all[0], all[1], "")
	first.Bar = w.bar.text(w.unit)
	first.Verdict = w.bar.verdict(first.Ratio.Median, first.Annals.Median)
	first.Notes = notes
	out := []result{first}
	for i, s := range t.sides[2:] {
		if s.ours {
			out = append(out, w.compare(all[i+2], all[1], s.label))
		} else {
			out = append(out, w.compare(all[0], all[i+2], s.label))
		}
	}
	return out
}

// compare takes one ratio from each round, so that a slow minute of the machine
// is in both its parts.
func (w workload) compare(ours, theirs []sample, beside string) result {
	r := result{Workload: w.name, Beside: beside, Unit: w.unit, Annals: w.side(ours)}
	hand := w.side(theirs)
	ratios := make([]float64, len(ours))
	for i := range ratios {
		a, b := r.Annals.Rounds[i], hand.Rounds[i]
		if w.lower {
			a, b = b, a
		}
		ratios[i] = a / b
	}
	ratio := spreadOf(ratios)
	r.ByHand, r.Ratio = &hand, &ratio
	return r
}

func (w workload) side(samples []sample) sideResult {
	var values []float64
	var latencies []time.Duration
	for _, s := range samples {
		values = append(values, w.measure(s))
		latencies = append(latencies, s.latencies...)
	}
	r := sideResult{spread: spreadOf(values)}
	if w.of != "" {
		r.Latency = &latency{Of: w.of, P50: percentile(latencies, 0.5), P99: percentile(latencies, 0.99), Max: percentile(latencies, 1)}
	}
	return r
}
