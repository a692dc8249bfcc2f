package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Contract says what a topic is to be. It is part of the program; what a relay and the
// broker have agreed on is stored: see Agreed.
type Contract struct {
	Topic string
	// Partitions is how many there are, for ever: with another number keys move, and the
	// order of their messages with them. 0: DefaultPartitions.
	Partitions int
	// Replication is how many brokers have each partition, and MinInSync how many of
	// them acknowledge a message at least. 0: what the broker does by default.
	Replication, MinInSync int
	// Retention is how long a message is kept. 0: for ever, for consumers to come.
	Retention time.Duration
	// MaxBytes is the most bytes of a message. 0: what the broker does by default, which has
	// room for the largest event that an append takes. With less, an event that is too
	// large is appended all the same, and parked by the relay.
	MaxBytes int
	// Config are other settings of the topic, by the names that the broker has for them.
	Config map[string]string
	// Owner and Description are for people.
	Owner, Description string
}

// DefaultPartitions is the number of partitions of a topic whose Contract names none.
const DefaultPartitions = 6

// Topic is a topic as a broker has it.
type Topic struct {
	// ID is that of the present incarnation: a topic that is deleted and made again has
	// another.
	ID         string
	Partitions int
	// Replication, MinInSync, Retention and MaxBytes are as in Contract. 0: not known;
	// for Retention, for ever.
	Replication, MinInSync int
	Retention              time.Duration
	MaxBytes               int
	// Compacted: of the messages of one key it keeps the last only.
	Compacted bool
}

// Decision is what somebody has decided about a topic that is not what was agreed on.
type Decision string

// The decisions.
const (
	// Undecided: the relay stops.
	Undecided Decision = ""
	// Adopt: the topic is taken as it is, or made if there is none, and the relay goes on
	// where it stands. What it had published before is there, or is not needed.
	Adopt Decision = "adopt"
	// Refill: the topic is taken as it is, or made if there is none, and filled from the
	// beginning of the log.
	Refill Decision = "refill"
)

// Agreed is a Contract that a relay and the broker have agreed on.
type Agreed struct {
	Contract
	// ID is that of the topic's incarnation, and Partitions of the Contract what it has.
	ID string
	// Since is when it was stored; a store fills it in.
	Since time.Time
	// Decision is what is to be done about a topic that is another one by now, and By who
	// has decided it.
	Decision Decision
	By       string
	// Revision grows with each write. Only a store changes it.
	Revision int64
}

// Contracts keeps what relays have agreed on. It is safe for concurrent use.
type Contracts interface {
	// Contracts returns what the named relay has agreed on, by topic; an empty map if
	// nothing.
	Contracts(ctx context.Context, relay string) (map[string]Agreed, error)
	// Agree stores one. Its Revision must be that of the stored one (0: none is stored),
	// else the error matches worker.ErrFenced and nothing has changed.
	Agree(ctx context.Context, relay string, a Agreed) error
}

// checkContracts returns what is wrong with the contracts of the options.
func checkContracts(o relayOptions) error {
	for _, topic := range slices.Sorted(maps.Keys(o.contracts)) {
		if topic == "" {
			return errors.New("option WithTopics: a contract without a topic")
		}
		if err := o.contracts[topic].check(); err != nil {
			return fmt.Errorf("option WithTopics: topic %s: %w", topic, err)
		}
	}
	if err := o.otherTopics.check(); err != nil {
		return fmt.Errorf("option WithOtherTopics: %w", err)
	}
	return nil
}

func (c Contract) check() error {
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"Partitions", int64(c.Partitions)}, {"Replication", int64(c.Replication)}, {"MinInSync", int64(c.MinInSync)},
		{"Retention", int64(c.Retention)}, {"MaxBytes", int64(c.MaxBytes)},
	} {
		if f.n < 0 {
			return fmt.Errorf("%s is %d, want at least 0", f.name, f.n)
		}
	}
	if c.Replication > 0 && c.MinInSync > c.Replication {
		return fmt.Errorf("MinInSync is %d, want at most the Replication of %d", c.MinInSync, c.Replication)
	}
	if strings.Contains(c.Config["cleanup.policy"], "compact") {
		return errors.New("cleanup.policy compacts the topic, which loses events")
	}
	return nil
}
