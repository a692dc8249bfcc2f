package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/worker"
)

// cluster starts a broker that can be told to fail.
func cluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func publisher(t *testing.T, c interface{ ListenAddrs() []string }, opts ...kgo.Opt) (*kafka.Publisher, *kgo.Client) {
	t.Helper()
	client, err := kafka.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kafka.NewPublisher(client), client
}

func numbered(key string, n int) bus.Message {
	return bus.Message{Topic: topic, Key: []byte(key), Value: fmt.Append(nil, n)}
}

// inTopic returns what the partitions have, each record as key=value.
func inTopic(t *testing.T, c interface{ ListenAddrs() []string }, topic string, want int) map[int32][]string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	out := map[int32][]string{}
	for n := 0; n < want; {
		fetches := client.PollFetches(bounded(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v, with %d records of %d", err, n, want)
		}
		for r := range fetches.RecordsAll() {
			n++
			out[r.Partition] = append(out[r.Partition], fmt.Sprintf("%s=%s", r.Key, r.Value))
		}
	}
	return out
}

// batches watches what comes to a broker: how many record batches of a partition in each
// round of a Publisher.
type batches struct {
	mu    sync.Mutex
	most  map[string]int
	total int
}

func watch(c *kfake.Cluster, p *kafka.Publisher) *batches {
	b := &batches{most: map[string]int{}}
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			for _, part := range t.Partitions {
				b.most[fmt.Sprintf("round %d, topic %s%x/%d", p.Round(), t.Topic, t.TopicID, part.Partition)]++
				b.total++
			}
		}
		return nil, nil, false
	})
	return b
}

func (b *batches) check(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for where, n := range b.most {
		if n > 1 {
			t.Errorf("%s: %d record batches, want at most one", where, n)
		}
	}
	if b.total == 0 {
		t.Error("nothing was seen")
	}
}

// P7: whatever the sizes are, and whoever else flushes the client.
func TestRoundsHaveOneBatchOfAPartition(t *testing.T) {
	t.Parallel()
	for _, meddling := range []bool{false, true} {
		t.Run(fmt.Sprint("meddling=", meddling), func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			p, client := publisher(t, c, kgo.ProducerBatchMaxBytes(4_000), kgo.MaxBufferedRecords(300))
			create(t, p, bus.Contract{Topic: topic, Partitions: 3})
			create(t, p, bus.Contract{Topic: "shop.return", Partitions: 2, MaxBytes: 2_000})
			seen := watch(c, p)
			ctx, cancel := context.WithCancel(t.Context())
			var meddler sync.WaitGroup
			if meddling {
				meddler.Go(func() {
					for ctx.Err() == nil {
						_ = client.Flush(ctx)
					}
				})
			}
			random := rand.New(rand.NewPCG(1, 2))
			const n = 2_000
			want := map[string][]string{}
			var all []bus.Message
			for i := range n {
				m := numbered(fmt.Sprint("o-", random.IntN(20)), i)
				for range random.IntN(4) {
					m.Headers = append(m.Headers, bus.Header{Key: strings.Repeat("h", random.IntN(70)), Value: make([]byte, random.IntN(200))})
				}
				if random.IntN(10) == 0 {
					m.Topic = "shop.return"
				} else {
					want[string(m.Key)] = append(want[string(m.Key)], fmt.Sprintf("%s=%d", m.Key, i))
				}
				all = append(all, m)
			}
			for part := range slices.Chunk(all, 700) {
				if err := p.Publish(bounded(t), part); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			meddler.Wait()
			seen.check(t)
			count, got := 0, map[string][]string{}
			for _, w := range want {
				count += len(w)
			}
			for _, records := range inTopic(t, c, topic, count) {
				for _, r := range records {
					key, _, _ := strings.Cut(r, "=")
					got[key] = append(got[key], r)
				}
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("records by key (-got +want):\n%s", diff)
			}
		})
	}
}

// The sizes that are computed are upper bounds, so the client takes the largest message
// that is not refused before.
func TestLargestMessageIsTaken(t *testing.T) {
	t.Parallel()
	c := brokers(t)
	p, _ := publisher(t, c, kgo.ProducerBatchMaxBytes(3_000))
	create(t, p, bus.Contract{Topic: topic, Partitions: 1})
	for headers := range 12 {
		m := bus.Message{Topic: topic, Key: []byte("o-1")}
		for i := range headers {
			m.Headers = append(m.Headers, bus.Header{Key: strings.Repeat("h", i), Value: make([]byte, i*7)})
		}
		size := 66 + 40 + len(m.Key)
		for _, h := range m.Headers {
			size += 10 + len(h.Key) + len(h.Value)
		}
		m.Value = make([]byte, 3_000-size)
		if err := p.Publish(bounded(t), []bus.Message{m}); err != nil {
			t.Errorf("%d headers: Publish = %v, want it to be taken", headers, err)
		}
		m.Value = append(m.Value, 0)
		err := p.Publish(bounded(t), []bus.Message{m})
		if want := `message with key "o-1" for topic shop.order has 3001 bytes, at most 3000 (kgo.ProducerBatchMaxBytes, max.message.bytes)`; err == nil || err.Error() != want {
			t.Errorf("%d headers: Publish = %v, want %s", headers, err, want)
		}
	}
}

func publishError(t *testing.T, err error) *bus.PublishError {
	t.Helper()
	var e *bus.PublishError
	if !errors.As(err, &e) {
		t.Fatalf("Publish = %v, want a *bus.PublishError", err)
	}
	return e
}

// keyIn returns a key that goes to the partition.
func keyIn(partition, of int) string {
	spread := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for i := 0; ; i++ {
		if key := fmt.Sprint("o-", i); spread.Partition(&kgo.Record{Key: []byte(key)}, of) == partition {
			return key
		}
	}
}

func TestPublishErrorTellsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		err       *kerr.Error
		bad       int // messages to the partition that fails
		index     int
		permanent bool
		text      string
	}{
		{"one too large", kerr.MessageTooLarge, 1, 3, true, "topic shop.order: MESSAGE_TOO_LARGE"},
		{"one invalid", kerr.InvalidRecord, 1, 3, true, "topic shop.order: INVALID_RECORD"},
		{"some of two", kerr.InvalidRecord, 2, -1, true, "topic shop.order: INVALID_RECORD"},
		{"not allowed", kerr.TopicAuthorizationFailed, 1, -1, false, "topic shop.order: TOPIC_AUTHORIZATION_FAILED"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			p, _ := publisher(t, c)
			create(t, p, bus.Contract{Topic: topic, Partitions: 3})
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{1}, Err: tc.err, Count: -1})
			good, other, bad := keyIn(0, 3), keyIn(2, 3), keyIn(1, 3)
			messages := []bus.Message{numbered(good, 1), numbered(other, 1), numbered(good, 2)}
			want := []bool{true, true, false}
			for i := range tc.bad {
				messages, want = append(messages, numbered(bad, i)), append(want, false)
			}
			err := p.Publish(bounded(t), messages)
			e := publishError(t, err)
			count := 2
			if e.Acked[2] { // unless the client has sent the first one by itself, and no second batch may follow
				want[2], count = true, 3
			}
			if !slices.Equal(e.Acked, want) || e.Index != tc.index || worker.IsPermanent(err) != tc.permanent || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Publish = %v, %+v, want %s, acknowledged %v, index %d, permanent %v", err, e, tc.text, want, tc.index, tc.permanent)
			}
			if got := inTopic(t, c, topic, count); len(got[0]) != count-1 || len(got[1]) != 0 || len(got[2]) != 1 {
				t.Errorf("the topic has %v, want what is acknowledged", got)
			}
		})
	}
}

// writes counts the produce requests of a client.
type writes struct {
	mu    sync.Mutex
	count int
}

func (w *writes) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Produce) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.count++
	}
}

func (w *writes) so() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// F-55: a Publish gives up while its records are on the way. What becomes of them is
// known before the next one sends anything.
func TestPublishSettlesWhatAnEarlierOneHasLeft(t *testing.T) {
	t.Parallel()
	for _, outcome := range []string{"stored", "connection lost", "refused"} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			w := &writes{}
			p, _ := publisher(t, c, kgo.WithHooks(w))
			create(t, p, bus.Contract{Topic: topic, Partitions: 1})
			if err := p.Publish(bounded(t), []bus.Message{numbered("o-1", 0)}); err != nil {
				t.Fatal(err)
			}
			ctx, giveUp := context.WithCancel(bounded(t))
			gate := make(chan struct{})
			c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.DropControl()
				giveUp()
				c.SleepControl(func() { <-gate })
				switch outcome {
				case "connection lost":
					return nil, errors.New("lost"), true
				case "refused":
					c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.MessageTooLarge})
				}
				return nil, nil, false
			})
			err := p.Publish(ctx, []bus.Message{numbered("o-1", 1), numbered("o-1", 2)})
			if e := publishError(t, err); !errors.Is(err, context.Canceled) || worker.IsPermanent(err) || err.Error() != "wait for acknowledgement: context canceled" || !slices.Equal(e.Acked, []bool{false, false}) {
				t.Fatalf("Publish = %v, %+v, want context.Canceled with nothing acknowledged", err, e)
			}
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err = p.Publish(short, []bus.Message{numbered("o-1", 1), numbered("o-1", 2), numbered("o-1", 3)})
			if want := "wait for the records of an earlier Publish: context deadline exceeded"; err == nil || err.Error() != want {
				t.Errorf("Publish = %v, want %s", err, want)
			}
			if n := w.so(); n > 2 { // the first message, and those on their way
				t.Errorf("%d requests were sent before the one on its way was answered, want 2", n)
			}
			close(gate)
			if err := p.Publish(bounded(t), []bus.Message{numbered("o-1", 1), numbered("o-1", 2), numbered("o-1", 3)}); err != nil {
				t.Fatal(err)
			}
			want := []string{"o-1=0", "o-1=1", "o-1=2", "o-1=1", "o-1=2", "o-1=3"}
			if outcome == "refused" {
				want = []string{"o-1=0", "o-1=1", "o-1=2", "o-1=3"}
			}
			if diff := cmp.Diff(inTopic(t, c, topic, len(want))[0], want); diff != "" {
				t.Errorf("partition 0 (-got +want):\n%s", diff)
			}
		})
	}
}

func TestPublishToATopicThatDoesNotExist(t *testing.T) {
	t.Parallel()
	p, _ := publisher(t, brokers(t))
	err := p.Publish(bounded(t), []bus.Message{numbered("o-1", 1)})
	if want := "topic shop.order does not exist"; err == nil || err.Error() != want || worker.IsPermanent(err) {
		t.Errorf("Publish = %v, want %s", err, want)
	}
}
