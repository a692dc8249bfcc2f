package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/worker"
)

// newMember returns a member of nothing, with a client, and a topic t of one partition.
func newMember(t *testing.T) *member {
	t.Helper()
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Seeds...), kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	t.Cleanup(func() { stop(nil) })
	return &member{Consumer: NewConsumer("totals", []string{"t"}), client: client, ctx: ctx, stop: stop, slots: &slots{free: 1}, parts: map[string]*part{}}
}

func (m *member) assign(topic string) *part {
	p := &part{member: m, name: partName(topic, 0), topic: topic, of: 1, next: 7, fetched: 7}
	p.ctx, p.cancel = context.WithCancel(m.ctx)
	m.parts[p.name] = p
	return p
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	for _, c := range []struct {
		at        int64
		err       error
		want      string
		is        error
		permanent bool
	}{
		{7, &kgo.ErrDataLoss{Topic: "t", ConsumedTo: 7, ResetTo: 3}, (&bus.LostError{Part: "t/0", From: 3, To: 7, Truncated: true}).Error(), bus.ErrLost, true},
		{7, kerr.OffsetOutOfRange, (&bus.LostError{Part: "t/0", To: 7, Truncated: true}).Error(), bus.ErrLost, true},
		{0, kerr.OffsetOutOfRange, "fetch t/0 at offset 0: OFFSET_OUT_OF_RANGE", kerr.OffsetOutOfRange, false}, // not any more
		{7, kerr.UnknownTopicID, "fetch t/0: the topic was deleted, or made again: UNKNOWN_TOPIC_ID", ErrMadeAgain, false},
		{7, kerr.UnknownTopicOrPartition, "fetch t/0: the topic was deleted, or made again: UNKNOWN_TOPIC_OR_PARTITION", ErrMadeAgain, false},
		{7, kerr.TopicAuthorizationFailed, "fetch t/0 at offset 7: TOPIC_AUTHORIZATION_FAILED", kerr.TopicAuthorizationFailed, false},
	} {
		err := m.fetchError(t.Context(), "t", 0, c.at, c.err)
		if !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, c.is) || worker.IsPermanent(err) != c.permanent {
			t.Errorf("got %v (permanent: %v), want %s (%v)", err, worker.IsPermanent(err), c.want, c.permanent)
		}
	}
	if err := m.fetchError(t.Context(), "none", 0, 7, kerr.OffsetOutOfRange); err == nil ||
		!strings.Contains(err.Error(), `fetch none/0 at offset 7: OFFSET_OUT_OF_RANGE`) || !strings.Contains(err.Error(), `read where ["none"] begin: `) {
		t.Errorf("got %v, want both errors", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := boundsOf(ctx, m.client, "t"); !errors.Is(err, context.Canceled) {
		t.Errorf("boundsOf = %v, want context.Canceled", err)
	}
}

// The client joins a group again by itself, unless the broker will not have it.
func TestGroupErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&kgo.ErrGroupSession{Err: kerr.GroupAuthorizationFailed}, true},
		{&kgo.ErrGroupSession{Err: kerr.InconsistentGroupProtocol}, true},
		{&kgo.ErrGroupSession{Err: kerr.UnknownMemberID}, false},
		{context.Canceled, false},
	} {
		failed, group := failures(kgo.NewErrFetch(c.err))
		if len(failed) != 0 || (group != nil) != c.want {
			t.Errorf("%v: %v, %v, want an error of the group: %v", c.err, failed, group, c.want)
		}
	}
	failed, group := failures(kgo.NewErrFetch(kerr.OffsetOutOfRange))
	if len(failed) != 1 || group != nil {
		t.Errorf("%v, %v, want one of a partition", failed, group)
	}
}

// What may be skipped when the part begins again is no reason to end a reader.
func TestLostWhileItIsReadAndSkipped(t *testing.T) {
	t.Parallel()
	c := NewConsumer("totals", []string{"t"}, WithSkip(func(*bus.LostError) bool { return true }))
	lost := &bus.LostError{Part: "t/0", To: 7}
	if err := c.lostError(lost); !errors.Is(err, bus.ErrLost) || worker.IsPermanent(err) {
		t.Errorf("got %v, want an error that passes", err)
	}
	lost.Truncated = true
	if err := c.lostError(lost); !worker.IsPermanent(err) {
		t.Errorf("got %v, want a permanent error", err)
	}
}

// Records that come a second time, as when the log was cut off, are not taken for
// others at the same offsets.
func TestFetchedAgain(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	p := m.assign("t")
	p.push([]*kgo.Record{{Topic: "t", Offset: 5}})
	m.workers.Wait()
	if err := context.Cause(m.ctx); err == nil || err.Error() != "fetch t/0 at offset 7: got offset 5" {
		t.Errorf("got %v", err)
	}
	p.push([]*kgo.Record{{Topic: "t", Offset: 7}}) // nothing more is queued
	if len(p.queue) != 0 || p.running != nil {
		t.Errorf("%d records are queued behind an error", len(p.queue))
	}
}

func TestChangedTopics(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	p := m.assign("t")
	p.id = "x"
	if err := m.changed("t", topic{id: "x", partitions: 1}); err != nil {
		t.Error(err)
	}
	if err := m.changed("u", topic{id: "y", partitions: 2}); err != nil {
		t.Error(err)
	}
	if err := m.changed("t", topic{id: "y", partitions: 1}); !errors.Is(err, ErrMadeAgain) || err.Error() != "topic t: the topic was deleted, or made again" {
		t.Errorf("got %v, want ErrMadeAgain", err)
	}
	var parts *worker.PartsError
	if err := m.changed("t", topic{id: "x", partitions: 2}); !errors.As(err, &parts) || parts.Was != 1 || parts.Is != 2 || parts.Name != "group totals" {
		t.Errorf("got %v, want a *PartsError", err)
	}
}

// A member notices that a topic has grown, whoever is given what is new.
func TestWatch(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	topics, _, err := describe(t.Context(), m.client, m.topics)
	if err != nil {
		t.Fatal(err)
	}
	p := m.assign("t")
	p.id, p.of = topics["t"].id, 3
	m.watch() // returns, because it has stopped the member
	var parts *worker.PartsError
	if err := context.Cause(m.ctx); !errors.As(err, &parts) || parts.Was != 3 || parts.Is != 1 {
		t.Errorf("got %v, want a *PartsError from 3 to 1", err)
	}
}

// What waits is bounded by bytes too, and a part that is taken away holds nothing.
func TestBytesThatWait(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	p := m.assign("t")
	p.running = make(chan struct{}) // a delivery is under way
	big := &kgo.Record{Topic: "t", Offset: 7, Value: make([]byte, mostBytes-20), Headers: []kgo.RecordHeader{{Key: "k", Value: []byte("123456789")}}}
	p.push([]*kgo.Record{big})
	if p.paused {
		t.Errorf("paused with %d bytes, want %d", p.bytes, mostBytes)
	}
	p.push([]*kgo.Record{{Topic: "t", Offset: 8, Key: []byte("1234567890")}})
	if !p.paused || len(m.client.PauseFetchPartitions(nil)) != 1 {
		t.Errorf("not paused with %d bytes", p.bytes)
	}
	m.revoked(t.Context(), m.client, nil)
	m.lost(t.Context(), m.client, map[string][]int32{"t": {0, 1}, "u": {0}})
	if len(p.queue) != 0 || p.bytes != 0 || p.ctx.Err() == nil || m.part("t/0") != nil || len(m.client.PauseFetchPartitions(nil)) != 0 {
		t.Errorf("lost, and %d records wait; paused are %v", len(p.queue), m.client.PauseFetchPartitions(nil))
	}
	if m.client.PauseFetchPartitions(map[string][]int32{"t": {0}}); len(m.client.PauseFetchPartitions(nil)) != 1 {
		t.Fatal("not paused by the next owner")
	}
	p.paused = true
	if _, ok := p.take(); ok || len(m.client.PauseFetchPartitions(nil)) != 1 {
		t.Error("a part that was taken away has ended the pause of the next one")
	}
}
