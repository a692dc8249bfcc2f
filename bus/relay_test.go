package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func appendNotes(t *testing.T, db *memory.DB, stream string, n int) {
	t.Helper()
	s, err := event.ParseStream(stream)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := event.Raw{Name: s.Category + ".noted", Schema: 1, ContentType: "text/plain", Payload: fmt.Append(nil, i)}
		if _, err := db.Append(t.Context(), s, eventstore.Any(), e); err != nil {
			t.Fatal(err)
		}
	}
}

var silent = bus.WithLogger(slog.New(slog.DiscardHandler))

// positions lists the positions in a topic of one partition.
func positions(t *testing.T, b *memory.Broker, topic string) []int {
	t.Helper()
	out := []int{}
	for _, p := range b.Messages(topic) {
		for _, m := range p {
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, int(e.Position))
		}
	}
	return out
}

func wantPositions(t *testing.T, b *memory.Broker, topic string, want ...int) {
	t.Helper()
	if diff := cmp.Diff(append([]int{}, want...), positions(t, b, topic)); diff != "" {
		t.Errorf("positions in %s: %s", topic, diff)
	}
}

func drain(t *testing.T, r *bus.Relay) {
	t.Helper()
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRelayPublishesInOrderOnce(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	var applied []int
	relay := bus.NewRelay(db, broker, bus.WithDomain("shop"), bus.WithBatch(2), silent, bus.WithHooks(worker.Hooks{
		Applied: func(a worker.Applied) { applied = append(applied, len(a.Events)) },
	}))
	appendNotes(t, db, "order-1", 2)
	appendNotes(t, db, "return-1", 1)
	appendNotes(t, db, "order-2", 2)
	drain(t, relay)
	wantPositions(t, broker, "shop.order", 1, 2, 4, 5)
	wantPositions(t, broker, "shop.return", 3)
	appendNotes(t, db, "order-1", 1)
	drain(t, bus.NewRelay(db, broker, bus.WithDomain("shop"), silent)) // another process
	wantPositions(t, broker, "shop.order", 1, 2, 4, 5, 6)
	if diff := cmp.Diff([]int{2, 2, 1}, applied); diff != "" {
		t.Error(diff)
	}
}

// A topic that is there and that nobody has agreed on is another one than the marks know.
func TestRelayFillsATopicThatTheMarksDoNotKnow(t *testing.T) {
	t.Parallel()
	o, broker := newOutbox(), memory.NewBroker(1)
	var log bytes.Buffer
	notesOf(t, o, "order-1", 3)
	notesOf(t, o, "return-1", 2)
	drain(t, bus.NewRelay(o, broker, silent, bus.WithBatch(2)))
	broker.Delete("annals.order")
	next := o.back(t, 5, o.marks) // which has lost what was agreed on
	notesOf(t, next, "order-1", 1)
	drain(t, bus.NewRelay(next, broker, bus.WithBatch(2), bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))))
	wantPositions(t, broker, "annals.order", 1, 2, 3, 6)
	wantPositions(t, broker, "annals.return", 4, 5)
	if !strings.Contains(log.String(), `msg="topic is a new one, filling it from the log" relay=relay/main topic=annals.order`) {
		t.Errorf("log: %s", log.String())
	}
}

func TestRelayFillIsResumed(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 4)
	drain(t, bus.NewRelay(db, broker, silent))
	broker.Delete("annals.order")
	decide(t, db, bus.Refill)
	dying := &flaky{Broker: broker, failures: map[int]error{2: errBroker}}
	if err := bus.NewRelay(db, dying, silent, bus.WithBatch(1), bus.WithRetry(worker.Retry{Attempts: 1})).Drain(t.Context()); !errors.Is(err, errBroker) {
		t.Fatalf("Drain = %v, want %v", err, errBroker)
	}
	drain(t, bus.NewRelay(db, broker, silent))
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4)
}

func TestRelayFillsANewTopicOfAKnownCategory(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	appendNotes(t, db, "secret-1", 1)
	public := func(r event.Recorded) (bus.Message, bool, error) {
		m, err := bus.MessageOf("v1."+r.Stream.Category, r)
		return m, r.Stream.Category != "secret", err
	}
	drain(t, bus.NewRelay(db, broker, bus.WithMapper(public), silent))
	wantPositions(t, broker, "v1.secret")
	appendNotes(t, db, "order-1", 1)
	appendNotes(t, db, "secret-1", 1)
	drain(t, bus.NewRelay(db, broker, bus.WithDomain("v2"), silent))
	wantPositions(t, broker, "v1.order", 1, 2)
	wantPositions(t, broker, "v2.order", 1, 2, 4)
	wantPositions(t, broker, "v2.secret", 3, 5)
}

// A projection and a relay of one name do not share a checkpoint.
func TestNamesHaveKinds(t *testing.T) {
	t.Parallel()
	if got := bus.NewRelay(memory.New(), memory.NewBroker(1), bus.WithName("orders")).Name(); got != "relay/orders" {
		t.Errorf("Name = %s, want relay/orders", got)
	}
}

// Filling a topic from the beginning behind later events of another category
// would make consumers take the older ones for repeats.
func TestRelayDoesNotMixHistories(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "payment-1", 2)
	appendNotes(t, db, "order-1", 2)
	to := func(topics map[string]string) bus.Option {
		return bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
			m, err := bus.MessageOf(topics[r.Stream.Category], r)
			return m, true, err
		})
	}
	drain(t, bus.NewRelay(db, broker, silent, to(map[string]string{"order": "all", "payment": "payment"})))
	appendNotes(t, db, "payment-1", 1)
	err := bus.NewRelay(db, broker, silent, to(map[string]string{"order": "all", "payment": "all"})).Drain(t.Context())
	if want := "publish category payment to topic all: topic has later events of another category"; !errors.Is(err, bus.ErrMixedTopic) || err.Error() != want {
		t.Errorf("Drain = %v, want %s", err, want)
	}
	wantPositions(t, broker, "all", 3, 4)
	drain(t, bus.NewRelay(db, broker, silent, to(map[string]string{"order": "all", "payment": "payment"})))
	wantPositions(t, broker, "payment", 1, 2, 5)
}

var errBroker = errors.New("broker is away")

// flaky fails chosen calls of Publish after delivering a part of the messages.
type flaky struct {
	*memory.Broker
	calls    int
	failures map[int]error
}

func (f *flaky) Publish(ctx context.Context, ms []bus.Message) error {
	f.calls++
	if err := f.failures[f.calls]; err != nil {
		_ = f.Broker.Publish(ctx, ms[:len(ms)/2])
		return err
	}
	return f.Broker.Publish(ctx, ms)
}

func TestRelayRepeatsWhatWasNotAcknowledged(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 4)
	relay := bus.NewRelay(db, &flaky{Broker: broker, failures: map[int]error{1: errBroker}}, silent, bus.WithRetry(worker.Retry{Base: 1}))
	drain(t, relay)
	wantPositions(t, broker, "annals.order", 1, 2, 1, 2, 3, 4)
}

func TestDrainGivesUp(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 4)
	relay := bus.NewRelay(db, &flaky{Broker: broker, failures: map[int]error{1: errBroker, 2: errBroker}}, silent, bus.WithRetry(worker.Retry{Attempts: 2, Base: 1}))
	err := relay.Drain(t.Context())
	if want := "relay/main: 2 attempts: publish positions 1 to 4: broker is away"; !errors.Is(err, errBroker) || err.Error() != want {
		t.Errorf("Drain = %v, want %s", err, want)
	}
	c, err := db.Checkpoint(t.Context(), relay.Name())
	if err != nil || len(c) != 1 || c[""].Position != 0 {
		t.Errorf("Checkpoint = %v, %v, want none that has moved: nothing was acknowledged", c, err)
	}
}

func TestTwoRelaysLoseNothing(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(3)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- bus.NewRelay(db, broker, silent, bus.WithBatch(3)).Run(ctx) }()
	}
	for i := range 60 {
		appendNotes(t, db, fmt.Sprintf("order-%d", i%7), 1)
	}
	drain(t, bus.NewRelay(db, broker, silent))
	cancel()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	seen := map[event.Position]bool{}
	for _, p := range broker.Messages("annals.order") {
		last := map[string]event.Version{}
		for _, m := range p {
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			if at := last[e.Stream.ID]; e.Version > at+1 {
				t.Errorf("P7: %s is delivered first after version %d", e, at)
			}
			last[e.Stream.ID] = max(last[e.Stream.ID], e.Version)
			seen[e.Position] = true
		}
	}
	if len(seen) != 60 {
		t.Errorf("%d events published, want 60", len(seen))
	}
}
