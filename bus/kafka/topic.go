package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is a topic as a broker describes it.
type topic struct {
	id          string // of this incarnation (KIP-516)
	partitions  int
	replication int  // of the partition that has least
	ready       bool // each partition has a leader
}

// ErrNotReady says that a topic exists and some partition of it has no leader: it
// was just made, or a broker is down. It passes.
var ErrNotReady = errors.New("partition has no leader")

// describeReady is describe, and ErrNotReady if a partition of a topic has no leader.
func describeReady(ctx context.Context, client *kgo.Client, names []string) (topics map[string]topic, missing []string, err error) {
	topics, missing, err = describe(ctx, client, names)
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if !topics[name].ready {
			return nil, nil, fmt.Errorf("describe topic %s: %w", name, ErrNotReady)
		}
	}
	return topics, missing, err
}

// describe asks a broker for topics; those that it does not know are missing.
// It goes past the client's cache, which would show a topic that is being
// deleted and made again as it was. Errors: ErrNotReady for a topic whose partitions
// are not known yet.
func describe(ctx context.Context, client *kgo.Client, names []string) (topics map[string]topic, missing []string, err error) {
	described, err := metadata(ctx, client, names)
	if err != nil {
		return nil, nil, fmt.Errorf("describe topics: %w", err)
	}
	topics = map[string]topic{}
	for _, t := range described {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			missing = append(missing, *t.Topic)
		case errors.Is(err, kerr.LeaderNotAvailable), err == nil && len(t.Partitions) == 0:
			return nil, nil, fmt.Errorf("describe topic %s: %w", *t.Topic, ErrNotReady)
		case err != nil:
			return nil, nil, fmt.Errorf("describe topic %s: %w", *t.Topic, err)
		case uuid.UUID(t.TopicID) == uuid.Nil:
			return nil, nil, fmt.Errorf("describe topic %s: the broker gives topics no ids, want Apache Kafka 2.8 or newer", *t.Topic)
		default:
			topics[*t.Topic] = topic{uuid.UUID(t.TopicID).String(), len(t.Partitions), replication(t.Partitions), complete(t.Partitions)}
		}
	}
	return topics, missing, nil
}

// metadata is what a broker says of topics, past the client's cache.
func metadata(ctx context.Context, client *kgo.Client, names []string) ([]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := within(ctx, func() (*kmsg.MetadataResponse, error) { return req.RequestWith(ctx, client) })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool { return t.Topic == nil }), nil
}

// within returns what fn does, or the error of ctx when it ends. The client has requests to
// a broker wait for one that is about to connect to it, as long as that takes, whatever
// their contexts say: fn may return as much later, to nobody. It says why the brokers let
// nobody in, under a context of reach.watch.
func within[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := fn()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, explain(ctx, r.err)
	case <-ctx.Done():
		var none T
		return none, explain(ctx, ctx.Err())
	}
}

// await asks, with describe or describeReady, until every topic is there. When it begins
// to wait, it tells for what.
func await(ctx context.Context, ask func() (map[string]topic, []string, error), tell func(missing []string, err error)) (map[string]topic, error) {
	for told := false; ; told = true {
		topics, missing, err := ask()
		if err == nil && len(missing) == 0 {
			return topics, nil
		}
		if err != nil && !errors.Is(err, ErrNotReady) {
			return nil, err
		}
		if !told {
			tell(missing, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func complete(partitions []kmsg.MetadataResponseTopicPartition) bool {
	for _, p := range partitions {
		if p.ErrorCode != 0 {
			return false
		}
	}
	return true
}

func replication(partitions []kmsg.MetadataResponseTopicPartition) int {
	least := len(partitions[0].Replicas)
	for _, p := range partitions {
		least = min(least, len(p.Replicas))
	}
	return least
}
