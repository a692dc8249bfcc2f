package kafka_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/internal/devenv/apache"
)

// TestApache runs the tests of this package that need no faults of a broker against Apache Kafka: one test after the
// other, because they share one cluster and the names of topics.
func TestApache(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Broker", TestBroker},
		{"Ledger", TestLedger},
		{"LedgersDoNotFenceEachOther", TestLedgersDoNotFenceEachOther},
		{"LedgerLosesTheAnswerToTheEnd", TestLedgerLosesTheAnswerToTheEnd},
		{"LedgerEndsWhatWasLeftOpen", TestLedgerEndsWhatWasLeftOpen},
		{"LedgerParksWhatIsRefused", TestLedgerParksWhatIsRefused},
		{"LedgerErrors", TestLedgerErrors},
		{"MarkersAreRead", TestMarkersAreRead},
		{"MarkersAreDeliveredWithMessages", TestMarkersAreDeliveredWithMessages},
		{"RelayStopsAtATopicThatHasChanged", TestRelayStopsAtATopicThatHasChanged},
		{"TheLargestEventFits", TestTheLargestEventFits},
		{"LargestMessageIsTaken", TestLargestMessageIsTaken},
		{"TopicsAreMadeToKeepEverything", TestTopicsAreMadeToKeepEverything},
		{"TopicsTellsAll", TestTopicsTellsAll},
		{"PublishRefusesWhatNoBrokerTakes", TestPublishRefusesWhatNoBrokerTakes},
		{"PublishKeepsToTheLimitOfTheTopic", TestPublishKeepsToTheLimitOfTheTopic},
		{"PublishToATopicThatDoesNotExist", TestPublishToATopicThatDoesNotExist},
		{"RefusedRecordsAreNotOvertaken", TestRefusedRecordsAreNotOvertaken},
		{"RefusedEventIsParked", TestRefusedEventIsParked},
		{"GrownTopicMovesNoKey", TestGrownTopicMovesNoKey},
		{"GrownTopicStopsTheConsumer", TestGrownTopicStopsTheConsumer},
		{"GrownTopicStopsAllMembers", TestGrownTopicStopsAllMembers},
		{"TopicThatGrowsWhileItIsRead", TestTopicThatGrowsWhileItIsRead},
		{"TopicMadeAgainWhileItIsRead", TestTopicMadeAgainWhileItIsRead},
		{"MessagesWithoutAKeyAreSpread", TestMessagesWithoutAKeyAreSpread},
		{"ForeignRecordStopsTheConsumer", TestForeignRecordStopsTheConsumer},
		{"ForeignRecordsAreIgnored", TestForeignRecordsAreIgnored},
		{"LostOffsetsAreAnError", TestLostOffsetsAreAnError},
		{"LostBeforeItBegins", TestLostBeforeItBegins},
		{"LostWhileItIsRead", TestLostWhileItIsRead},
		{"LostAndSkipped", TestLostAndSkipped},
		{"Lag", TestLag},
		{"ConsumerWaitsForTheTopic", TestConsumerWaitsForTheTopic},
		{"MemberWaitsForTopics", TestMemberWaitsForTopics},
		{"TwoMembersShareTheTopic", TestTwoMembersShareTheTopic},
		{"PartThatWaitsHoldsUpNobody", TestPartThatWaitsHoldsUpNobody},
		{"PartsThatMoveAreLetGo", TestPartsThatMoveAreLetGo},
		{"DeliveryThatDoesNotEnd", TestDeliveryThatDoesNotEnd},
		{"Groups", TestGroups},
		{"Churn", TestChurn},
		{"Limits", TestLimits},
		{"NoGoroutineIsLeft", TestNoGoroutineIsLeft},
		{"ProtocolsChangeOver", TestProtocolsChangeOver},
		{"EagerMembers", TestEagerMembers},
		{"StaticMember", TestStaticMember},
	} {
		// The test is parallel, and so runs behind its parent: before the next one begins.
		t.Run(test.name, func(t *testing.T) { t.Run("on", test.run) })
	}
}

// onApache reports whether a test is one of TestApache.
func onApache(t *testing.T) bool { return strings.HasPrefix(t.Name(), "TestApache") }

// shared is the cluster of this run, for one test at a time.
var shared struct {
	sync.Mutex
	cluster *apache.Cluster // nil until a test needs it
	checked bool            // it had no topics when it was given to the first test
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// apacheFor is a cluster without topics for as long as the test runs.
func apacheFor(t *testing.T) addresses {
	t.Helper()
	shared.Lock()
	t.Cleanup(shared.Unlock)
	if shared.cluster == nil {
		cluster, err := apache.Start(t.Context(), apache.Config{})
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = cluster
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(shared.cluster.Seeds...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(client)
	if !shared.checked {
		if topics, err := admin.ListTopics(bounded(t)); err != nil || len(topics.Names()) > 0 {
			client.Close()
			t.Fatalf("the brokers have the topics %v (%v), and this test deletes all: give it a cluster without any", topics.Names(), err)
		}
		shared.checked = true
	}
	t.Cleanup(func() {
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for {
			topics, err := admin.ListTopics(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			names := topics.Names()
			if len(names) == 0 {
				return
			}
			if _, err := admin.DeleteTopics(ctx, names...); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return addresses(slices.Clone(shared.cluster.Seeds))
}
