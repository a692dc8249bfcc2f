package bus

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoContract says that a relay has not agreed on a topic, so that there is nothing to
// decide about it.
var ErrNoContract = errors.New("the relay has not agreed on this topic")

// Decide notes what is to be done about a topic that is not what a relay has agreed on. The
// relay, which is named as its Name says, does it when its next term begins, and writes an
// audit of it:
//
//   - Adopt takes the topic as it is by then, or makes it if there is none, and goes on where
//     the relay stands. If the topic is what was agreed on, nothing happens. Where the number
//     of partitions is another one, keys have moved, and the messages of one key lie in two
//     partitions: its consumers stop, and what they have built is to be built anew.
//   - Refill takes the topic too, also if nothing has changed, and publishes to it from the
//     beginning of the log. Consumers take for repeats what they had before.
//   - Undecided takes back what was decided, unless the relay has done it.
//
// A topic that is compacted, or has not the partitions that the program wants, stops the
// relay all the same. By is who has decided. Errors: ErrNoContract; worker.ErrFenced if the
// agreement has changed meanwhile.
func Decide(ctx context.Context, store Contracts, relay, topic string, d Decision, by string) error {
	fail := func(err error) error { return fmt.Errorf("decide on topic %s of %s: %w", topic, relay, err) }
	switch {
	case d != Undecided && d != Adopt && d != Refill:
		return fail(fmt.Errorf("decision %q: want %s or %s", d, Adopt, Refill))
	case by == "":
		return fail(errors.New("nobody has decided it"))
	}
	all, err := store.Contracts(ctx, relay)
	if err != nil {
		return fail(err)
	}
	a, ok := all[topic]
	if !ok {
		return fail(ErrNoContract)
	}
	a.Decision, a.By = d, by
	if d == Undecided {
		a.By = ""
	}
	if err := store.Agree(ctx, relay, a); err != nil {
		return fail(err)
	}
	return nil
}
