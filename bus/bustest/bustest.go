// Package bustest is the conformance suite of brokers: what a Publisher sends
// arrives at a Source, in the order of each key, from where a checkpoint says.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// Target is a broker under test.
type Target struct {
	Publisher bus.Publisher
	// Source returns a consumer of the topics, the only member of its group.
	Source func(group string, topics ...string) bus.Source
	// Delete deletes a topic, and returns when it is gone.
	Delete func(ctx context.Context, topic string) error
}

// Run runs the suite. Open is called once for each test and must return a
// broker without topics; tests run in parallel.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for name, test := range map[string]func(*testing.T, Target){
		"P7 every key arrives in order":             inOrder,
		"what arrives is what was sent":             unchanged,
		"a source goes on from its checkpoint":      goesOn,
		"a topic that is made again has another id": madeAgain,
		"a failing sink ends the source":            failingSink,
		"publish to a topic that does not exist":    unknownTopic,
		"messages come as they were sent":           asSent,
		"messages go on from the checkpoint":        messagesGoOn,
		"P8 foreign messages are no events":         foreign,
		"P9 the newest are shown first":             newestFirst,
		"P9 the newest of nothing":                  newestOfNothing,
		"P9 a delivery is of one history":           lineagesApart,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// events returns n events of 17 streams; the first has the given position.
func events(first, n int) []event.Recorded {
	out := make([]event.Recorded, n)
	for i := range out {
		p := first + i
		out[i] = event.Recorded{
			Raw: event.Raw{
				Name: "order.noted", Schema: 1, ContentType: "application/octet-stream", Payload: fmt.Append(nil, "\x00\xff", p),
				Metadata: event.Metadata{ID: event.NewID(), Actor: "Zo\u00eb", Extra: map[string]string{"k": "v"}},
			},
			Stream:  event.Stream{Category: "order", ID: fmt.Sprint("o-", p%17)},
			Version: event.Version(p/17 + 1), Position: event.Position(p),
			RecordedTime: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		}
	}
	return out
}

func create(t *testing.T, target Target, topic string) {
	t.Helper()
	if err := target.Publisher.Create(bounded(t), bus.Contract{Topic: topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, target Target, topic string, es []event.Recorded) {
	t.Helper()
	create(t, target, topic)
	messages := make([]bus.Message, len(es))
	for i, e := range es {
		m, err := bus.MessageOf(topic, e)
		if err != nil {
			t.Fatal(err)
		}
		messages[i] = m
	}
	if err := target.Publisher.Publish(bounded(t), messages); err != nil {
		t.Fatal(err)
	}
}

// sink keeps what is delivered, and ends the consumption after want events.
type sink struct {
	t    *testing.T
	want int
	end  func()
	err  error // to return from Deliver

	mu     sync.Mutex
	marks  worker.Checkpoint
	events []event.Recorded
}

func (s *sink) Begin(context.Context, ...string) (worker.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := worker.Checkpoint{}
	for k, v := range s.marks {
		c[k] = v
	}
	return c, nil
}

func (s *sink) Deliver(_ context.Context, d worker.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	from := int64(0)
	if m := s.marks[d.Part]; m.Source == d.Source {
		from = m.Offset
	}
	if d.First != from || d.Next <= d.First || d.Of < 1 || d.Source == "" {
		s.t.Errorf("delivery of %s from %d to %d of %d parts, source %q: the one before ended at %d", d.Part, d.First, d.Next, d.Of, d.Source, from)
	}
	s.marks[d.Part] = worker.Mark{Source: d.Source, Offset: d.Next, Of: d.Of}
	s.events = append(s.events, d.Events...)
	if len(s.events) >= s.want {
		s.end()
	}
	return nil
}

// consume reads until want events have come.
func consume(t *testing.T, target Target, topic string, marks worker.Checkpoint, want int) []event.Recorded {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	s := &sink{t: t, want: want, end: cancel, marks: marks}
	if err := target.Source("group-of-"+topic, topic).Consume(ctx, s); err != nil {
		t.Fatal(err)
	}
	if len(s.events) != want {
		t.Fatalf("%d events came, want %d", len(s.events), want)
	}
	return s.events
}

func inOrder(t *testing.T, target Target) {
	const n = 1000
	publish(t, target, "shop.order", events(17, n/2))
	publish(t, target, "shop.order", events(17+n/2, n/2))
	last := map[string]event.Version{}
	for _, e := range consume(t, target, "shop.order", worker.Checkpoint{}, n) {
		if e.Version != last[e.Stream.ID]+1 && last[e.Stream.ID] != 0 {
			t.Errorf("%s comes after version %d", e, last[e.Stream.ID])
		}
		last[e.Stream.ID] = e.Version
	}
}

func unchanged(t *testing.T, target Target) {
	sent := events(1, 1)
	sent[0].Payload = []byte{}
	publish(t, target, "shop.order", sent)
	if got := consume(t, target, "shop.order", worker.Checkpoint{}, 1); !reflect.DeepEqual(got, sent) {
		t.Errorf("got  %+v\nwant %+v", got, sent)
	}
}

func goesOn(t *testing.T, target Target) {
	marks := worker.Checkpoint{}
	publish(t, target, "shop.order", events(17, 40))
	consume(t, target, "shop.order", marks, 40)
	publish(t, target, "shop.order", events(57, 40))
	seen := map[event.Position]bool{}
	for _, e := range consume(t, target, "shop.order", marks, 40) {
		seen[e.Position] = true
	}
	if len(seen) != 40 || seen[56] || !seen[57] || !seen[96] {
		t.Errorf("after the checkpoint came %v", seen)
	}
}

func madeAgain(t *testing.T, target Target) {
	ctx := bounded(t)
	marks := worker.Checkpoint{}
	publish(t, target, "shop.order", events(17, 20))
	consume(t, target, "shop.order", marks, 20)
	first, err := target.Publisher.Topics(ctx, "shop.order")
	if err != nil {
		t.Fatal(err)
	}
	same, err := target.Publisher.Topics(ctx, "shop.order")
	if err != nil || first["shop.order"].ID == "" || same["shop.order"].ID != first["shop.order"].ID {
		t.Errorf("Topics = %v, %v, want the same id %v", same, err, first)
	}
	if err := target.Delete(ctx, "shop.order"); err != nil {
		t.Fatal(err)
	}
	publish(t, target, "shop.order", events(17, 5))
	second, err := target.Publisher.Topics(ctx, "shop.order")
	if err != nil || second["shop.order"].ID == first["shop.order"].ID {
		t.Errorf("Topics = %v, %v, want another id than %v", second, err, first)
	}
	consume(t, target, "shop.order", marks, 5) // from the beginning: the mark is of another topic
}

func failingSink(t *testing.T, target Target) {
	failure := errors.New("sink failed")
	publish(t, target, "shop.order", events(17, 5))
	s := &sink{t: t, want: 1, end: func() {}, err: failure, marks: worker.Checkpoint{}}
	if err := target.Source("group", "shop.order").Consume(bounded(t), s); !errors.Is(err, failure) {
		t.Errorf("Consume = %v, want %v", err, failure)
	}
}

func unknownTopic(t *testing.T, target Target) {
	m, err := bus.MessageOf("shop.nothing", events(17, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	err = target.Publisher.Publish(bounded(t), []bus.Message{m})
	if err == nil || !strings.Contains(err.Error(), "shop.nothing") || worker.IsPermanent(err) {
		t.Errorf("Publish = %v, want an error that names the topic, and is not that of the message", err)
	}
}
