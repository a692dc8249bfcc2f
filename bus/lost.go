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
		return fmt.Sprintf("part %s ends at offset %d, but was read up to %d: what lay between is lost, and other messages come in its place: make the topic again and fill it, or rebuild from the log", e.Part, e.From, e.To)
	}
	return fmt.Sprintf("part %s has lost the offsets from %d up to %d, which were not read yet: fill the topic again, rebuild from the log, or skip them on purpose", e.Part, e.From, e.To)
}

// Is reports whether target is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }
