package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// outbox is a store that can be set back, with its checkpoints.
type outbox struct {
	*memory.DB
	incarnation event.ID
	marks       worker.Checkpoint
	saves       int           // that moved the log's mark
	fail        map[int]error // those that are lost, by their number
}

func newOutbox() *outbox {
	return &outbox{DB: memory.New(), incarnation: event.NewID(), marks: worker.Checkpoint{}}
}

func (o *outbox) Lineage(ctx context.Context) (eventstore.Lineage, error) {
	l, err := o.DB.Lineage(ctx)
	if err == nil {
		l[0].Incarnation = o.incarnation
	}
	return l, err
}

func (o *outbox) Checkpoint(context.Context, string) (worker.Checkpoint, error) {
	return maps.Clone(o.marks), nil
}

func (o *outbox) Save(_ context.Context, name string, _ worker.Term, w worker.Write) error {
	if w.Marks[""].Position > o.marks[""].Position {
		if o.saves++; o.fail[o.saves] != nil {
			return o.fail[o.saves]
		}
	}
	for part, m := range w.Marks {
		if o.marks[part].Revision != m.Revision {
			return fmt.Errorf("save checkpoint %s: %w", name, worker.ErrFenced)
		}
	}
	for part, m := range w.Marks {
		m.Revision++
		o.marks[part] = m
	}
	return nil
}

// back is the store as it was with n events and those marks, on another server.
func (o *outbox) back(t *testing.T, n int, marks worker.Checkpoint) *outbox {
	t.Helper()
	next := &outbox{DB: memory.New(), incarnation: o.incarnation, marks: maps.Clone(marks)}
	page, err := o.ReadLog(t.Context(), eventstore.LogQuery{})
	if err != nil || len(page.Events) < n {
		t.Fatalf("%d events, %v, want %d", len(page.Events), err, n)
	}
	for _, e := range page.Events[:n] {
		if _, err := next.Append(t.Context(), e.Stream, eventstore.Any(), e.Raw); err != nil {
			t.Fatal(err)
		}
	}
	return next
}

func notesOf(t *testing.T, o *outbox, stream string, n int) {
	t.Helper()
	appendNotes(t, o.DB, stream, n)
}

func wantDiverged(t *testing.T, err error, from, to event.Position) {
	t.Helper()
	var d *worker.DivergedError
	if !errors.As(err, &d) || d.From != from || d.To != to || d.Name != "relay/main" {
		t.Errorf("got %v, want a DivergedError of positions %d to %d", err, from, to)
	}
}

func TestRelayGoesOnWhenNothingIsLost(t *testing.T) {
	t.Parallel()
	for name, published := range map[string]int{"what it has marked": 0, "what it has not marked": 2, "more than a batch that it has not marked": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, broker := newOutbox(), memory.NewBroker(2)
			notesOf(t, o, "order-1", 5)
			drain(t, bus.NewRelay(o, broker, silent, bus.WithBatch(3)))
			marks := maps.Clone(o.marks)
			notesOf(t, o, "order-2", published)
			drain(t, bus.NewRelay(o, broker, silent, bus.WithBatch(3)))
			next := o.back(t, 5+published, marks)
			notesOf(t, next, "order-3", 4)
			relay := bus.NewRelay(next, broker, silent, bus.WithBatch(3))
			drain(t, relay)
			got := slices.Compact(slices.Sorted(slices.Values(positions(t, broker, "annals.order"))))
			want := []int{}
			for p := range 9 + published {
				want = append(want, p+1)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("positions: %s", diff)
			}
			if _, err := relay.Rewind(t.Context(), false); !errors.Is(err, worker.ErrNotDiverged) || err.Error() != "rewind relay/main: nothing has diverged" {
				t.Errorf("Rewind = %v, want ErrNotDiverged", err)
			}
		})
	}
}

func TestRelayStopsWhenWhatItPublishedIsLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, c := range map[string]struct{ kept, more int }{
		"the log is shorter":                   {5, 0},
		"others have come":                     {5, 1},
		"as many others have come":             {5, 4},
		"more others have come":                {5, 9},
		"some of what was not marked was kept": {7, 9},
		"all but the last":                     {8, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, broker := newOutbox(), memory.NewBroker(2)
			notesOf(t, o, "order-1", 5)
			drain(t, bus.NewRelay(o, broker, silent))
			marks := maps.Clone(o.marks)
			notesOf(t, o, "order-2", 3)
			notesOf(t, o, "order-1", 1)
			drain(t, bus.NewRelay(o, broker, silent))
			next := o.back(t, c.kept, marks)
			notesOf(t, next, "order-3", c.more)
			relay := bus.NewRelay(next, broker, silent, bus.WithRetry(worker.Retry{Attempts: 1}))
			before := positions(t, broker, "annals.order")
			wantDiverged(t, relay.Run(ctx), event.Position(c.kept+1), 9)
			wantDiverged(t, relay.Drain(ctx), event.Position(c.kept+1), 9)
			if diff := cmp.Diff(before, positions(t, broker, "annals.order")); diff != "" {
				t.Errorf("it has published: %s", diff)
			}

			to, err := relay.Rewind(ctx, false)
			if err != nil || to != event.Position(c.kept) {
				t.Fatalf("Rewind = %d, %v, want %d", to, err, c.kept)
			}
			notesOf(t, next, "order-1", 1)
			drain(t, relay)
			text, err := relay.Lineage(ctx)
			l, perr := eventstore.ParseLineage(text)
			if err != nil || perr != nil || len(l) != 2 || l[0].Incarnation != o.incarnation || l[1].Since != event.Position(c.kept) {
				t.Errorf("Lineage = %q, %v, want one more incarnation, from %d on", text, err, c.kept)
			}
			var got []int
			for _, p := range broker.Messages("annals.order") {
				for _, m := range p {
					if e, _ := bus.EventOf(m); bus.LineageOf(m) == text {
						got = append(got, int(e.Position))
					}
				}
			}
			want := []int{}
			for p := 6; p <= c.kept+c.more+1; p++ {
				want = append(want, p)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("published in the new incarnation: %s", diff)
			}
			// It has been dealt with: the next server does not bring it up again.
			again := next.back(t, c.kept+c.more+1, next.marks)
			drain(t, bus.NewRelay(again, broker, silent))
		})
	}
}

// A relay that was killed between publishing and saving, and one that was slow,
// leave messages before such as the mark stands for.
func TestRelayLooksBehindRepeats(t *testing.T) {
	t.Parallel()
	o, broker := newOutbox(), memory.NewBroker(1)
	notesOf(t, o, "order-1", 10)
	killed := errors.New("killed")
	o.fail = map[int]error{1: worker.Halt(killed)}
	if err := bus.NewRelay(o, broker, silent, bus.WithBatch(10)).Drain(t.Context()); !errors.Is(err, killed) {
		t.Fatalf("Drain = %v, want %v", err, killed)
	}
	o.saves, o.fail = 0, map[int]error{3: worker.Halt(killed)}
	if err := bus.NewRelay(o, broker, silent, bus.WithBatch(2)).Drain(t.Context()); !errors.Is(err, killed) {
		t.Fatalf("Drain = %v, want %v", err, killed)
	}
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6)
	next := o.back(t, 7, o.marks) // the mark is at 4
	notesOf(t, next, "order-1", 2)
	wantDiverged(t, bus.NewRelay(next, broker, silent, bus.WithBatch(10)).Drain(t.Context()), 8, 10)
}

// What is lost was published to a topic that the mark does not know. Nothing tells
// before the relay comes to an event for it, however far it is then.
func TestRelayStopsAtATopicThatItMeets(t *testing.T) {
	t.Parallel()
	for _, first := range []int{0, 2} {
		for _, between := range []int{0, 2, 9} {
			o, broker := newOutbox(), memory.NewBroker(1)
			notesOf(t, o, "order-1", first)
			drain(t, bus.NewRelay(o, broker, silent))
			marks := maps.Clone(o.marks)
			notesOf(t, o, "return-1", 3)
			drain(t, bus.NewRelay(o, broker, silent))
			next := o.back(t, first, marks)
			notesOf(t, next, "order-2", between)
			drain(t, bus.NewRelay(next, broker, silent))
			notesOf(t, next, "return-2", 1)
			relay := bus.NewRelay(next, broker, silent)
			wantDiverged(t, relay.Drain(t.Context()), event.Position(first+1), event.Position(first+3))
			if to, err := relay.Rewind(t.Context(), false); err != nil || to != event.Position(first) {
				t.Fatalf("Rewind = %d, %v", to, err)
			}
			drain(t, relay)
			wantPositions(t, broker, "annals.return", first+1, first+2, first+3, first+between+1)
		}
	}
}

// Messages that do not say which event they carry cannot be compared. The relay
// looks at a bounded number of them, and goes on.
func TestRelayPassesOverForeignMessages(t *testing.T) {
	t.Parallel()
	plain := bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		return bus.Message{Topic: "plain", Key: []byte(r.Stream.ID)}, true, nil
	})
	o, broker := newOutbox(), &counting{Broker: memory.NewBroker(2)}
	notesOf(t, o, "order-1", 60)
	drain(t, bus.NewRelay(o, broker, silent, plain, bus.WithBatch(10)))
	next := o.back(t, 60, o.marks)
	drain(t, bus.NewRelay(next, broker, silent, plain, bus.WithBatch(10)))
	if broker.visited == 0 || broker.visited > 20 {
		t.Errorf("it has looked at %d of 60 messages, want at most twice a batch", broker.visited)
	}
	for i, p := range broker.Messages("plain") {
		for _, m := range p {
			if l := bus.LineageOf(m); l != o.incarnation.String()+"@0" {
				t.Errorf("partition %d: lineage %q: every message has one", i, l)
			}
		}
	}
}

type counting struct {
	*memory.Broker
	visited int
}

func (c *counting) Newest(ctx context.Context, topic string, visit func(int32, bus.Message) bool) error {
	return c.Broker.Newest(ctx, topic, func(p int32, m bus.Message) bool {
		c.visited++
		return visit(p, m)
	})
}

// Two relays of different topics: the one that has published nothing which is lost
// is not touched by the other's rewind, and neither are its consumers.
func TestRewindOfOneRelay(t *testing.T) {
	t.Parallel()
	o, broker := newOutbox(), memory.NewBroker(1)
	notesOf(t, o, "order-1", 4)
	first := bus.NewRelay(o, broker, silent)
	drain(t, first)
	early := maps.Clone(o.marks)
	notesOf(t, o, "order-1", 2)
	drain(t, first)
	next := o.back(t, 4, early)
	notesOf(t, next, "order-2", 5)
	relay := bus.NewRelay(next, broker, silent)
	if _, err := relay.Rewind(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	other := &outbox{DB: next.DB, incarnation: next.incarnation, marks: worker.Checkpoint{}}
	drain(t, bus.NewRelay(other, broker, silent, bus.WithDomain("other")))
	for _, m := range broker.Messages("other.order")[0] {
		if l := bus.LineageOf(m); l != o.incarnation.String()+"@0" {
			t.Errorf("lineage %q, want that of the store", l)
		}
	}
}

// A mark that is kept elsewhere can be ahead of its log itself.
func TestRelayWhoseMarkIsKeptElsewhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o, broker, elsewhere := newOutbox(), memory.NewBroker(1), memory.New()
	join := func(o *outbox) *bus.Relay {
		return bus.NewRelay(bus.Join[*memory.Tx](o, elsewhere), broker, silent, bus.WithBatch(2))
	}
	notesOf(t, o, "order-1", 9)
	drain(t, join(o))
	next := o.back(t, 5, nil)
	notesOf(t, next, "order-2", 6)
	relay := join(next)
	wantDiverged(t, relay.Drain(ctx), 3, 9) // it has a waypoint at 2, and one at 6
	to, err := relay.Rewind(ctx, false)
	if err != nil || to != 2 {
		t.Fatalf("Rewind = %d, %v, want the newest waypoint that is common", to, err)
	}
	drain(t, relay)
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4, 5, 6, 7, 8, 9, 10, 11)
}
