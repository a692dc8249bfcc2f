package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/annals-go/annals/bus"
)

// settings adds what the topics are set to, as far as the account may know it.
func (p *Publisher) settings(ctx context.Context, topics map[string]bus.Topic) error {
	names := make([]string, 0, len(topics))
	for name := range topics {
		names = append(names, name)
	}
	described, err := within(ctx, func() (kadm.ResourceConfigs, error) { return p.admin.DescribeTopicConfigs(ctx, names...) })
	if err != nil {
		return unlessForbidden(err)
	}
	for _, d := range described {
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			delete(topics, d.Name) // it has gone meanwhile
			continue
		}
		if d.Err != nil {
			if err := unlessForbidden(d.Err); err != nil {
				return err
			}
			continue
		}
		t := topics[d.Name]
		for _, c := range d.Configs {
			set(&t, c.Key, c.MaybeValue())
		}
		topics[d.Name] = t
	}
	return nil
}

// unlessForbidden returns nil for the error of an account without the right.
func unlessForbidden(err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil
	}
	return err
}

// set sets a field of a topic by the name that brokers have for it. A value that is no
// number is left out.
func set(t *bus.Topic, key, value string) {
	number, err := strconv.ParseInt(value, 10, 64)
	switch {
	case key == "cleanup.policy":
		t.Compacted = slices.Contains(strings.Split(value, ","), "compact")
	case err != nil || number < 0:
	case key == "min.insync.replicas":
		t.MinInSync = int(number)
	case key == "max.message.bytes":
		t.MaxBytes = int(number)
	case key == "retention.ms":
		t.Retention = time.Duration(min(number, int64(mostRetention/time.Millisecond))) * time.Millisecond
	}
}

// mostRetention is about as long as a time.Duration can be.
const mostRetention = 292 * 365 * 24 * time.Hour
