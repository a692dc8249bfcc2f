package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// ErrMadeAgain says that a topic was deleted while it was read, and perhaps made again.
// Whoever begins anew reads the one that is there then, from its beginning.
var ErrMadeAgain = errors.New("the topic was deleted, or made again")

// bounds are where the partitions of topics begin and end, as the leaders have them.
type bounds struct{ starts, ends kadm.ListedOffsets }

// boundsOf asks for them. Partitions without a leader are left out.
func boundsOf(ctx context.Context, client *kgo.Client, topics ...string) (b bounds, err error) {
	admin := kadm.NewClient(client)
	if b.starts, err = led(admin.ListStartOffsets(ctx, topics...)); err != nil {
		return b, fmt.Errorf("read where %q begin: %w", topics, err)
	}
	if b.ends, err = led(admin.ListEndOffsets(ctx, topics...)); err != nil {
		return b, fmt.Errorf("read where %q end: %w", topics, err)
	}
	return b, nil
}

// led returns the offsets of the partitions that have a leader.
func led(all kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) {
		for _, e := range shards.Errs {
			if !leaderless(e.Err) {
				return nil, err
			}
		}
	} else if err != nil {
		return nil, err
	}
	for _, partitions := range all {
		maps.DeleteFunc(partitions, func(_ int32, o kadm.ListedOffset) bool { return leaderless(o.Err) })
	}
	return all, all.Error()
}

func leaderless(err error) bool {
	return errors.Is(err, kerr.LeaderNotAvailable) || errors.Is(err, kerr.NotLeaderForPartition)
}

func (b bounds) known(topic string, partition int32) bool {
	_, starts := b.starts.Lookup(topic, partition)
	_, ends := b.ends.Lookup(topic, partition)
	return starts && ends
}

// lost returns what is lost for whoever goes on at an offset, nil if nothing is.
func (b bounds) lost(topic string, partition int32, at int64) *bus.LostError {
	start, okStart := b.starts.Lookup(topic, partition)
	end, okEnd := b.ends.Lookup(topic, partition)
	switch {
	case okStart && at < start.Offset:
		return &bus.LostError{Part: partName(topic, partition), From: at, To: start.Offset}
	case okEnd && at > end.Offset:
		return &bus.LostError{Part: partName(topic, partition), From: end.Offset, To: at, Truncated: true}
	}
	return nil
}

// lostError returns the error for what is lost. It is no permanent one if that is to be
// skipped when the part begins again.
func (c *Consumer) lostError(lost *bus.LostError) error {
	if !lost.Truncated && c.skip != nil {
		return lost
	}
	return worker.Permanent(lost)
}

// fetchError returns what the failure of a fetch at an offset means.
func (m *member) fetchError(ctx context.Context, topic string, partition int32, at int64, err error) error {
	part := partName(topic, partition)
	var cut *kgo.ErrDataLoss
	switch {
	case errors.As(err, &cut):
		return worker.Permanent(&bus.LostError{Part: part, From: cut.ResetTo, To: cut.ConsumedTo, Truncated: true})
	case errors.Is(err, kerr.OffsetOutOfRange):
		b, asked := boundsOf(ctx, m.client, topic)
		if asked != nil {
			return fmt.Errorf("fetch %s at offset %d: %w: %w", part, at, err, asked)
		}
		if lost := b.lost(topic, partition, at); lost != nil {
			return m.lostError(lost)
		}
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("fetch %s: %w: %w", part, ErrMadeAgain, err)
	}
	return fmt.Errorf("fetch %s at offset %d: %w", part, at, err)
}
