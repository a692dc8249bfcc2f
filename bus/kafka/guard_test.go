package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// offer does what a client does with a record, and reports whether it was taken.
func offer(t *guarded, partition int32, fresh bool) bool {
	r := &kgo.Record{Partition: partition}
	took := t.Partition(r, 3)
	if fresh && took >= 0 {
		t.OnNewBatch()
		took = t.Partition(r, 3)
	}
	return took == int(partition) && r.Partition == partition
}

func TestGuardTakesOneBatchOfAPartitionInARound(t *testing.T) {
	t.Parallel()
	g := newGuard()
	topic := g.ForTopic("a").(*guarded)
	for round := range 3 {
		g.next()
		for i, step := range []struct {
			partition int32
			fresh     bool
			want      bool
		}{
			{0, true, true},
			{0, false, true},
			{1, true, true},
			{0, true, false},  // the batch of 0 was sent meanwhile
			{0, false, false}, // nothing may come before what was declined
			{1, false, true},
		} {
			if got := offer(topic, step.partition, step.fresh); got != step.want {
				t.Errorf("round %d, step %d: taken is %v, want %v", round, i, got, step.want)
			}
		}
		topic = g.ForTopic("a").(*guarded) // the client has forgotten the topic
		if offer(topic, 1, true) {
			t.Errorf("round %d: a second batch is taken because the client has forgotten the topic", round)
		}
	}
	if got := topic.Partition(&kgo.Record{Partition: 7}, 3); got != 7 {
		t.Errorf("partition 7 of 3 is %d, want 7, so that the client says what is wrong", got)
	}
}

// P13: a connection that leads nowhere is given up within ten seconds.
func TestClientsAreQuick(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		opts []kgo.Opt
		want time.Duration
	}{
		"by default":     {nil, 5 * time.Second},
		"as a user says": {[]kgo.Opt{kgo.RequestTimeoutOverhead(time.Minute), kgo.ProduceRequestTimeout(time.Minute)}, time.Minute},
	} {
		client, err := NewClient(c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		for _, opt := range []any{kgo.RequestTimeoutOverhead, kgo.ProduceRequestTimeout} {
			if got := client.OptValue(opt); got != c.want {
				t.Errorf("%s: got %v, want %v", what, got, c.want)
			}
		}
	}
}
