//go:build unix

package scenario_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/internal/devenv/apache"
)

// onApache is a cluster of Apache Kafka of a scenario's own.
type onApache struct {
	t *testing.T
	brokers
	cluster *apache.Cluster
	admin   *kadm.Client
}

func startApache(t *testing.T, nodes int) *onApache {
	t.Helper()
	properties := groupSettings()
	maps.Copy(properties, map[string]string{
		"broker.session.timeout.ms":    "3000", // until then nobody leads in the place of a broker that was killed
		"broker.heartbeat.interval.ms": "300",
	})
	c, err := apache.Start(t.Context(), apache.Config{Brokers: nodes, Properties: properties, Own: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := kgo.NewClient(eager(c.Seeds)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	t.Logf("Apache Kafka %s, %d brokers", c.Version, nodes)
	a := &onApache{t: t, cluster: c, admin: kadm.NewClient(client)}
	a.brokers = brokers{seeds: c.Seeds, begin: time.Second, again: func(later <-chan struct{}) {
		a.kill(1)
		<-later
		a.restart(1)
	}}
	a.heal = 45 * time.Second
	return a
}

func (a *onApache) kill(node int32) {
	a.t.Helper()
	if err := a.cluster.Kill(int(node)); err != nil {
		a.t.Fatal(err)
	}
}

func (a *onApache) restart(nodes ...int32) {
	a.t.Helper()
	for _, node := range nodes {
		if err := a.cluster.Restart(a.t.Context(), int(node)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// inSync waits until every partition has a leader, and all of its replicas are in sync.
func (a *onApache) inSync() {
	a.t.Helper()
	eventually(a.t, "all replicas are in sync", func() bool {
		m, err := a.admin.Metadata(a.t.Context())
		if err != nil || len(m.Brokers) < len(a.seeds) {
			return false
		}
		all := true
		m.Topics.EachPartition(func(p kadm.PartitionDetail) {
			all = all && p.Err == nil && p.Leader >= 0 && len(p.ISR) == len(p.Replicas)
		})
		return all
	})
}

// leader returns who leads some partition of the topics of a team.
func (a *onApache) leader(r *rand.Rand) int32 {
	a.t.Helper()
	details, err := a.admin.ListTopics(a.t.Context(), topics...)
	if err != nil {
		a.t.Fatal(err)
	}
	p, ok := details[topics[r.IntN(len(topics))]].Partitions[r.Int32N(teamPartitions)]
	if !ok || p.Leader < 0 {
		a.t.Fatalf("a partition has no leader: %+v", details)
	}
	return p.Leader
}

// wantInSync sets how many replicas of the topics of a team have to be in sync.
func (a *onApache) wantInSync(replicas string) {
	a.t.Helper()
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "min.insync.replicas", Value: &replicas}}
	responses, err := a.admin.AlterTopicConfigs(a.t.Context(), set, topics...)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, r := range responses {
		if r.Err != nil {
			a.t.Fatalf("set min.insync.replicas of %s: %v", r.Name, r.Err)
		}
	}
}

// others returns the nodes but one, in some order.
func (a *onApache) others(r *rand.Rand, one int32) (nodes []int32) {
	for i := range a.seeds {
		nodes = append(nodes, int32(i+1))
	}
	r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return slices.DeleteFunc(nodes, func(n int32) bool { return n == one })
}

// probed sends a record to a topic that wants all three replicas in sync, and returns what
// becomes of it.
func (a *onApache) probed() error {
	a.t.Helper()
	const topic = "probe"
	all := "3"
	_, err := a.admin.CreateTopic(a.t.Context(), 1, replicas, map[string]*string{"min.insync.replicas": &all}, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	client, err := kgo.NewClient(eager(a.seeds, kgo.RecordRetries(2), kgo.DisableIdempotentWrite())...)
	if err != nil {
		a.t.Fatal(err)
	}
	defer client.Close()
	return client.ProduceSync(a.t.Context(), &kgo.Record{Topic: topic}).FirstErr()
}

func TestApacheOwnRelayKilled(t *testing.T) {
	t.Parallel()
	relayKilled(t, &startApache(t, 1).brokers, false)
}

func TestApacheOwnLedgerKilled(t *testing.T) {
	t.Parallel()
	relayKilled(t, &startApache(t, 1).brokers, true)
}

// The groups are those of KIP-848 on Apache Kafka 4, and classic ones before.
func TestApacheOwnRebalanceChurn(t *testing.T) {
	t.Parallel()
	rebalanceChurn(t, &startApache(t, 1).brokers)
}

func TestApacheOwnBrokerRestarts(t *testing.T) {
	t.Parallel()
	brokerRestarts(t, &startApache(t, 1).brokers)
}

func TestApacheOwnBrokerHalfOpen(t *testing.T) {
	t.Parallel()
	brokerHalfOpen(t, &startApache(t, 1).brokers)
}
