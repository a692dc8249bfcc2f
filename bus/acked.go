package bus

import (
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// acked are positions of events that the broker has acknowledged since the term began, and
// that are not saved yet: after a failure they are not published again.
//
// This keeps the order of a key, that is the first delivery of n+1 never precedes that of
// n. Of the messages of a key that a Publish was given, those that it delivered are the
// first, so what it acknowledged is followed, in the key, by nothing but what it did not
// acknowledge. The next Publish is given just those, in order, and the same holds for it:
// at any time the acknowledged ones of a key are the first of its unsaved ones, and what is
// sent begins with the first other one. What was delivered without an acknowledgement is
// sent again behind its first delivery, and with it all that follows. One that is refused is
// parked with all behind it in its stream, and none of those was acknowledged.
//
// Nothing of it outlives the term, or a pause: another relay may have published meanwhile,
// a topic may have to be filled anew, or the log may be another one.
type acked map[event.Position]bool

// add notes what was acknowledged. Of each key it believes the first alone, up to one that
// was not, whatever a Publisher says.
func (a acked) add(b worker.Batch, messages []Message, index []int, was []bool) {
	type key struct{ topic, key string }
	broken := map[key]bool{}
	for i, ok := range was[:min(len(was), len(messages))] {
		k := key{messages[i].Topic, string(messages[i].Key)}
		if !ok {
			broken[k] = true
		} else if !broken[k] {
			a[b.Events[index[i]].Position] = true
		}
	}
}

// saved forgets events whose mark was written.
func (a acked) saved(events []event.Recorded) {
	if len(a) == 0 {
		return
	}
	for _, e := range events {
		delete(a, e.Position)
	}
}

// refused returns the error of a batch whose messages were published with an error. If it
// is permanent, and the Publisher does not say whose fault it is, fewer events are tried
// until that is known. Every other error is the broker's.
func (r *relayRun) refused(b worker.Batch, messages []Message, index []int, err error) error {
	at := -1
	var known *PublishError
	if errors.As(err, &known) {
		r.acked.add(b, messages, index, known.Acked)
		at = known.Index
	}
	permanent := worker.IsPermanent(err)
	if permanent && at >= 0 && at < len(index) {
		return worker.Permanent(&worker.EventError{Index: index[at], Err: fmt.Errorf("publish %s: %w", b.Events[index[at]], err)})
	}
	err = fmt.Errorf("publish positions %d to %d: %w", b.Events[0].Position, b.Events[len(b.Events)-1].Position, err)
	if permanent {
		return err // the search finds out whose fault it is
	}
	return worker.Systemic(err)
}
