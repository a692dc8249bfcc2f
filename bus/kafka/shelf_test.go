package kafka_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/worker"
)

// shelf is what the members of a group share: the checkpoint, and whose each part is.
type shelf struct {
	t *testing.T

	mu      sync.Mutex
	marks   worker.Checkpoint
	owner   map[string]*reader
	got     map[string]int // messages by value
	changed chan struct{}  // closed when something of it changes
}

func newShelf(t *testing.T) *shelf {
	return &shelf{t: t, marks: worker.Checkpoint{}, owner: map[string]*reader{}, got: map[string]int{}, changed: make(chan struct{})}
}

// reader is one member. It refuses what a source must not do.
type reader struct {
	*shelf
	name string
	hold func(ctx context.Context, d bus.Delivery) error // before d takes effect; may be nil
	busy map[string]bool
}

func (s *shelf) reader(name string) *reader {
	return &reader{shelf: s, name: name, busy: map[string]bool{}}
}

func (r *reader) Begin(_ context.Context, parts ...string) (worker.Checkpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, part := range parts {
		r.owner[part] = r
	}
	r.signal()
	return maps.Clone(r.marks), nil
}

func (r *reader) Deliver(ctx context.Context, d bus.Delivery) error {
	if err := r.enter(ctx, d); err != nil {
		return err
	}
	var err error
	if r.hold != nil {
		err = r.hold(ctx, d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.busy, d.Part)
	if err != nil {
		return err
	}
	if r.owner[d.Part] != r {
		return worker.ErrFenced
	}
	for _, m := range d.Messages {
		r.got[string(m.Value)]++
	}
	r.marks[d.Part] = worker.Mark{Source: d.Source, Of: d.Of, Offset: d.Next}
	r.signal()
	return nil
}

func (s *shelf) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (r *reader) enter(ctx context.Context, d bus.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner[d.Part] != r {
		r.t.Errorf("%s is given %s from %d, which is another's: the delivery's context: %v", r.name, d.Part, d.First, ctx.Err())
		return worker.ErrFenced
	}
	if r.busy[d.Part] {
		r.t.Errorf("%s is given %s from %d during another delivery of it", r.name, d.Part, d.First)
	}
	if at := r.marks[d.Part]; d.First != at.Offset && at.Source == d.Source || d.Next <= d.First {
		r.t.Errorf("%s is given %s from %d to %d, and the mark is %d", r.name, d.Part, d.First, d.Next, at.Offset)
	}
	r.busy[d.Part] = true
	return nil
}

// await waits until each of the messages 0 to n has come, and wants each to have come once.
func (s *shelf) await(ctx context.Context, n int) {
	s.t.Helper()
	s.until(ctx, func() bool { return len(s.got) >= n })
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, times := range s.got {
		if times != 1 {
			s.t.Errorf("message %s came %d times", value, times)
		}
	}
}

// until waits until a condition, asked under the lock, is true.
func (s *shelf) until(ctx context.Context, is func() bool) {
	s.t.Helper()
	for {
		s.mu.Lock()
		done, have, changed := is(), len(s.got), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.t.Fatalf("%d messages came: %v", have, ctx.Err())
		}
	}
}

// put publishes the messages from to to, each with its number as value and key, and so
// over all partitions.
func put(t *testing.T, client *kgo.Client, name string, from, to int) {
	t.Helper()
	var messages []bus.Message
	for i := from; i < to; i++ {
		messages = append(messages, bus.Message{Topic: name, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	if err := kafka.NewPublisher(client).Publish(bounded(t), messages); err != nil {
		t.Fatal(err)
	}
}

// running is a call of Receive.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func receive(ctx context.Context, seeds []string, to bus.Receiver, opts ...kgo.Opt) *running {
	return receiveAs(ctx, "totals", seeds, to, opts...)
}

func receiveAs(ctx context.Context, group string, seeds []string, to bus.Receiver, opts ...kgo.Opt) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel, make(chan error, 1)}
	go func() {
		r.ended <- kafka.NewConsumer(group, []string{topic}, append(opts, kgo.SeedBrokers(seeds...))...).Receive(ctx, to)
	}()
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// cut deletes the records of a partition before an offset, as retention would.
func cut(t *testing.T, client *kgo.Client, partition int32, before int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	if _, err := kadm.NewClient(client).DeleteRecords(bounded(t), offsets); err != nil {
		t.Fatal(err)
	}
}
