package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
)

// window is how many records of a partition Newest reads at first. Each further
// look back is twice as far.
const window = 256

// Newest implements bus.Publisher, with a client of its own that has the options
// of the Publisher's. A topic that does not exist has no messages. It holds the
// headers of as many messages as visit wants to see of a partition, and as many
// again.
func (p *Publisher) Newest(ctx context.Context, topic string, visit func(bus.Message) bool) error {
	starts, err := p.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	ends, err := p.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	for partition, end := range ends[topic] {
		first, _ := starts.Lookup(topic, partition)
		to := end.Offset
		for size := int64(window); to > first.Offset; size *= 2 {
			from := max(first.Offset, to-size)
			messages, err := p.read(ctx, topic, partition, from, to)
			if err != nil {
				return fmt.Errorf("read %s from offset %d to %d: %w", partName(topic, partition), from, to, err)
			}
			if !each(slices.Backward(messages), visit) {
				break
			}
			to = from
		}
	}
	return nil
}

func each(messages func(func(int, bus.Message) bool), visit func(bus.Message) bool) bool {
	for _, m := range messages {
		if !visit(m) {
			return false
		}
	}
	return true
}

// read returns the messages at the offsets, which may have gaps, without their values.
func (p *Publisher) read(ctx context.Context, topic string, partition int32, from, to int64) ([]bus.Message, error) {
	client, err := kgo.NewClient(append(p.client.Opts(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords())...) // so that the last offset is seen, whatever is there
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out []bus.Message
	for at := from; at < to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		for r := range fetches.RecordsAll() {
			if at = r.Offset + 1; r.Offset < to && !r.Attrs.IsControl() {
				m := message(r)
				m.Value = nil
				out = append(out, m)
			}
		}
	}
	return out, nil
}
