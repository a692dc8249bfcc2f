package worker

import (
	"time"

	"github.com/annals-go/annals/event"
)

// Status is how a reader does, as its store sees it at one moment. It says the same
// whoever asks, and also when no worker runs.
type Status struct {
	Name string
	// Time is the clock of the store, and Head the last position that it shows; 0 if
	// the log is elsewhere, and then no lag can be told.
	Time time.Time
	Head event.Position
	// Members are the workers whose lease runs, sorted.
	Members []string
	// Parts are all that have a mark, a seat or something parked, sorted.
	Parts []PartStatus
}

// PartStatus is how one part of a reader does. For a part without a mark it is that
// of the zero mark.
type PartStatus struct {
	Part string
	Mark Mark
	// Altered is an *AlteredError if the mark was not written by a worker: nobody reads
	// on from it.
	Altered error
	// Updated is when the mark was written; zero: never.
	Updated time.Time

	// Lag is how many events of the log are behind the mark. Those that the reader does
	// not take count too; so for a part of a partitioned source, which has only its
	// share of the log, it is an upper bound. It is counted up to MaxLag; beyond, with
	// Estimated, it is the difference of the positions.
	Lag       int64
	Estimated bool
	// Behind is for how long the first event behind the mark has been there; 0: there
	// is none.
	Behind time.Duration

	// Retrying and Waiting are how many keys are parked in that state, Parked is how
	// many events they hold aside, and Oldest for how long the first of them has.
	Retrying, Waiting int
	Parked            int64
	Oldest            time.Duration

	// Seat is that of the segment with the name of the part; nil: it never had a term.
	// A relay has one seat, that of the part "", for all of its parts.
	Seat *Seat
}

// MaxLag is how far a lag is counted.
const MaxLag = 10_000
