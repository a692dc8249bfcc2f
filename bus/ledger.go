package bus

import "context"

// Ledger is a Publisher that can keep the cursor of a relay where it publishes, and
// change both in one transaction: then each message is in its topic exactly once, as
// seen by readers of what is committed.
type Ledger interface {
	Publisher
	// Open ends whoever has the ledger of the relay open, in any process, and returns the
	// cursor that was committed last; nil if there is none.
	Open(ctx context.Context, relay string) (cursor []byte, err error)
	// Commit publishes the messages in the given order, and the cursor, all or nothing.
	// After an error that does not match ErrFenced it may have been done: Open tells.
	// ErrFenced of package worker: somebody has opened the ledger since.
	Commit(ctx context.Context, messages []Message, cursor []byte) error
}
