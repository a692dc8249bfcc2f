package kafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

const topic = "shop.order"

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func recorded(n int) event.Recorded {
	return event.Recorded{
		Raw:    event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x"), Metadata: event.Metadata{ID: event.NewID()}},
		Stream: event.Stream{Category: "order", ID: "o-1"}, Version: event.Version(n), Position: event.Position(n), RecordedTime: time.Unix(0, 0),
	}
}

func messages(t *testing.T, events ...event.Recorded) []bus.Message {
	t.Helper()
	var ms []bus.Message
	for _, e := range events {
		m, err := bus.MessageOf(topic, e)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

func create(t *testing.T, p *kafka.Publisher, c bus.Contract) {
	t.Helper()
	if err := p.Create(bounded(t), c); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, client *kgo.Client, events ...event.Recorded) {
	t.Helper()
	p := kafka.NewPublisher(client)
	create(t, p, bus.Contract{Topic: topic, Partitions: 3})
	if err := p.Publish(bounded(t), messages(t, events...)); err != nil {
		t.Fatal(err)
	}
}

// sink takes deliveries.
type sink struct {
	marks   worker.Checkpoint
	deliver func(d worker.Delivery) error
}

func (s *sink) Begin(context.Context, ...string) (worker.Checkpoint, error) { return s.marks, nil }

func (s *sink) Deliver(_ context.Context, d worker.Delivery) error { return s.deliver(d) }

// consume reads until want events have come, and returns the marks.
func consume(t *testing.T, seeds []string, marks worker.Checkpoint, want int) (worker.Checkpoint, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	seen := make(chan worker.Delivery, 100)
	got := worker.Checkpoint{}
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for n := 0; n < want; {
			select {
			case d := <-seen:
				n += len(d.Events)
				got[d.Part] = worker.Mark{Source: d.Source, Offset: d.Next, Of: d.Of}
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	err := kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...)).Consume(ctx, &sink{marks: marks, deliver: func(d worker.Delivery) error {
		seen <- d
		return nil
	}})
	cancel()
	<-counted
	return got, err
}

func TestTopicsAreMadeToKeepEverything(t *testing.T) {
	t.Parallel()
	_, client := open(t)
	p := kafka.NewPublisher(client)
	for range 2 { // the second time they exist
		create(t, p, bus.Contract{Topic: topic, Partitions: 5, Replication: 1, MaxBytes: 2_000_000, Config: map[string]string{"segment.ms": "60000"}})
	}
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(bounded(t), topic)
	if err != nil || len(topics[topic].Partitions) != 5 {
		t.Errorf("topic %+v, %v, want 5 partitions", topics[topic], err)
	}
	configs, err := admin.DescribeTopicConfigs(bounded(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "2000000", "segment.ms": "60000"}
	for _, c := range configs[0].Configs {
		if w, ok := want[c.Key]; ok && w != c.MaybeValue() {
			t.Errorf("%s is %s, want %s", c.Key, c.MaybeValue(), w)
		}
	}
}

func stored(t *testing.T, client *kgo.Client) (n int64) {
	t.Helper()
	ends, err := kadm.NewClient(client).ListEndOffsets(bounded(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

func TestPublishRefusesWhatNoBrokerTakes(t *testing.T) {
	t.Parallel()
	_, client := open(t)
	p := kafka.NewPublisher(client)
	create(t, p, bus.Contract{Topic: topic})
	err := p.Publish(bounded(t), []bus.Message{
		{Topic: topic, Key: []byte("o-1"), Value: []byte("first")},
		{Topic: topic, Key: []byte("o-1"), Value: make([]byte, 1_000_012)},
		{Topic: topic, Key: []byte("o-1"), Value: []byte("third")},
	})
	want := `message with key "o-1" for topic shop.order has 1000121 bytes, at most 1000012 (kgo.ProducerBatchMaxBytes, max.message.bytes)`
	if !worker.IsPermanent(err) || err.Error() != want {
		t.Errorf("Publish = %v, want %s", err, want)
	}
	if n := stored(t, client); n != 0 {
		t.Errorf("%d records are stored, want none: the third must not overtake the second", n)
	}
}

// P7: the broker refuses some records for good. Whatever it stores of a key is
// the beginning of what it was sent.
func TestRefusedRecordsAreNotOvertaken(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	p := kafka.NewPublisher(client)
	create(t, p, bus.Contract{Topic: topic, Partitions: 1})
	var events []event.Recorded
	for i := range 400 {
		e := recorded(i + 1)
		e.Payload = make([]byte, 100)
		if i == 150 {
			e.Payload = make([]byte, 30_000) // random, so that it stays too large when compressed
			_, _ = rand.Read(e.Payload)
		}
		events = append(events, e)
	}
	for range 5 {
		limit(t, client, 2_000_000)
		if _, err := p.Topics(bounded(t), topic); err != nil {
			t.Fatal(err)
		}
		limit(t, client, 20_000) // which the Publisher has not seen
		if err := p.Publish(bounded(t), messages(t, events...)); !worker.IsPermanent(err) || !strings.Contains(err.Error(), "MESSAGE_TOO_LARGE") {
			t.Fatalf("Publish = %v, want MESSAGE_TOO_LARGE, permanently", err)
		}
	}
	limit(t, client, 2_000_000)
	if err := p.Publish(bounded(t), messages(t, events...)); err != nil {
		t.Fatal(err)
	}
	s := newStore()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...)).Consume(ctx, s)
	}()
	s.await(ctx, t, len(events))
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, client := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := kafka.NewPublisher(client).Publish(ctx, []bus.Message{{Topic: "nowhere"}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %v, want context.Canceled", err)
	}
}

func TestForeignRecordStopsTheConsumer(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	publish(t, client)
	foreign, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(foreign.Close)
	if err := foreign.ProduceSync(bounded(t), &kgo.Record{Topic: topic, Value: []byte("garbage")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	_, err = consume(t, seeds, nil, 1)
	if !errors.Is(err, bus.ErrForeign) || !worker.IsPermanent(err) || !strings.Contains(err.Error(), "consume as totals: shop.order/") ||
		!strings.Contains(err.Error(), " offset 0: read message of topic shop.order: message is no event of Annals: header annals-name is missing") {
		t.Errorf("Consume = %v, want ErrForeign with the place", err)
	}
}

func TestGrownTopicStopsTheConsumer(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	publish(t, client, recorded(1))
	marks, err := consume(t, seeds, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(client).CreatePartitions(bounded(t), 1, topic); err != nil {
		t.Fatal(err)
	}
	_, err = consume(t, seeds, marks, 1)
	var parts *worker.PartsError
	if !errors.As(err, &parts) || parts.Was != 3 || parts.Is != 4 {
		t.Errorf("Consume = %v, want a *PartsError from 3 to 4", err)
	}
}

func TestTopicThatGrowsWhileItIsRead(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	publish(t, client, recorded(1))
	grown := false
	err := consumeWith(t, seeds, func(worker.Delivery) error {
		if !grown {
			grown = true
			_, err := kadm.NewClient(client).CreatePartitions(bounded(t), 1, topic)
			return err
		}
		return nil
	})
	var parts *worker.PartsError
	if !errors.As(err, &parts) || parts.Was != 3 || parts.Is != 4 {
		t.Errorf("Consume = %v, want a *PartsError from 3 to 4", err)
	}
}

func consumeWith(t *testing.T, seeds []string, deliver func(worker.Delivery) error) error {
	t.Helper()
	c := kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...), kgo.MetadataMaxAge(time.Second))
	return c.Consume(bounded(t), &sink{deliver: deliver})
}

type brokenSink struct{ err error }

func (s brokenSink) Begin(context.Context, ...string) (worker.Checkpoint, error) { return nil, s.err }

func (s brokenSink) Deliver(context.Context, worker.Delivery) error { return nil }

// An error that merely looks like the end of a context must not end the
// consumer in silence.
func TestCheckpointThatCannotBeRead(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	publish(t, client, recorded(1))
	timeout := fmt.Errorf("read checkpoint: %w", context.DeadlineExceeded)
	err := kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...)).Consume(bounded(t), brokenSink{timeout})
	if want := "consume as totals: begin: read checkpoint: context deadline exceeded"; err == nil || err.Error() != want {
		t.Errorf("Consume = %v, want %s", err, want)
	}
}

func TestOwns(t *testing.T) {
	t.Parallel()
	c := kafka.NewConsumer("totals", []string{"shop.order", "a/b"})
	for part, want := range map[string]bool{"shop.order/0": true, "a/b/12": true, "shop.return/0": false, "shop.order": false, "": false} {
		if got := c.Owns(part); got != want {
			t.Errorf("Owns(%q) = %v, want %v", part, got, want)
		}
	}
}

func TestLostOffsetsAreAnError(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	publish(t, client, recorded(1), recorded(2), recorded(3))
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(bounded(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteRecords(bounded(t), ends.Offsets()); err != nil { // as retention would
		t.Fatal(err)
	}
	publish(t, client, recorded(4))
	_, err = consume(t, seeds, nil, 1)
	var lost *bus.LostError
	if !errors.As(err, &lost) || !errors.Is(err, bus.ErrLost) || !worker.IsPermanent(err) {
		t.Fatalf("Consume = %v, want a permanent *bus.LostError: P8, never a jump", err)
	}
	if end := ends[topic][partitionOf(t, lost.Part)].Offset; lost.From != 0 || lost.To != end || end == 0 || lost.Truncated {
		t.Errorf("%+v, want what lies before %d", *lost, end)
	}
}

func partitionOf(t *testing.T, part string) (partition int32) {
	t.Helper()
	if _, err := fmt.Sscanf(part, topic+"/%d", &partition); err != nil {
		t.Fatal(err)
	}
	return partition
}

func TestLag(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	ctx := bounded(t)
	if _, err := kafka.Lag(ctx, client, nil, topic); err == nil || err.Error() != "read lag: topics [shop.order] do not exist" {
		t.Errorf("Lag = %v, want it to name the missing topic", err)
	}
	publish(t, client, recorded(1), recorded(2), recorded(3))
	if lag, err := kafka.Lag(ctx, client, nil, topic); err != nil || lag != 3 {
		t.Errorf("Lag = %d, %v, want 3", lag, err)
	}
	marks, err := consume(t, seeds, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if lag, err := kafka.Lag(ctx, client, marks, topic); err != nil || lag != 0 {
		t.Errorf("Lag = %d, %v, want 0", lag, err)
	}
	for part, m := range marks {
		m.Source = "of another topic"
		marks[part] = m
	}
	if lag, err := kafka.Lag(ctx, client, marks, topic); err != nil || lag != 3 {
		t.Errorf("Lag of a topic that was made again = %d, %v, want 3", lag, err)
	}
}

func TestConsumerWaitsForTheTopic(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	ended := make(chan error, 1)
	go func() {
		_, err := consume(t, seeds, nil, 1)
		ended <- err
	}()
	publish(t, client, recorded(1))
	if err := <-ended; err != nil {
		t.Errorf("Consume = %v", err)
	}
}

// A member that joins takes over partitions, and begins where the other's
// deliveries have ended.
func TestTwoMembersShareTheTopic(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	s := newStore()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			ended <- kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...)).Consume(ctx, s)
		}()
	}
	const n = 300
	for i := range n {
		e := recorded(i/10 + 1)
		e.Stream.ID, e.Position = fmt.Sprint("o-", i%10), event.Position(i+1)
		publish(t, client, e)
	}
	s.await(ctx, t, n)
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
