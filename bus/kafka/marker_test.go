package kafka_test

import (
	"context"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
)

// opened returns a ledger that is open.
func opened(t *testing.T, seeds []string) *kafka.Ledger {
	t.Helper()
	l := ledger(t, seeds)
	if _, err := l.Open(bounded(t), "main"); err != nil {
		t.Fatal(err)
	}
	return l
}

// commit publishes a message in a transaction.
func commit(t *testing.T, l *kafka.Ledger, value string) {
	t.Helper()
	if err := l.Commit(bounded(t), []bus.Message{{Topic: topic, Key: []byte("k"), Value: []byte(value)}}, []byte("c")); err != nil {
		t.Fatal(err)
	}
}

// abort leaves an aborted transaction at the end of the topic.
func abort(t *testing.T, seeds []string) {
	t.Helper()
	ctx := bounded(t)
	other, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.TransactionalID("other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := other.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("aborted")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// endIs waits until the topic of one partition ends there, and returns it. A broker answers to the end of a transaction
// when it is decided; the markers follow.
func endIs(t *testing.T, client *kgo.Client, n int64) int64 {
	t.Helper()
	for ctx := bounded(t); endsOf(t, client)[topic+"/0"] != n; {
		if ctx.Err() != nil {
			t.Fatalf("the topic ends at %v, want %d", endsOf(t, client), n)
		}
	}
	return n
}

// What is read to its end is read with the marker of its last transaction: the lag is 0,
// and nothing was lost when all of it is deleted.
func TestMarkersAreRead(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*testing.T, []string){
		"committed": func(*testing.T, []string) {},
		"aborted":   abort,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seeds, client := openTopic(t, 1)
			ctx := bounded(t)
			const part = topic + "/0"
			l := opened(t, seeds)
			commit(t, l, "0")
			last(t, seeds)
			end := endIs(t, client, map[string]int64{"committed": 2, "aborted": 6}[name])
			s := newShelf(t)
			one := receive(ctx, seeds, s.reader("a"))
			s.until(ctx, func() bool { return s.marks[part].Offset == end })
			if lag, err := kafka.Lag(ctx, client, s.marks, topic); err != nil || lag != 0 {
				t.Errorf("Lag = %d, %v, want 0", lag, err)
			}
			one.stop(t)
			cut(t, client, 0, end) // as retention does
			one = receive(ctx, seeds, s.reader("b"))
			commit(t, l, "1")
			s.await(ctx, 2)
			one.stop(t)
			if s.got["aborted"] != 0 {
				t.Error("what was aborted has come")
			}
		})
	}
}

// A transaction is one delivery, its marker with it. One that comes by itself, to a reader
// that has all before it, is an empty delivery, so that it is not read again.
func TestMarkersAreDeliveredWithMessages(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	ctx := bounded(t)
	const part = topic + "/0"
	commit(t, opened(t, seeds), "0")
	s := newShelf(t)
	r := s.reader("a")
	var sizes []int
	r.hold = func(_ context.Context, d bus.Delivery) error {
		sizes = append(sizes, len(d.Messages))
		return nil
	}
	one := receive(ctx, seeds, r)
	read := func(n int64) {
		end := endIs(t, client, n)
		s.until(ctx, func() bool { return s.marks[part].Offset == end })
	}
	read(2)
	abort(t, seeds)
	read(6)
	one.stop(t)
	if want := []int{1, 0}; !slices.Equal(sizes, want) {
		t.Errorf("deliveries of %v messages, want %v", sizes, want)
	}
}
