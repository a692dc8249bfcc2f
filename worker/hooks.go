package worker

import (
	"time"

	"github.com/annals-go/annals/event"
)

// Hooks are called by readers as they work, for metrics and progress. Each may
// be nil. They are called from the reader's goroutines, several at once if it
// has several parts, and hold up the reader while they run.
type Hooks struct {
	// Applied: the events have taken effect and the mark is stored (a read
	// model was committed, a broker has acknowledged). Repeated events, which
	// had no effect again, are not among them. A batch whose commit took effect but
	// whose answer was lost is not told of.
	Applied func(Applied)
}

// Applied is what Hooks.Applied is told.
type Applied struct {
	Name   string // of the reader
	Part   string
	Events []event.Recorded
	Mark   Mark
	Took   time.Duration
}
