package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Option changes what Start returns.
type Option interface {
	apply(*config)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	topics []topic
}

type topic struct {
	name       string
	partitions int32
}

// WithTopics creates topics, also on external brokers, with the replication factor that the cluster has as its
// default. Topics that exist stay as they are, whatever their number of partitions. Default: none. It may be given
// more than once.
func WithTopics(partitions int32, names ...string) Option {
	return optionFunc(func(c *config) {
		for _, name := range names {
			c.topics = append(c.topics, topic{name: name, partitions: partitions})
		}
	})
}

func createTopics(ctx context.Context, seeds []string, topics []topic) error {
	if len(topics) == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, t := range topics {
		_, err := admin.CreateTopic(ctx, t.partitions, -1, nil, t.name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", t.name, err)
		}
	}
	return nil
}
