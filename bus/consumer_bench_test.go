package bus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
)

// light is a store that forgets all and keeps no marks, so that only the consumer is
// measured.
type light struct{ *memory.DB }

func (light) RememberTx(_ context.Context, _ *memory.Tx, _ string, messages []bus.Identity) ([]bus.Memory, error) {
	return make([]bus.Memory, len(messages)), nil
}

// once is a source that delivers its messages once, some at a time.
type once struct {
	bus.Source
	d bus.Delivery
}

func (o once) Receive(ctx context.Context, to bus.Receiver) error {
	if _, err := to.Begin(ctx, o.d.Part); err != nil {
		return err
	}
	const most = 2000
	all := o.d.Messages
	for d := o.d; len(all) > 0; all = all[len(d.Messages):] {
		d.Messages = all[:min(most, len(all))]
		d.First, d.Next = all[0].Offset, d.Messages[len(d.Messages)-1].Offset+1
		if err := to.Deliver(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkConsumer is the time for a message, without a database and a broker.
func BenchmarkConsumer(b *testing.B) {
	ctx := b.Context()
	d := bus.Delivery{Part: "shop.order/0", Source: "x", Of: 1}
	for i := range b.N {
		m, err := bus.MessageOf("shop.order", event.Recorded{
			Raw:    event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: []byte("7"), Metadata: event.Metadata{ID: event.NewID(), Correlation: "c"}},
			Stream: event.Stream{Category: "order", ID: fmt.Sprint(i % 1000)}, Version: 1, Position: event.Position(i + 1),
		})
		if err != nil {
			b.Fatal(err)
		}
		d.Messages = append(d.Messages, bus.Received{Message: m, Offset: int64(i)})
	}
	n := 0
	c := bus.NewConsumer("billing", bus.On(orderCodec, func(context.Context, *memory.Tx, event.Of[order]) error {
		n++
		return nil
	}))
	b.ReportAllocs()
	b.ResetTimer()
	if err := c.Run(ctx, light{memory.New()}, once{d: d}, silent); err != nil || n != b.N {
		b.Errorf("Run = %v after %d", err, n)
	}
}
