package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// InboxStore is a store that remembers which messages have taken effect, in the same
// transactions as the effects. It is safe for concurrent use.
type InboxStore[Tx any] interface {
	worker.Store[Tx]
	// RememberTx remembers messages for a consumer in the caller's transaction, which is
	// that of an Advance of the consumer, and says of each what was known of it before,
	// in the order given. One that is given twice is New and then Repeated. Only what is
	// New is remembered. Only the ID tells messages apart.
	//
	// While another transaction remembers one of them it waits for the end of that one;
	// then the message is Repeated, or New if that one was rolled back. It is right however
	// a Forget comes in between: what has taken effect is never New. Call it once in a
	// transaction: two that call it more often may wait for each other, and then one fails.
	RememberTx(ctx context.Context, tx Tx, consumer string, messages []Identity) ([]Memory, error)
	// Forget forgets at most limit of what a consumer remembered before a time, oldest
	// first by the clock of the store, and returns how many, also with an error. What may
	// have been forgotten is known for ever: see Forgotten. It waits for no transaction
	// that remembers.
	Forget(ctx context.Context, consumer string, before time.Time, limit int) (int, error)
}

// Identity is what a message is known by.
type Identity struct {
	// ID is that of the event, or one that was made of what the message has.
	ID event.ID
	// Topic is where it came from, and Position the place in the log of that topic's
	// relay; 0: it has none.
	Topic    string
	Position event.Position
	// Time is that of the record. It counts only where there is no Position.
	Time time.Time
	// Held: it was tried and failed when it came, or a person has decided that it is to
	// take effect, and it was parked ever since; so it has not taken effect unless it is
	// remembered. It is New or Repeated, never Forgotten. What was parked behind another
	// one, untried, is not Held.
	Held bool
}

// Memory is what is known of a message.
type Memory int

// What is known of a message.
const (
	// New: it has not taken effect.
	New Memory = iota
	// Repeated: it has.
	Repeated
	// Forgotten: it is not remembered, and it lies where something was forgotten: of its
	// topic, a message at its position or behind it, or one of its time or later. It is
	// not known whether it took effect.
	Forgotten
)

func offsetError(part string, offset int64, err error) error {
	return fmt.Errorf("%s offset %d: %w", part, offset, err)
}
