package bus

import (
	"context"
	"errors"
)

// ErrNotOpen says that a Ledger was not opened, or not since a Commit that has failed.
var ErrNotOpen = errors.New("ledger is not open")

// Ledger is a Publisher that can keep the cursor of a relay where it publishes, and
// change both in one transaction: then each message is in its topic exactly once, as
// seen by readers of what is committed. A relay uses one by one goroutine at a time.
type Ledger interface {
	Publisher
	// Open ends whoever has the ledger of the named relay open, in any process: what it
	// has not committed by then never will be. It returns the cursor that was committed
	// last; nil if there is none.
	Open(ctx context.Context, relay string) (cursor []byte, err error)
	// Commit publishes the messages in the given order, and the cursor, all or nothing.
	// After a permanent error nothing was published, and Commit may be called again.
	// After any other it may have been done: Open tells, and has to be called first:
	// till then the error matches ErrNotOpen. One that matches ErrFenced of package
	// worker: somebody else has opened the ledger.
	Commit(ctx context.Context, messages []Message, cursor []byte) error
}
