package bus

import (
	"errors"
	"fmt"
)

// ErrLost says that a topic has no longer what a consumer has not read yet, or what it
// has read: see LostError.
var ErrLost = errors.New("messages are lost")

// LostError names the offsets of a part that are lost: from From, up to and without To.
// It matches ErrLost. A Source never goes on behind them by itself.
//
// A topic that was deleted, and made again by the refill of its relay, is another one,
// which is read from its beginning, and what took effect before does not do so again. A
// refill of the topic as it is comes behind the offsets that are lost, so they have to be
// skipped all the same; and a reader that goes by positions, as a projection does, passes
// over it. That one can be rebuilt from the log.
type LostError struct {
	Part     string
	From, To int64
	// Truncated: the consumer was given them, and then the topic lost them and all
	// behind them, as in an unclean election of a leader. Other messages may come in
	// their place.
	Truncated bool
}

func (e *LostError) Error() string {
	if e.Truncated {
		return fmt.Sprintf("part %s ends at offset %d, but was read up to %d: what lay between is lost, and other messages come in its place: if a relay fills the topic, delete it and have the relay refill it; if not, set a consumer with an inbox back with worker.RewindParts, which gives up what is parked", e.Part, e.From, e.To)
	}
	return fmt.Sprintf("part %s has lost the offsets from %d up to %d, which were not read yet: if a relay fills the topic, delete it and have the relay refill it; if not, have them sent again; or skip them on purpose with the source's option WithSkip", e.Part, e.From, e.To)
}

// Is reports whether target is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }
