package kafka_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// refuseAll has a broker refuse all records, as one that lacks replicas does.
func refuseAll(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.NotEnoughReplicas.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
}

// The client tells nobody why records are not acknowledged, and tries for ever. A relay says
// what the partitions lack when its time is up.
func TestWhyNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		minInSync int
		describe  func(p *kmsg.MetadataResponseTopicPartition)
		want      string
	}{
		"too few in sync": {2, func(p *kmsg.MetadataResponseTopicPartition) { p.ISR = []int32{0} },
			"partition 0 of topic shop.order has 1 of 3 replicas in sync, and min.insync.replicas is 2: look at brokers [1 2]"},
		"settings are not known": {0, func(p *kmsg.MetadataResponseTopicPartition) { p.ISR = []int32{0, 2} },
			"partition 0 of topic shop.order has 2 of 3 replicas in sync: look at brokers [1]"},
		"no leader": {2, func(p *kmsg.MetadataResponseTopicPartition) { p.Leader, p.ISR = -1, nil },
			"partition 0 of topic shop.order has no leader, and replicas on brokers [0 1 2]"},
		"many": {2, func(p *kmsg.MetadataResponseTopicPartition) { p.Leader = -1 },
			"partition 0 of topic shop.order has no leader, and replicas on brokers [0 1 2]; partition 1 of topic shop.order has no leader, and replicas on brokers [0 1 2]; partition 2 of topic shop.order has no leader, and replicas on brokers [0 1 2]; and 2 partitions more"},
		"enough": {2, func(*kmsg.MetadataResponseTopicPartition) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := cluster(t)
			p, client := publisher(t, b)
			partitions := 1
			if name == "many" {
				partitions = 5
			}
			create(t, p, bus.Contract{Topic: topic, Partitions: partitions, MinInSync: c.minInSync})
			if err := p.Publish(bounded(t), []bus.Message{numbered("o-1", 0)}); err != nil {
				t.Fatal(err)
			}
			refuseAll(b)
			describeAs(t, b, client, c.describe)
			if c.minInSync == 0 {
				denySettings(b)
			}
			const plain = "wait for acknowledgement: context deadline exceeded"
			ctx, cancel := context.WithTimeout(bounded(t), 3*time.Second) // half of it to answer in
			defer cancel()
			err := p.Publish(ctx, []bus.Message{numbered("o-1", 1)})
			switch {
			case !errors.Is(err, context.DeadlineExceeded) || worker.IsPermanent(err):
				t.Errorf("Publish = %v, want a deadline that passes", err)
			case c.want == "" && err.Error() != plain:
				t.Errorf("Publish = %v, want no word of replicas", err)
			case !strings.HasPrefix(err.Error(), plain) || !strings.HasSuffix(err.Error(), c.want):
				t.Errorf("Publish = %v, want %s: %s", err, plain, c.want)
			}
		})
	}
}

// denySettings has a broker tell nobody how topics are set.
func denySettings(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			d := kmsg.NewDescribeConfigsResponseResource()
			d.ResourceType, d.ResourceName, d.ErrorCode = r.ResourceType, r.ResourceName, kerr.TopicAuthorizationFailed.Code
			resp.Resources = append(resp.Resources, d)
		}
		return resp, nil, true
	})
}

// describeAs has a broker describe partitions as a test wants it, on three brokers.
func describeAs(t *testing.T, c *kfake.Cluster, client *kgo.Client, change func(*kmsg.MetadataResponseTopicPartition)) {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, kmsg.NewMetadataRequestTopic())
	req.Topics[0].Topic = kmsg.StringPtr(topic)
	real, err := req.RequestWith(bounded(t), client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range real.Topics[0].Partitions {
		p := &real.Topics[0].Partitions[i]
		p.Replicas, p.ISR = []int32{0, 1, 2}, []int32{0, 1, 2}
		change(p)
	}
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := *real
		resp.Version = req.GetVersion()
		return &resp, nil, true
	})
}
