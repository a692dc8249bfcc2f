package worker

import (
	"context"

	"github.com/annals-go/annals/eventstore"
)

// Checkpoint holds the marks of all parts of one reader. A part without a mark
// has not been read.
type Checkpoint map[string]Mark

// Checkpoints keeps the checkpoints of readers. It is safe for concurrent use.
type Checkpoints interface {
	// Checkpoint returns the marks of the named reader; an empty map if it has none.
	// A mark that was not written by Save or Advance is an *AlteredError.
	Checkpoint(ctx context.Context, name string) (Checkpoint, error)
	// Save makes the write, all of it or nothing: for effects that are elsewhere,
	// such as those of a relay. Each mark must have the Revision that the stored
	// one has (0: none is stored), and the term, unless it is the zero Term, must be
	// the present one of its segment; else the error matches ErrFenced. A mark that
	// names a Server which the store has been, and is no more, is not written either:
	// that is eventstore.ErrOtherServer. A write of nothing finds out
	// about the term.
	//
	// A term that is the present one stays so until the write has committed: a Claim
	// that comes meanwhile waits.
	Save(ctx context.Context, name string, term Term, w Write) error
}

// Write is what changes together with the effects of a batch.
type Write struct {
	// Marks are the marks that move. What a write parks or frees belongs to parts
	// whose mark it moves, so that the revision guards all of it.
	Marks Checkpoint
	// Park inserts a parked key, or replaces all that is known of it, Events aside.
	Park []Parked
	// Items are put behind the parked keys that they name. One that is there already
	// stays as it is.
	Items []Item
	// Done are items that took effect, or were given up; they go. Only Part, Key and
	// Seq count.
	Done []Item
	// Free are parked keys that go. One that still has items does not: the write fails.
	Free []Key
	// Audit is written down with it.
	Audit []Audit
}

// behind returns how many items are put behind a key.
func (w Write) behind(key Key) (n int) {
	for _, i := range w.Items {
		if i.Key == key {
			n++
		}
	}
	return n
}

// Keeper keeps all that workers remember. It is safe for concurrent use.
type Keeper interface {
	Checkpoints
	Terms
	Parking
}

// Store is a log with a Keeper beside it, and with transactions of type Tx
// in which a read model and its mark change together.
type Store[Tx any] interface {
	eventstore.Log
	Keeper
	// Advance runs fn in a transaction that holds the mark of one part: no
	// other Advance of the same name and part runs meanwhile, in any process. The
	// term, unless it is the zero Term, must be the present one of its segment, and
	// stays so until the transaction ends; else the error matches ErrFenced and fn is
	// not called. The write that fn returns is made in the same transaction, under the
	// conditions of Save; its Marks hold at most the part, whose revision may be left
	// out. If fn returns an error, all is rolled back and the error is returned as it is.
	Advance(ctx context.Context, name string, term Term, part string, fn func(ctx context.Context, tx Tx, at Mark) (Write, error)) error
}
