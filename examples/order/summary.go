package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// totals is what the summary tells.
type totals struct {
	orders, returns, unchanged, refused int // invoices
	lines, events, rejectedLines        int
	validated, placed, transported      time.Duration
}

func (t *totals) write(w io.Writer, j *importJob, m *meter) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	imported := t.orders + t.returns
	row("orders", "%d placed", t.orders)
	row("returns", "%d accepted", t.returns)
	row("unchanged", "%d invoices that were there already", t.unchanged)
	if t.refused > 0 {
		row("refused", "%d invoices, see %s", t.refused, j.rejected)
	}
	row("lines", "%d imported, %d rejected, see %s", t.lines, t.rejectedLines, j.rejected)
	row("events", "%d appended, %d relayed, %d projected", t.events, m.relayed.events.Load(), m.projected.events.Load())
	row("times", "validate %s, append %s, until projected %s", round(t.validated), round(t.placed), round(t.transported))
	if imported > 0 {
		row("rate", "%.0f orders and returns a second appended, %.0f into the read model", rate(int64(imported), t.placed), rate(int64(imported), t.transported))
		row("latency", "append to read model p50 %s, p99 %s", round(m.quantile(0.50)), round(m.quantile(0.99)))
	}
	if peak := peakMemory(); peak > 0 {
		row("memory", "%d MiB at its peak", peak>>20)
	}
	row("report", "%s", j.report)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
