package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// F-60: a topic grows while somebody publishes to it.
func TestGrownTopicMovesNoKey(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, _ := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 3})
	p.Pin(topic, 3)
	send := func(n int) {
		t.Helper()
		var ms []bus.Message
		for i := range 30 {
			ms = append(ms, numbered(fmt.Sprint("o-", i), n))
		}
		if err := p.Publish(bounded(t), ms); err != nil {
			t.Fatal(err)
		}
	}
	send(1)
	moved := keyIn(5, 7)
	grow(t, c, 4)
	other, _ := publisher(t, c)
	if err := other.Publish(bounded(t), []bus.Message{numbered(moved, 2)}); err != nil { // who has no pin
		t.Fatal(err)
	}
	if topics, err := p.Topics(bounded(t), topic); err != nil || topics[topic].Partitions != 7 {
		t.Fatalf("Topics = %+v, %v, want 7 partitions", topics, err)
	}
	send(3)
	spread := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	last := map[string]string{}
	for partition, records := range inTopic(t, c, topic, 61) {
		for _, r := range records {
			key, n, _ := strings.Cut(r, "=")
			want := spread.Partition(&kgo.Record{Key: []byte(key)}, 3)
			if n == "2" {
				want = 5
			}
			if int(partition) != want {
				t.Errorf("%s is in partition %d, want %d", r, partition, want)
			}
			if n == "2" {
				continue
			}
			if n < last[key] {
				t.Errorf("%s comes behind %s", r, last[key])
			}
			last[key] = n
		}
	}
}

func grow(t *testing.T, c addresses, by int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin(t, client, by)
}

func TestPinToMoreThanThereAre(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, _ := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 3})
	p.Pin(topic, 7)
	err := p.Publish(bounded(t), []bus.Message{numbered(keyIn(5, 7), 1)})
	if want := "topic shop.order: invalid record partitioning choice of 5 from 3 available"; err == nil || err.Error() != want || worker.IsPermanent(err) {
		t.Errorf("Publish = %v, want %s", err, want)
	}
}

func TestMessagesWithoutAKeyAreSpread(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, _ := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 3})
	var ms []bus.Message
	for range 100 {
		ms = append(ms, bus.Message{Topic: topic, Value: make([]byte, 10_000)})
	}
	if err := p.Publish(bounded(t), ms); err != nil {
		t.Fatal(err)
	}
	if got := inTopic(t, c, topic, 100); len(got) != 3 {
		t.Errorf("%d partitions have messages, want all 3", len(got))
	}
}
