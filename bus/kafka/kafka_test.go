package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/internal/devenv/broker"
)

// addresses are those of brokers.
type addresses []string

func (a addresses) ListenAddrs() []string { return a }

// brokers returns brokers without topics: one in process, with the real protocol over TCP, or Apache Kafka in a test of
// TestApache.
func brokers(t *testing.T) addresses {
	t.Helper()
	if onApache(t) {
		return apacheFor(t)
	}
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.Seeds
}

func open(t *testing.T) ([]string, *kgo.Client) {
	t.Helper()
	seeds := brokers(t)
	client, err := kafka.NewClient(kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return seeds, client
}

func TestBroker(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Target {
		seeds, client := open(t)
		return bustest.Target{
			Publisher: kafka.NewPublisher(client),
			Source: func(group string, topics ...string) bus.Source {
				return kafka.NewConsumer(group, topics, kgo.SeedBrokers(seeds...))
			},
			Delete: func(ctx context.Context, topic string) error {
				_, err := kadm.NewClient(client).DeleteTopic(ctx, topic)
				return err
			},
		}
	})
}
