package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is a topic as a broker describes it.
type topic struct {
	id         string // of this incarnation (KIP-516)
	partitions int
}

// describe asks a broker for topics. Those that it does not know, or not with
// all of their partitions yet, are missing. It goes past the client's cache,
// which would show a topic that is being deleted and made again as it was.
func describe(ctx context.Context, client *kgo.Client, names []string) (topics map[string]topic, missing []string, err error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, nil, fmt.Errorf("describe topics: %w", err)
	}
	topics = map[string]topic{}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.LeaderNotAvailable):
		case err != nil:
			return nil, nil, fmt.Errorf("describe topic %s: %w", *t.Topic, err)
		case complete(t.Partitions):
			topics[*t.Topic] = topic{uuid.UUID(t.TopicID).String(), len(t.Partitions)}
		}
	}
	for _, name := range names {
		if _, ok := topics[name]; !ok {
			missing = append(missing, name)
		}
	}
	return topics, missing, nil
}

func complete(partitions []kmsg.MetadataResponseTopicPartition) bool {
	for _, p := range partitions {
		if p.ErrorCode != 0 {
			return false
		}
	}
	return len(partitions) > 0
}
