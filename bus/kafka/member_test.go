package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

func openTopic(t *testing.T, partitions int) ([]string, *kgo.Client) {
	t.Helper()
	seeds, client := open(t)
	create(t, kafka.NewPublisher(client), bus.Contract{Topic: topic, Partitions: partitions})
	return seeds, client
}

// endsOf returns where the parts end.
func endsOf(t *testing.T, client *kgo.Client) map[string]int64 {
	t.Helper()
	ends, err := kadm.NewClient(client).ListEndOffsets(bounded(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { out[fmt.Sprintf("%s/%d", o.Topic, o.Partition)] = o.Offset })
	return out
}

// A part that waits, for an outage to pass, holds up no other, and the member can leave.
func TestPartThatWaitsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 4)
	ctx := bounded(t)
	s := newShelf(t)
	a := s.reader("a")
	const waits = topic + "/0"
	a.hold = func(ctx context.Context, d bus.Delivery) error {
		if d.Part != waits {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	one := receive(ctx, seeds, a, kafka.WithConcurrency(2), kafka.WithPrefetch(10))
	for to := 100; to <= 400; to += 100 {
		put(t, client, topic, to-100, to)
		ends := endsOf(t, client)
		s.until(ctx, func() bool {
			for part, end := range ends {
				if part != waits && s.marks[part].Offset < end {
					return false
				}
			}
			return true
		})
	}
	one.stop(t)
	two := receive(ctx, seeds, s.reader("b"))
	s.await(ctx, 400)
	two.stop(t)
}

// While all parts of a member wait, another joins and is given some of them: their
// deliveries are told to end, and nothing that was fetched behind them is delivered.
func TestPartsThatMoveAreLetGo(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 4)
	ctx := bounded(t)
	put(t, client, topic, 0, 400)
	s := newShelf(t)
	a := s.reader("a")
	var mu sync.Mutex
	ended := map[string]bool{}
	waiting := make(chan string, 100)
	a.hold = func(ctx context.Context, d bus.Delivery) error {
		mu.Lock()
		again := ended[d.Part]
		mu.Unlock()
		if again {
			t.Errorf("%s is delivered from %d after it was taken away", d.Part, d.First)
		}
		waiting <- d.Part
		<-ctx.Done()
		mu.Lock()
		defer mu.Unlock()
		ended[d.Part] = true
		return nil // as a batch in flight that takes effect all the same
	}
	one := receive(ctx, seeds, a, kafka.WithPrefetch(20))
	for range 4 {
		select {
		case <-waiting:
		case <-ctx.Done():
			t.Fatal("the parts are not delivered all at once")
		}
	}
	two := receive(ctx, seeds, s.reader("b"))
	ends := endsOf(t, client)
	s.until(ctx, func() bool {
		n := 0
		for part, end := range ends {
			if s.marks[part].Offset == end {
				n++
			}
		}
		return n == 2
	})
	mu.Lock()
	if len(ended) != 2 {
		t.Errorf("the deliveries of %v were told to end, want the two that have moved", ended)
	}
	mu.Unlock()
	one.stop(t)
	s.await(ctx, 400)
	two.stop(t)
}

// A batch in flight that does not end holds up the group for a while only.
func TestDeliveryThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	ctx := bounded(t)
	put(t, client, topic, 0, 10)
	s := newShelf(t)
	a := s.reader("a")
	waiting, release := make(chan struct{}), make(chan struct{})
	a.hold = func(context.Context, bus.Delivery) error {
		close(waiting)
		<-release
		return nil
	}
	one := receive(ctx, seeds, a, kgo.RebalanceTimeout(2*time.Second))
	<-waiting
	one.cancel()
	two := receive(ctx, seeds, s.reader("b"))
	s.await(ctx, 10)
	select {
	case err := <-one.ended:
		t.Errorf("Receive = %v before its last delivery has returned", err)
	default:
	}
	close(release)
	one.stop(t) // the delivery is fenced, and that is nobody's error any more
	two.stop(t)
}

// A work queue: the members of a group share the parts. Pub/sub: each group has all.
func TestGroups(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 6)
	ctx := bounded(t)
	const n = 600
	shelves := []*shelf{newShelf(t), newShelf(t)}
	var all []*running
	for i, s := range shelves {
		for j := range 3 {
			r := receiveAs(ctx, fmt.Sprint("group-", i), seeds, s.reader(fmt.Sprint(j)))
			all = append(all, r)
		}
	}
	for to := 100; to <= n; to += 100 {
		put(t, client, topic, to-100, to)
	}
	for _, s := range shelves {
		s.await(ctx, n)
		s.until(ctx, func() bool { // as soon as they have shared them out
			members := map[*reader]int{}
			for _, r := range s.owner {
				members[r]++
			}
			return len(members) == 3
		})
	}
	for _, r := range all {
		r.stop(t)
	}
}

// Members come and go while messages flow. The checks are those of the readers.
func TestChurn(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 6)
	ctx := bounded(t)
	s := newShelf(t)
	var members []*running
	const rounds, each = 12, 150
	for i := range rounds {
		if i%4 == 3 || len(members) == 4 {
			members[0].stop(t)
			members = members[1:]
		}
		r := s.reader(fmt.Sprint("member ", i))
		r.hold = func(ctx context.Context, d bus.Delivery) error {
			runtime.Gosched()
			return ctx.Err()
		}
		members = append(members, receive(ctx, seeds, r, kafka.WithPrefetch(1+7*(i%3)), kafka.WithConcurrency(1+i%3)))
		put(t, client, topic, i*each, (i+1)*each)
		s.until(ctx, func() bool { return len(s.got) > i*each }) // someone has some of it
	}
	s.await(ctx, rounds*each)
	if lag, err := kafka.Lag(ctx, client, s.marks, topic); err != nil || lag != 0 {
		t.Errorf("Lag = %d, %v, want 0", lag, err)
	}
	for _, m := range members {
		m.stop(t)
	}
}

// No more deliveries at once than allowed, and none larger than what may wait.
func TestLimits(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 6)
	ctx := bounded(t)
	const n, concurrency, prefetch = 600, 2, 7
	put(t, client, topic, 0, n)
	s := newShelf(t)
	r := s.reader("a")
	var now, most atomic.Int64
	r.hold = func(_ context.Context, d bus.Delivery) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		runtime.Gosched()
		if len(d.Messages) > prefetch {
			t.Errorf("a delivery of %d messages, want at most %d", len(d.Messages), prefetch)
		}
		return nil
	}
	one := receive(ctx, seeds, r, kafka.WithConcurrency(concurrency), kafka.WithPrefetch(prefetch))
	s.await(ctx, n)
	one.stop(t)
	if most.Load() > concurrency {
		t.Errorf("%d deliveries at once, want at most %d", most.Load(), concurrency)
	}
}

// The error of a receiver ends Receive; so does a panic, or the end of its goroutine.
func TestReceiverThatFails(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 2)
	put(t, client, topic, 0, 10)
	failure := errors.New("no such table")
	for want, hold := range map[string]func(context.Context, bus.Delivery) error{
		"consume as totals: no such table":             func(context.Context, bus.Delivery) error { return failure },
		"consume as totals: panic: no such table":      func(context.Context, bus.Delivery) error { panic(failure) },
		"consume as totals: panic: runtime.Goexit was": func(context.Context, bus.Delivery) error { runtime.Goexit(); return nil },
	} {
		r := newShelf(t).reader("a")
		r.hold = hold
		err := <-receive(bounded(t), seeds, r).ended
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Receive = %v, want %s", err, want)
		}
	}
}

// The protocols of groups: a member of the classic one is followed by one of KIP-848.
func TestProtocolsChangeOver(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 3)
	ctx := bounded(t)
	put(t, client, topic, 0, 30)
	s := newShelf(t)
	old := receive(ctx, seeds, s.reader("classic"), kgo.Balancers(kgo.CooperativeStickyBalancer()))
	s.await(ctx, 30)
	fresh := receive(ctx, seeds, s.reader("server side"))
	put(t, client, topic, 30, 60)
	s.await(ctx, 60)
	old.stop(t)
	put(t, client, topic, 60, 90)
	s.await(ctx, 90)
	fresh.stop(t)
}

// What the user has chosen: a balancer that takes all parts away in each rebalance.
func TestEagerMembers(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 3)
	ctx := bounded(t)
	s := newShelf(t)
	opts := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(50 * time.Millisecond)}
	one := receive(ctx, seeds, s.reader("one"), opts...)
	put(t, client, topic, 0, 30)
	s.await(ctx, 30)
	two := receive(ctx, seeds, s.reader("two"), opts...)
	s.until(ctx, func() bool { // each has some
		members := map[*reader]bool{}
		for _, r := range s.owner {
			members[r] = true
		}
		return len(members) == 2
	})
	put(t, client, topic, 30, 60)
	s.await(ctx, 60)
	one.stop(t)
	put(t, client, topic, 60, 90)
	s.await(ctx, 90)
	two.stop(t)
}

// A member that has a name of its own keeps its parts while it is away.
func TestStaticMember(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 3)
	ctx := bounded(t)
	s := newShelf(t)
	for i := range 3 {
		one := receive(ctx, seeds, s.reader(fmt.Sprint(i)), kgo.InstanceID("one"))
		put(t, client, topic, 30*i, 30*(i+1))
		s.await(ctx, 30*(i+1))
		one.stop(t)
	}
}

// Garbage of other producers is passed over, if so told, and never taken for an event.
func TestForeignRecordsAreIgnored(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	put(t, client, topic, 0, 5)
	publish(t, client, recorded(1))
	put(t, client, topic, 5, 10)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var got []event.Position
	err := kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...), kafka.WithForeign(bus.Ignore)).Consume(ctx, &sink{deliver: func(d worker.Delivery) error {
		for _, e := range d.Events {
			got = append(got, e.Position)
		}
		if d.Next == 11 {
			cancel()
		}
		return nil
	}})
	if err != nil || len(got) != 1 || got[0] != 1 {
		t.Errorf("Consume = %v, and delivered %v, want position 1", err, got)
	}
}
