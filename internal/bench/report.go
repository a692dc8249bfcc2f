package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that a run has to say.
type report struct {
	Machine machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Time    time.Duration `json:"time_ns"` // of one side in one round
	Results []result      `json:"results"`
	Failed  []string      `json:"failed,omitempty"`
}

func (r report) writeFile(name string) error {
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.WriteFile(name, append(out, '\n'), 0o644)
}

func (r report) header(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d CPUs, %s; %s, pgx %s", m.CPU, m.CPUs, m.System, m.Go, m.PGX)
	if m.Commit != "" {
		fmt.Fprintf(w, "; commit %s", m.Commit)
	}
	fmt.Fprintf(w, "\nPostgres %s", m.Postgres)
	for _, name := range namedSettings {
		if value, ok := m.Settings[name]; ok {
			fmt.Fprintf(w, ", %s %s", name, value)
		}
	}
	if m.Flush > 0 {
		fmt.Fprintf(w, "; write and fsync of 8 KiB %v", short(m.Flush))
	}
	fmt.Fprintf(w, "\n%d rounds of %v for each side; ratio: median of the rounds, above 1 Annals is better; +-: half the range, of the median; latencies p50 / p99 / max\n\n", r.Rounds, r.Time)
}

func (r report) table(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "workload\tunit\tannals\t+-\tlatency\tby hand\t+-\tlatency\tratio\tmin - max\tbar\t")
	for _, line := range r.Results {
		name := line.Workload
		if line.Beside != "" {
			name = "  " + line.Beside
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%.2f\t%.2f - %.2f\t%s\t%s\n", name, line.Unit, line.Annals.cells(), line.ByHand.cells(),
			line.Ratio.Median, line.Ratio.Min, line.Ratio.Max, line.Bar, line.Verdict)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, line := range r.Results {
		for _, note := range line.Notes {
			fmt.Fprintf(w, "\n%s: %s", line.Workload, note)
		}
	}
	for _, failed := range r.Failed {
		fmt.Fprintf(w, "\nfailed: %s", failed)
	}
	fmt.Fprintln(w)
	return nil
}

func (s *sideResult) cells() string {
	times := ""
	if s.Latency != nil {
		times = fmt.Sprintf("%s / %s / %s", short(s.Latency.P50), short(s.Latency.P99), short(s.Latency.Max))
	}
	return fmt.Sprintf("%s\t%.0f%%\t%s", number(s.Median), 50*(s.Max-s.Min)/s.Median, times)
}

// number keeps three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1fk", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func short(d time.Duration) string {
	unit := time.Microsecond
	switch {
	case d >= time.Second:
		unit = 10 * time.Millisecond
	case d >= 10*time.Millisecond:
		unit = 100 * time.Microsecond
	case d >= time.Millisecond:
		unit = 10 * time.Microsecond
	}
	return strings.ReplaceAll(d.Round(unit).String(), "\u00b5", "u")
}
