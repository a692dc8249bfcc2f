//go:build unix

package scenario_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokers are the Kafka cluster of a scenario, and what can be done to it.
type brokers struct {
	seeds []string
	// begin is what a process may need, more than with a cluster in process, before it
	// publishes: who is killed before that does nothing.
	begin time.Duration
	// heal is what it may take, more than healTime, until all is as before: brokers that are
	// processes of their own need a while after a start, more so beside other work, and a
	// member of a classic group that joins on a lost connection waits for 20 s.
	heal time.Duration
	// again kills a broker, and starts it a while later. Nil: none is killed.
	again func(later <-chan struct{})
	// moveLeader moves the leader of some partition of the topics, and moveCoordinators
	// those of groups. Nil: there is nowhere to move to.
	moveLeader       func(r *rand.Rand)
	moveCoordinators func()
}

// session is after which time without a sign of life a group gives the partitions of a
// member to others.
const session = 1500 * time.Millisecond

// groupSettings are those of a cluster whose groups notice a dead member soon.
func groupSettings() map[string]string {
	return map[string]string{
		"group.consumer.session.timeout.ms":    fmt.Sprint(session.Milliseconds()),
		"group.consumer.heartbeat.interval.ms": "100",
	}
}

// inProcess starts a cluster in the process of the test, which lives on.
func inProcess(t *testing.T, nodes int32) *brokers {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(int(nodes)), kfake.BrokerConfigs(groupSettings()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &brokers{
		seeds: c.ListenAddrs(),
		moveLeader: func(r *rand.Rand) {
			// Of a topic that does not exist yet it is an error.
			_ = c.MoveTopicPartition(topics[r.IntN(len(topics))], r.Int32N(teamPartitions), r.Int32N(nodes))
		},
		moveCoordinators: c.RehashCoordinators,
	}
}

// inChild starts a cluster of one in a process of its own.
func inChild(t *testing.T) *brokers {
	t.Helper()
	b := startBroker(t)
	return &brokers{seeds: []string{b.addr}, again: b.again}
}
