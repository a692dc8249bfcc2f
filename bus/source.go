package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// Source is a consumer of topics, a member of a group: package kafka has one. What it
// reads it hands to a Receiver as messages, or to a worker.Sink as events.
type Source interface {
	worker.Source
	// Receive delivers until ctx ends, and then returns nil after the last delivery has
	// returned. It begins, and goes on, as Consume of a worker.Source does.
	Receive(ctx context.Context, to Receiver) error
}

// Receiver takes what a Source delivers. It is safe for concurrent use.
type Receiver interface {
	// Begin returns the checkpoint, before the source delivers from the given parts.
	// Whatever had them before is fenced: they are the source's to give.
	Begin(ctx context.Context, parts ...string) (worker.Checkpoint, error)
	// Deliver returns when the messages have taken effect or are parked, and the mark of
	// the part is stored. It ends early, with an error, when ctx ends: what is left of the
	// delivery is for whoever has the part next. Deliveries of one part do not overlap.
	Deliver(ctx context.Context, d Delivery) error
}

// Delivery is a batch of messages of one part, in the order of the source. It may repeat
// messages, never skip any.
type Delivery struct {
	// Part is {topic}/{partition}, Source the id of the topic's incarnation, and Of how
	// many partitions it has.
	Part   string
	Source string
	Of     int
	// First is the offset where this delivery begins, Next where the next one will.
	First, Next int64
	Messages    []Received
}

// Received is a message as a consumer gets it.
type Received struct {
	Message
	// Partition is that of the topic. A Source may leave it out, as Delivery.Part says it.
	Partition int32
	Offset    int64
	Time      time.Time // of the record: when it was published, as the broker or its producer says
}

// String names the message for errors and logs: "shop.order/3 offset 17".
func (m Received) String() string {
	return fmt.Sprintf("%s/%d offset %d", m.Topic, m.Partition, m.Offset)
}

// Events returns a Receiver that hands the events of messages to a sink, for readers that
// take nothing but events. A message that is no event of Annals is an error that matches
// ErrForeign, unless foreign is Ignore.
func Events(to worker.Sink, foreign Foreign) Receiver { return events{to, foreign} }

// Foreign says what becomes of messages that are no events of Annals.
type Foreign int

// What becomes of foreign messages.
const (
	// Refuse: they are an error, or are parked where the reader can do that.
	Refuse Foreign = iota
	// Ignore: they are passed over.
	Ignore
)

type events struct {
	worker.Sink
	foreign Foreign
}

// Deliver splits a delivery where the history changes, or the kind.
func (e events) Deliver(ctx context.Context, d Delivery) error {
	out := worker.Delivery{Part: d.Part, Source: d.Source, Of: d.Of, First: d.First, Next: d.First}
	for _, m := range d.Messages {
		r, err := EventOf(m.Message)
		switch {
		case err != nil && e.foreign == Ignore:
			continue
		case err != nil:
			return worker.Permanent(offsetError(d.Part, m.Offset, err))
		}
		if lineage, late := LineageOf(m.Message), IsLate(m.Message); lineage != out.Lineage || late != out.Late {
			if len(out.Events) > 0 {
				if err := e.Sink.Deliver(ctx, out); err != nil {
					return err
				}
			}
			out.Lineage, out.Late, out.First, out.Events = lineage, late, out.Next, nil
		}
		if out.Events == nil {
			out.Events = make([]event.Recorded, 0, len(d.Messages))
		}
		out.Events, out.Next = append(out.Events, r), m.Offset+1
	}
	if out.Next = d.Next; len(out.Events) == 0 && out.First == out.Next {
		return nil
	}
	return e.Sink.Deliver(ctx, out)
}
