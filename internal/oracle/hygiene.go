package oracle

import "time"

// Sample is what a process and its server hold at a time.
type Sample struct {
	Goroutines int
	Sessions   int           // of the server, but for the one that looks
	Locks      int           // advisory ones
	TempFiles  int           // that the server has at the moment
	Idle       time.Duration // how long a session has been idle in a transaction, the longest
}

// mostIdle is how long a session may be idle in a transaction.
const mostIdle = 5 * time.Second

// Hygiene judges samples taken at even intervals, the last of them when all is
// quiet again. Goroutines, sessions, locks and temporary files must not grow from
// the first quarter of the samples to the last one, by more than a quarter and
// ten; what there is at the end must be at most quiet. No session may be idle in
// a transaction for more than 5 s at any time.
func Hygiene(samples []Sample, quiet Sample) []Finding {
	var r report
	if len(samples) < 8 {
		r.find(Growth, "%d samples, want at least 8", len(samples))
		return r.told()
	}
	end := samples[len(samples)-1]
	quarter := len(samples) / 4
	for _, c := range []struct {
		name string
		of   func(Sample) int
	}{
		{"goroutines", func(s Sample) int { return s.Goroutines }},
		{"sessions", func(s Sample) int { return s.Sessions }},
		{"advisory locks", func(s Sample) int { return s.Locks }},
		{"temporary files", func(s Sample) int { return s.TempFiles }},
	} {
		before, after := mean(samples[:quarter], c.of), mean(samples[len(samples)-quarter:], c.of)
		if after > before*1.25+10 {
			r.find(Growth, "%s: %.1f in the first quarter, %.1f in the last", c.name, before, after)
		}
		if got, most := c.of(end), c.of(quiet); got > most {
			r.find(Growth, "%s: %d at the end, at most %d", c.name, got, most)
		}
	}
	for _, s := range samples {
		if s.Idle > mostIdle {
			r.find(Idle, "for %v, at most %v", s.Idle.Round(time.Millisecond), mostIdle)
		}
	}
	return r.told()
}

// Bounded finds a measure that is above its limit.
func Bounded(what string, got, most int64) []Finding {
	var r report
	if got > most {
		r.find(Growth, "%s: %d, at most %d", what, got, most)
	}
	return r.told()
}

func mean(samples []Sample, of func(Sample) int) float64 {
	sum := 0
	for _, s := range samples {
		sum += of(s)
	}
	return float64(sum) / float64(len(samples))
}
