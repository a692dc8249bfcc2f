package kafka_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/worker"
)

// admin adds partitions to the topic of the tests.
func admin(t *testing.T, client *kgo.Client, by int) {
	t.Helper()
	if _, err := kadm.NewClient(client).CreatePartitions(bounded(t), by, topic); err != nil {
		t.Fatal(err)
	}
}

// limit sets the most bytes of a record batch of the topic of the tests, and returns when the broker keeps to it.
func limit(t *testing.T, client *kgo.Client, bytes int) {
	t.Helper()
	value := fmt.Sprint(bytes)
	alter := func(name string) {
		t.Helper()
		if _, err := kadm.NewClient(client).AlterTopicConfigs(bounded(t), []kadm.AlterConfig{{Name: name, Value: &value}}, topic); err != nil {
			t.Fatal(err)
		}
	}
	alter("max.message.bytes")
	if !onApache(t) {
		return
	}
	// A broker learns of it later, and tells it a moment before it keeps to it. It takes one change after the other: when
	// it tells the second one, it keeps to the first.
	alter("file.delete.delay.ms")
	for ctx := bounded(t); ; {
		configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "file.delete.delay.ms" && c.MaybeValue() == value {
				return
			}
		}
	}
}

func TestTopicsTellsAll(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, _ := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 5, Replication: 1, MinInSync: 1, Retention: time.Hour, MaxBytes: 20_000})
	create(t, p, bus.Contract{Topic: "shop.return", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact,delete"}})
	got, err := p.Topics(bounded(t), topic, "shop.return", "shop.absent")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bus.Topic{
		topic:         {ID: got[topic].ID, Partitions: 5, Replication: 1, MinInSync: 1, Retention: time.Hour, MaxBytes: 20_000},
		"shop.return": {ID: got["shop.return"].ID, Partitions: 2, Replication: got["shop.return"].Replication, MinInSync: 1, MaxBytes: 1_048_588, Compacted: true},
	}
	if diff := cmp.Diff(got, want); diff != "" || got[topic].ID == "" || got[topic].ID == got["shop.return"].ID {
		t.Errorf("topics (-got +want):\n%s", diff)
	}
}

// An account that may publish need not be allowed to read what a topic is set to.
func TestTopicsWithoutTheRightToReadSettings(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p, _ := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 5, MaxBytes: 20_000})
	fault := kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: topic, Count: -1, Err: kerr.TopicAuthorizationFailed}
	c.Fault(fault)
	got, err := p.Topics(bounded(t), topic)
	if err != nil || got[topic].Partitions != 5 || got[topic].MaxBytes != 0 {
		t.Errorf("Topics = %+v, %v, want the partitions and no more", got, err)
	}
	if err := p.Publish(bounded(t), []bus.Message{numbered("o-1", 1)}); err != nil {
		t.Errorf("Publish = %v", err)
	}
}

// The limit of a topic that changes while somebody publishes to it.
func TestPublishKeepsToTheLimitOfTheTopic(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, client := publisher(t, c, kgo.ProducerBatchCompression(kgo.NoCompression()))
	create(t, p, bus.Contract{Topic: topic, Partitions: 1, MaxBytes: 20_000})
	messages := []bus.Message{numbered("o-1", 1), {Topic: topic, Key: []byte("o-1"), Value: make([]byte, 30_000)}, numbered("o-1", 3)}

	err := p.Publish(bounded(t), messages)
	want := `message with key "o-1" for topic shop.order has 30109 bytes, at most 20000 (kgo.ProducerBatchMaxBytes, max.message.bytes)`
	if e := publishError(t, err); err.Error() != want || e.Index != 1 || !worker.IsPermanent(err) {
		t.Errorf("Publish = %v, index %d, want %s, index 1", err, e.Index, want)
	}
	if n := stored(t, client); n != 0 {
		t.Errorf("%d records are stored, want none", n)
	}
	limit(t, client, 100_000)
	if err := p.Publish(bounded(t), messages); err != nil {
		t.Errorf("Publish = %v, want it to see that the topic allows more by now", err)
	}
	limit(t, client, 20_000)
	err = p.Publish(bounded(t), messages)
	if e := publishError(t, err); !errors.Is(err, kerr.MessageTooLarge) || e.Index != -1 {
		t.Errorf("Publish = %v, index %d, want MESSAGE_TOO_LARGE, of the batch", err, e.Index)
	}
	if e := publishError(t, p.Publish(bounded(t), messages)); e.Error() != want || e.Index != 1 {
		t.Errorf("Publish = %v, index %d, want it to have read the limit again", e, e.Index)
	}
	if n := stored(t, client); n != 3 {
		t.Errorf("%d records are stored, want 3", n)
	}
}

func TestClientsThatBreakTheOrderAreRefused(t *testing.T) {
	t.Parallel()
	const prefix = "make a client to publish with: "
	for want, opt := range map[string]kgo.Opt{
		prefix + "option kgo.DisableIdempotentWrite: a retry would store records twice and out of order: leave it out":                                                    kgo.DisableIdempotentWrite(),
		prefix + "option kgo.AllowIdempotentProduceCancellation: a broker would take later records for repeats of cancelled ones: leave it out":                           kgo.AllowIdempotentProduceCancellation(),
		prefix + "option kgo.RecordDeliveryTimeout: 5s: a record that was given up may be stored after later ones: leave it out, the relay has a deadline for each batch": kgo.RecordDeliveryTimeout(5 * time.Second),
		prefix + "option kgo.RecordRetries: 3: a record that was given up may be stored after later ones: leave it out, the relay has a deadline for each batch":          kgo.RecordRetries(3),
		prefix + "max record batch bytes 1 is less than allowed 512":                                                                                                      kgo.ProducerBatchMaxBytes(1),
	} {
		if client, err := kafka.NewClient(opt); client != nil || err == nil || err.Error() != want {
			t.Errorf("NewClient = %v, want %s", err, want)
		}
	}
	client, err := kafka.NewClient(kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	if client != nil || err == nil {
		t.Errorf("NewClient = %v, want an error", err)
	}
}

func TestOptionsOfTheUserCount(t *testing.T) {
	t.Parallel()
	for want, opts := range map[time.Duration][]kgo.Opt{250 * time.Millisecond: nil, time.Second: {kgo.MetadataMinAge(time.Second)}} {
		client, err := kafka.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if got := client.OptValue(kgo.MetadataMinAge); got != want {
			t.Errorf("MetadataMinAge %v, want %v", got, want)
		}
	}
}

func TestNewPublisherPanics(t *testing.T) {
	t.Parallel()
	plain, err := kgo.NewClient(kgo.ManualFlushing())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Close)
	defer func() {
		want := "kafka: NewPublisher: the client was not made by kafka.NewClient, which keeps the order of a key when a broker refuses a record or a topic grows: make it so"
		if got := fmt.Sprint(recover()); got != want {
			t.Errorf("panic %q, want %q", got, want)
		}
	}()
	kafka.NewPublisher(plain)
}
