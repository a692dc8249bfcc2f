package kafka_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
)

func TestNewConsumerPanics(t *testing.T) {
	t.Parallel()
	for want, opt := range map[string]kgo.Opt{
		"kafka: NewConsumer: option WithPrefetch: 0: want 1 to 100000":                                            kafka.WithPrefetch(0),
		"kafka: NewConsumer: option WithPrefetch: 100001: want 1 to 100000":                                       kafka.WithPrefetch(100_001),
		"kafka: NewConsumer: option WithConcurrency: 0: want at least 1":                                          kafka.WithConcurrency(0),
		"kafka: NewConsumer: option WithForeign: 7: want bus.Refuse or bus.Ignore":                                kafka.WithForeign(bus.Foreign(7)),
		"kafka: NewConsumer: option WithLogger: nil: want a logger":                                               kafka.WithLogger(nil),
		`kafka: NewConsumer: option WithPriority: topic "b" is not among those that are consumed: ["shop.order"]`: kafka.WithPriority(topic, "b"),
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			kafka.NewConsumer("totals", []string{topic}, opt)
		}()
	}
}

// An Option does no harm where it is of no use.
func TestOptionIsOneOfTheClients(t *testing.T) {
	t.Parallel()
	client, err := kgo.NewClient(kafka.WithPrefetch(5))
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}
