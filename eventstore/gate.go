package eventstore

import "context"

// Gate is what a store can be given to slow down or refuse appends, such as when
// what reads them has fallen far behind. It is safe for concurrent use.
type Gate interface {
	// Admit is asked once before each append, also one within a transaction, when the
	// append was found valid and before anything is sent: events is how many it has. It
	// may wait until ctx ends, which has the deadline of the append; in a transaction,
	// others wait meanwhile for what that one holds. An error refuses the append: its
	// own error wraps that one, nothing was appended by it, and it does not match
	// ErrOutcomeUnknown. That says nothing of an earlier append of the same events. What
	// is imported is not asked for.
	Admit(ctx context.Context, events int) error
}
