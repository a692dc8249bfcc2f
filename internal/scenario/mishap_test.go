package scenario_test

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mishap is what becomes of one produce request.
type mishap struct {
	err     *kerr.Error // the answer; nil: none, the connection ends
	applied bool        // whether the records are stored all the same
}

func (m mishap) String() string {
	what, when := "the connection ends", "before"
	if m.err != nil {
		what = m.err.Message
	}
	if m.applied {
		when = "after"
	}
	return fmt.Sprintf("%s, %s it is stored", what, when)
}

// refusesOne reports whether the answer says that a record is at fault, for good.
func (m mishap) refusesOne() bool {
	return m.err == kerr.MessageTooLarge || m.err == kerr.RecordListTooLarge || m.err == kerr.InvalidRecord
}

// produceErrors are what brokers, their proxies and their interceptors answer a produce
// request with, by the protocol or by mistake.
var produceErrors = []*kerr.Error{
	kerr.UnknownServerError, kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable,
	kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.BrokerNotAvailable, kerr.ReplicaNotAvailable,
	kerr.MessageTooLarge, kerr.StaleControllerEpoch, kerr.NetworkException, kerr.CoordinatorLoadInProgress,
	kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.InvalidTopicException, kerr.RecordListTooLarge,
	kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.InvalidRequiredAcks, kerr.TopicAuthorizationFailed,
	kerr.ClusterAuthorizationFailed, kerr.InvalidTimestamp, kerr.IllegalSaslState, kerr.UnsupportedVersion,
	kerr.NotController, kerr.InvalidRequest, kerr.UnsupportedForMessageFormat, kerr.PolicyViolation,
	kerr.OutOfOrderSequenceNumber, kerr.DuplicateSequenceNumber, kerr.InvalidProducerEpoch, kerr.InvalidTxnState,
	kerr.InvalidProducerIDMapping, kerr.ConcurrentTransactions, kerr.TransactionCoordinatorFenced,
	kerr.TransactionalIDAuthorizationFailed, kerr.SecurityDisabled, kerr.KafkaStorageError, kerr.LogDirNotFound,
	kerr.SaslAuthenticationFailed, kerr.UnknownProducerID, kerr.ReassignmentInProgress, kerr.FencedLeaderEpoch,
	kerr.UnknownLeaderEpoch, kerr.UnsupportedCompressionType, kerr.StaleBrokerEpoch, kerr.OffsetNotAvailable,
	kerr.PreferredLeaderNotAvailable, kerr.EligibleLeadersNotAvailable, kerr.InvalidRecord, kerr.ThrottlingQuotaExceeded,
	kerr.ProducerFenced, kerr.UnknownTopicID, kerr.InconsistentTopicID, kerr.NewLeaderElected, kerr.TransactionAbortable,
	kerr.RebootstrapRequired,
}

// mishaps returns all there are: with every error that the client knows, or only with
// those of a produce request.
func mishaps(every bool) (all []mishap) {
	codes := produceErrors
	if every {
		codes = nil
		for code := int16(-1); code <= 200; code++ {
			if err := kerr.TypedErrorForCode(code); err != nil && err.Code == code {
				codes = append(codes, err)
			}
		}
	}
	for _, err := range codes {
		if err != kerr.DuplicateSequenceNumber { // it says that the records are stored
			all = append(all, mishap{err, false})
		}
		all = append(all, mishap{err, true})
	}
	return append(all, mishap{nil, false}, mishap{nil, true})
}

var errCut = errors.New("the connection ends")

// befall has a mishap happen to the at-th produce request that a cluster gets, from 1 on,
// and returns how many it has got. A request is stored by sending it once more, with
// another client.
func befall(c *kfake.Cluster, other *kgo.Client, m mishap, at int64) *atomic.Int64 {
	var requests atomic.Int64
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if requests.Add(1) != at {
			return nil, nil, false
		}
		request := r.(*kmsg.ProduceRequest)
		answer := request.ResponseKind().(*kmsg.ProduceResponse)
		if m.applied {
			node, err := c.CurrentNode(), error(nil)
			var stored kmsg.Response
			c.SleepControl(func() { stored, err = other.Broker(int(node)).Request(other.Context(), request) })
			if err != nil {
				return nil, fmt.Errorf("store the records of a mishap: %w", err), true
			}
			answer = stored.(*kmsg.ProduceResponse)
		} else {
			for _, t := range request.Topics {
				to := kmsg.NewProduceResponseTopic()
				to.Topic, to.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					part := kmsg.NewProduceResponseTopicPartition()
					part.Partition = p.Partition
					to.Partitions = append(to.Partitions, part)
				}
				answer.Topics = append(answer.Topics, to)
			}
		}
		if m.err == nil {
			return nil, errCut, true
		}
		for i := range answer.Topics {
			for j := range answer.Topics[i].Partitions {
				p := &answer.Topics[i].Partitions[j]
				p.ErrorCode, p.BaseOffset = m.err.Code, -1
			}
		}
		return answer, nil, true
	})
	return &requests
}
