package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/worker"
)

// error waits for Receive, and returns its error.
func (r *running) error(ctx context.Context, t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-ctx.Done():
		t.Fatal("Receive goes on")
		return nil
	}
}

// wantLost wants the error to say what is lost, and to end a reader.
func wantLost(t *testing.T, err error, want bus.LostError) {
	t.Helper()
	var lost *bus.LostError
	if !errors.As(err, &lost) || !errors.Is(err, bus.ErrLost) || !worker.IsPermanent(err) {
		t.Fatalf("Receive = %v, want a permanent *bus.LostError: P8, never a jump", err)
	}
	if *lost != want {
		t.Errorf("%+v is lost, want %+v", *lost, want)
	}
}

func idOf(t *testing.T, client *kgo.Client) string {
	t.Helper()
	topics, err := kafka.NewPublisher(client).Topics(bounded(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return topics[topic].ID
}

// What is lost before a part begins: of one that was read, of one that was not, and of a
// topic that was made again, whose offsets begin anew.
func TestLostBeforeItBegins(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	put(t, client, topic, 0, 10)
	cut(t, client, 0, 6)
	const part = topic + "/0"
	for name, c := range map[string]struct {
		mark worker.Mark
		lost *bus.LostError
	}{
		"read up to where it begins": {mark: worker.Mark{Source: idOf(t, client), Offset: 6, Of: 1}},
		"read all":                   {mark: worker.Mark{Source: idOf(t, client), Offset: 10, Of: 1}},
		"read less":                  {worker.Mark{Source: idOf(t, client), Offset: 4, Of: 1}, &bus.LostError{Part: part, From: 4, To: 6}},
		"never read":                 {worker.Mark{}, &bus.LostError{Part: part, From: 0, To: 6}},
		"of another topic":           {worker.Mark{Source: "another", Offset: 8, Of: 1}, &bus.LostError{Part: part, From: 0, To: 6}},
		"cut off behind":             {worker.Mark{Source: idOf(t, client), Offset: 13, Of: 1}, &bus.LostError{Part: part, From: 10, To: 13, Truncated: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			s := newShelf(t)
			s.marks[part] = c.mark
			one := receiveAs(ctx, name, seeds, s.reader("a"))
			if c.lost != nil {
				wantLost(t, one.error(ctx, t), *c.lost)
				return
			}
			s.await(ctx, 10-int(c.mark.Offset))
			one.stop(t)
		})
	}
}

// Retention goes past a member that lags behind: it is given what was fetched before, and
// then it stops, and nothing is jumped over.
func TestLostWhileItIsRead(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	ctx := bounded(t)
	const n = 200
	for i := range n { // a batch each, so that few are fetched at once
		put(t, client, topic, i, i+1)
	}
	s := newShelf(t)
	r := s.reader("a")
	waiting, release := make(chan struct{}, n), make(chan struct{})
	r.hold = func(ctx context.Context, d bus.Delivery) error {
		waiting <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	one := receive(ctx, seeds, r, kafka.WithPrefetch(2), kgo.FetchMaxPartitionBytes(1))
	<-waiting
	cut(t, client, 0, n-5)
	close(release)
	err := one.error(ctx, t)
	at := s.marks[topic+"/0"].Offset
	wantLost(t, err, bus.LostError{Part: topic + "/0", From: at, To: n - 5})
	if at == 0 || at > 100 || len(s.got) != int(at) {
		t.Errorf("%d messages came, and the mark is %d, want those that were fetched before", len(s.got), at)
	}
}

// Skipping is done on purpose, and by the range.
func TestLostAndSkipped(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 1)
	ctx := bounded(t)
	put(t, client, topic, 0, 10)
	cut(t, client, 0, 6)
	s := newShelf(t)
	var asked []string
	one := receive(ctx, seeds, s.reader("a"), kafka.WithSkip(func(e *bus.LostError) bool {
		asked = append(asked, e.Error())
		return e.To == 6
	}))
	s.await(ctx, 4)
	one.stop(t)
	if want := []string{(&bus.LostError{Part: topic + "/0", To: 6}).Error()}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	s.marks[topic+"/0"] = worker.Mark{}
	one = receive(ctx, seeds, s.reader("a"), kafka.WithSkip(func(*bus.LostError) bool { return false }))
	wantLost(t, one.error(ctx, t), bus.LostError{Part: topic + "/0", To: 6})
	s.marks[topic+"/0"] = worker.Mark{Source: idOf(t, client), Of: 1, Offset: 12}
	one = receive(ctx, seeds, s.reader("a"), kafka.WithSkip(func(*bus.LostError) bool { return true }))
	wantLost(t, one.error(ctx, t), bus.LostError{Part: topic + "/0", From: 10, To: 12, Truncated: true})
}

// A topic that is made again while it is read is read from its beginning by whoever
// begins anew, and not before.
func TestTopicMadeAgainWhileItIsRead(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 2)
	ctx := bounded(t)
	put(t, client, topic, 0, 10)
	s := newShelf(t)
	soon := kgo.MetadataMaxAge(300 * time.Millisecond)
	one := receive(ctx, seeds, s.reader("a"), soon)
	s.await(ctx, 10)
	if _, err := kadm.NewClient(client).DeleteTopic(ctx, topic); err != nil {
		t.Fatal(err)
	}
	err := one.error(ctx, t)
	if !errors.Is(err, kafka.ErrMadeAgain) || worker.IsPermanent(err) {
		t.Errorf("Receive of a topic that was deleted = %v, want ErrMadeAgain, which passes", err)
	}
	one = receive(ctx, seeds, s.reader("b"), soon) // waits for it
	again, err := kafka.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	create(t, kafka.NewPublisher(again), bus.Contract{Topic: topic, Partitions: 2})
	put(t, again, topic, 10, 20)
	s.await(ctx, 20)
	one.stop(t)
}

// A topic grows, and only some member is given the new partition: none goes on.
func TestGrownTopicStopsAllMembers(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 2)
	ctx := bounded(t)
	s := newShelf(t)
	soon := kgo.MetadataMaxAge(300 * time.Millisecond)
	var all []*running
	for i := range 2 {
		all = append(all, receive(ctx, seeds, s.reader(fmt.Sprint(i)), soon))
	}
	put(t, client, topic, 0, 20)
	s.await(ctx, 20)
	s.until(ctx, func() bool { return len(s.owner) == 2 && s.owner[topic+"/0"] != s.owner[topic+"/1"] })
	if _, err := kadm.NewClient(client).CreatePartitions(ctx, 1, topic); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		err := r.error(ctx, t)
		var parts *worker.PartsError
		if !errors.As(err, &parts) || parts.Was != 2 || parts.Is != 3 || !worker.IsPermanent(err) {
			t.Errorf("Receive = %v, want a *PartsError from 2 to 3", err)
		}
	}
}
