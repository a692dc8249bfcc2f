package kafka_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/worker"
)

// offline has the cluster, which has no other topics, say that a partition has no leader,
// until it is told that it has.
func offline(t *testing.T, c *kfake.Cluster, client *kgo.Client, partition int32) (back func()) {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	of := kmsg.NewMetadataRequestTopic()
	of.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, of)
	all, err := req.RequestWith(bounded(t), client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all.Topics[0].Partitions {
		if p := &all.Topics[0].Partitions[i]; p.Partition == partition {
			p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
		}
	}
	var over atomic.Bool
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if over.Load() {
			return nil, nil, false
		}
		resp := *all
		resp.SetVersion(req.GetVersion())
		return &resp, nil, true
	})
	return func() { over.Store(true) }
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), text)
}

// A partition without a leader holds up no other, neither when a member begins nor later,
// and is read when it has one again.
func TestPartitionWithoutALeaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p, client := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 2})
	put(t, client, topic, 0, 20)
	ctx, ends := bounded(t), endsOf(t, client)
	back := offline(t, c, client, 1)
	s, log := newShelf(t), &lines{}
	one := receive(ctx, c.ListenAddrs(), s.reader("a"), kafka.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	s.until(ctx, func() bool { return s.marks[topic+"/0"].Offset == ends[topic+"/0"] })
	if log.count(`msg="waits for partitions without a leader" group=totals parts=[shop.order/1]`) != 1 {
		t.Errorf("it logs %q, want what it waits for, once", log.String())
	}
	if _, err := p.Topics(ctx, topic); !errors.Is(err, kafka.ErrNotReady) {
		t.Errorf("Topics = %v, want ErrNotReady", err)
	}
	if _, err := kafka.Lag(ctx, client, s.marks, topic); !errors.Is(err, kafka.ErrNotReady) {
		t.Errorf("Lag = %v, want ErrNotReady: it is not known", err)
	}
	back()
	s.await(ctx, 20)
	one.stop(t)
}

// What a partition without a leader has lost shows when it has one again.
func TestLostBehindTheLackOfALeader(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	p, client := publisher(t, c)
	create(t, p, bus.Contract{Topic: topic, Partitions: 1})
	put(t, client, topic, 0, 10)
	cut(t, client, 0, 6)
	id := idOf(t, client)
	back := offline(t, c, client, 0)
	ctx, s, log := bounded(t), newShelf(t), &lines{}
	s.marks[topic+"/0"] = worker.Mark{Source: id, Offset: 4, Of: 1}
	one := receive(ctx, c.ListenAddrs(), s.reader("a"), kafka.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	s.until(ctx, func() bool { return s.owner[topic+"/0"] != nil })
	back()
	wantLost(t, one.error(ctx, t), bus.LostError{Part: topic + "/0", From: 4, To: 6})
}

// A member that waits for a topic says so, once.
func TestMemberWaitsForTopics(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	ctx, s, log := bounded(t), newShelf(t), &lines{}
	one := receive(ctx, seeds, s.reader("a"), kafka.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	for log.count("waits for topics") == 0 && ctx.Err() == nil {
		if _, err := kafka.NewPublisher(client).Topics(ctx, topic); err != nil {
			t.Fatal(err)
		}
	}
	create(t, kafka.NewPublisher(client), bus.Contract{Topic: topic, Partitions: 1})
	put(t, client, topic, 0, 1)
	s.await(ctx, 1)
	one.stop(t)
	if log.count(`msg="waits for topics" group=totals missing=[shop.order] error=<nil>`) != 1 || log.count("\n") != 1 {
		t.Errorf("it logs %q, want what it waits for, once", log.String())
	}
}
