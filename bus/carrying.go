package bus

import (
	"context"
	"strconv"
	"strings"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// carrying makes a source of events of one of messages: each of those that are carried
// comes as the event that carries it, with its offset.
type carrying struct {
	Source
	carries func(m Received, about headers) bool
}

// Consume implements worker.Source.
func (c carrying) Consume(ctx context.Context, to worker.Sink) error {
	return c.Receive(ctx, carriers{to, c.carries})
}

type carriers struct {
	worker.Sink
	carries func(m Received, about headers) bool
}

// Deliver splits a delivery where the history of its events changes. Foreign messages
// have none, and go with those before them; one is a message whose lineage is malformed,
// or whoever can write one record could stop the consumer for ever.
func (c carriers) Deliver(ctx context.Context, d Delivery) error {
	out := worker.Delivery{Part: d.Part, Source: d.Source, Of: d.Of, First: d.First, Next: d.First, Offsets: []int64{}}
	partition := partitionOf(d.Part)
	for i, m := range d.Messages {
		m.Partition = partition
		about := inspect(m.Message, out.Lineage)
		if about.isEvent && string(about.lineage) != out.Lineage {
			if len(out.Events) > 0 {
				if err := c.Sink.Deliver(ctx, out); err != nil {
					return err
				}
				out.First, out.Events, out.Offsets = out.Next, nil, []int64{}
			}
			out.Lineage = string(about.lineage)
		}
		out.Next = m.Offset + 1
		if c.carries(m, about) {
			if out.Events == nil {
				left := len(d.Messages) - i
				out.Events, out.Offsets = make([]event.Recorded, 0, left), make([]int64, 0, left)
			}
			out.Events, out.Offsets = append(out.Events, carrier(d, m, about)), append(out.Offsets, m.Offset)
		}
	}
	if out.Next = d.Next; out.First == out.Next {
		return nil
	}
	return c.Sink.Deliver(ctx, out)
}

// partitionOf returns the partition that a part is.
func partitionOf(part string) int32 {
	n, err := strconv.ParseInt(part[strings.LastIndexByte(part, '/')+1:], 10, 32)
	if err != nil {
		return -1 // of a source with parts of another kind
	}
	return int32(n)
}
