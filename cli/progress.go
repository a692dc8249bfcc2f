package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	barWidth     = 30
	drawEvery    = 100 * time.Millisecond // on a terminal
	sayEvery     = 10 * time.Second       // elsewhere
	clearTheLine = "\r\x1b[K"
)

// progress tells people how far a long command has come: a bar on a terminal,
// a line now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	what     string // such as "import"
	unit     string // such as "events"
	began    time.Time
	told     time.Time
	drawn    bool
}

func (a *app) progress(cmd *cobra.Command, what, unit string) *progress {
	w := cmd.ErrOrStderr()
	now := time.Now()
	return &progress{w: w, terminal: a.width(w) > 0, what: what, unit: unit, began: now, told: now}
}

// at says that so many of all are done. A total of 0: it is not known.
func (p *progress) at(done, total int64) {
	every := sayEvery
	if p.terminal {
		every = drawEvery
	}
	now := time.Now()
	if now.Sub(p.told) < every {
		return
	}
	p.told = now
	text := progressText(p.what, p.unit, done, total, now.Sub(p.began), p.terminal)
	if p.terminal {
		_, _ = fmt.Fprint(p.w, clearTheLine, text) // it is only for people
		p.drawn = true
		return
	}
	_, _ = fmt.Fprintln(p.w, text)
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn {
		_, _ = fmt.Fprint(p.w, clearTheLine)
		p.drawn = false
	}
}

func progressText(what, unit string, done, total int64, took time.Duration, bar bool) string {
	perSecond := float64(done) / max(took.Seconds(), 1e-9)
	if total <= 0 {
		return fmt.Sprintf("%s: %d %s, %.0f/s", what, done, unit, perSecond)
	}
	done = min(done, total)
	share := float64(done) / float64(total)
	left := "?"
	if done > 0 {
		left = (time.Duration(float64(took) * (1 - share) / share)).Round(time.Second).String()
	}
	text := what + ": "
	if bar {
		full := int(share * barWidth)
		text += "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] "
	}
	return text + fmt.Sprintf("%.0f%%, %d of %d %s, %.0f/s, %s left", 100*share, done, total, unit, perSecond, left)
}
