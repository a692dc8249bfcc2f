package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
)

// window is how many records of a partition Newest reads at first. Each further
// look back is twice as far.
const window = 256

// Newest implements bus.Publisher, with a client of its own that has the options
// of the Publisher's. It shows what is committed. It holds the headers of as many messages as visit wants to
// see of a partition, and as many again.
func (p *Publisher) Newest(ctx context.Context, topic string, visit func(partition int32, m bus.Message) bool) error {
	return p.newest(ctx, topic, false, func(r *kgo.Record) bool { return visit(r.Partition, message(r)) })
}

func (p *Publisher) newest(ctx context.Context, topic string, values bool, visit func(r *kgo.Record) bool) error {
	ctx, done := p.guard.reach.watch(ctx)
	defer done()
	starts, ends, err := p.bounds(ctx, topic)
	if err != nil {
		return withRights(fmt.Errorf("read newest of %s: %w", topic, explain(ctx, err)))
	}
	for partition, end := range ends[topic] {
		first, _ := starts.Lookup(topic, partition)
		to := end.Offset
		for size := int64(window); to > first.Offset; size *= 2 {
			from := max(first.Offset, to-size)
			records, err := p.read(ctx, topic, partition, from, to, values)
			if err != nil {
				return withRights(fmt.Errorf("read %s from offset %d to %d: %w", partName(topic, partition), from, to, explain(ctx, err)))
			}
			if !each(records, visit) {
				break
			}
			to = from
		}
	}
	return nil
}

// last returns the value of the last record of a topic of one partition; nil if it has
// none.
func (p *Publisher) last(ctx context.Context, topic string) (value []byte, err error) {
	err = p.newest(ctx, topic, true, func(r *kgo.Record) bool {
		value = r.Value
		return false
	})
	return value, err
}

// bounds returns where the partitions begin, and where what is committed of them ends;
// nothing of a topic that does not exist.
func (p *Publisher) bounds(ctx context.Context, topic string) (starts, ends kadm.ListedOffsets, err error) {
	_, missing, err := describeReady(ctx, p.client, []string{topic})
	if err != nil || len(missing) > 0 {
		return nil, nil, err
	}
	if starts, err = p.admin.ListStartOffsets(ctx, topic); err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, err
	}
	if ends, err = p.admin.ListCommittedOffsets(ctx, topic); err == nil {
		err = ends.Error()
	}
	return starts, ends, err
}

// each visits the records from the last to the first, and reports whether visit
// wanted all of them.
func each(records []*kgo.Record, visit func(*kgo.Record) bool) bool {
	for _, r := range slices.Backward(records) {
		if !visit(r) {
			return false
		}
	}
	return true
}

// read returns the committed records at the offsets, which may have gaps.
func (p *Publisher) read(ctx context.Context, topic string, partition int32, from, to int64, values bool) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(append(p.client.Opts(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords())...) // so that the last offset is seen, whatever is there
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var out []*kgo.Record
	for at := from; at < to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		for r := range fetches.RecordsAll() {
			if at = r.Offset + 1; r.Offset < to && !r.Attrs.IsControl() {
				if !values {
					r.Value = nil
				}
				out = append(out, r)
			}
		}
	}
	return out, nil
}
