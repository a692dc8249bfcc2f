package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func replay(t *testing.T, r *bus.Relay, q bus.Replay) bus.Replayed {
	t.Helper()
	done, err := r.Replay(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// checkpoint returns that of the relay.
func checkpoint(t *testing.T, db bus.Outbox) worker.Checkpoint {
	t.Helper()
	c, err := db.Checkpoint(t.Context(), "relay/main")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A replay repeats what the relay has published, marked, and moves no checkpoint.
func TestReplay(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	relay := bus.NewRelay(db, broker, silent, bus.WithBatch(2))
	appendNotes(t, db, "order-1", 3)
	appendNotes(t, db, "return-1", 2)
	drain(t, relay)
	appendNotes(t, db, "order-1", 1) // that the relay has not come to
	before := checkpoint(t, db)
	var told []event.Position
	done := replay(t, relay, bus.Replay{ID: "after the incident", Progress: func(d bus.Replayed) { told = append(told, d.After) }})
	if diff := cmp.Diff(bus.Replayed{ID: "after the incident", After: 5, To: 5, Events: 5, Parked: map[event.Stream]event.Position{}}, done); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]event.Position{2, 4, 5}, told); diff != "" {
		t.Errorf("progress: %s", diff)
	}
	if diff := cmp.Diff(before, checkpoint(t, db)); diff != "" {
		t.Errorf("the checkpoint has moved: %s", diff)
	}
	wantPositions(t, broker, "annals.order", 1, 2, 3, 1, 2, 3)
	wantPositions(t, broker, "annals.return", 4, 5, 4, 5)
	all := broker.Messages("annals.order")[0]
	for i, m := range all[3:] {
		first := all[i]
		if bus.ReplayOf(m) != "after the incident" || bus.ReplayOf(first) != "" {
			t.Errorf("message %d is marked %q, and the first delivery %q", i, bus.ReplayOf(m), bus.ReplayOf(first))
		}
		if diff := cmp.Diff(append(first.Headers, bus.Header{Key: bus.HeaderReplay, Value: []byte("after the incident")}), m.Headers); diff != "" || string(first.Key) != string(m.Key) || string(first.Value) != string(m.Value) {
			t.Errorf("message %d is another one: %s", i, diff)
		}
	}
	drain(t, relay)
	wantPositions(t, broker, "annals.order", 1, 2, 3, 1, 2, 3, 6)
	if done := replay(t, bus.NewRelay(db, broker, silent, bus.WithName("idle")), bus.Replay{}); done.Events != 0 || done.ID == "" {
		t.Errorf("%+v of a relay that has published nothing", done)
	}
}

func TestReplayOfAPart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		began := time.Now()
		for range 3 { // positions 1 to 9, at each of three seconds
			appendNotes(t, db, "order-1", 1)
			appendNotes(t, db, "order-2", 1)
			appendNotes(t, db, "return-1", 1)
			after(time.Second)
		}
		drain(t, bus.NewRelay(db, memory.NewBroker(1), silent, bus.WithDomain("shop")))
		for name, c := range map[string]struct {
			q    bus.Replay
			want []int
		}{
			"all":        {bus.Replay{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
			"from, to":   {bus.Replay{After: 2, To: 5}, []int{3, 4, 5}},
			"nothing":    {bus.Replay{After: 9}, []int{}},
			"since":      {bus.Replay{Since: began.Add(time.Second), To: 8}, []int{4, 5, 6, 7, 8}},
			"category":   {bus.Replay{Categories: []string{"return"}}, []int{3, 6, 9}},
			"name":       {bus.Replay{Names: []string{"order.noted"}, After: 4}, []int{5, 7, 8}},
			"stream":     {bus.Replay{Streams: []event.Stream{{Category: "order", ID: "2"}}}, []int{2, 5, 8}},
			"two":        {bus.Replay{Streams: []event.Stream{{Category: "order", ID: "2"}, {Category: "return", ID: "1"}}, To: 5}, []int{2, 3, 5}},
			"none of it": {bus.Replay{Categories: []string{"return"}, Streams: []event.Stream{{Category: "order", ID: "2"}}}, []int{}},
		} {
			broker := memory.NewBroker(1)
			c.q.Topic = "audit.copy"
			relay := bus.NewRelay(db, broker, silent, bus.WithDomain("shop"), bus.WithBatch(2))
			done := replay(t, relay, c.q)
			wantPositions(t, broker, "audit.copy", c.want...)
			if to := max(9*(1-min(1, c.q.To)), c.q.To); done.Events != len(c.want) || done.To != to || done.After != to {
				t.Errorf("%s: %+v, want %d events up to position %d", name, done, len(c.want), to)
			}
		}
	})
}

// pinned is a publisher that keeps what it is told of partitions.
type pinned struct {
	*memory.Broker
	pins map[string]int
}

func (p *pinned) Pin(topic string, partitions int) { p.pins[topic] = partitions }

// Who replays in another process than the relay has keys go where the relay has them.
func TestReplayKeepsKeysInTheirPartitions(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(3)
	appendNotes(t, db, "order-1", 2)
	drain(t, bus.NewRelay(db, broker, silent))
	to := &pinned{broker, map[string]int{}}
	replay(t, bus.NewRelay(db, to, silent), bus.Replay{})
	replay(t, bus.NewRelay(db, to, silent), bus.Replay{Topic: "copy"})
	if diff := cmp.Diff(map[string]int{"annals.order": 3, "copy": 3}, to.pins); diff != "" {
		t.Error(diff)
	}
}

// A topic of its own is made as its contract says.
func TestReplayMakesATopic(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	relay := bus.NewRelay(db, broker, silent, bus.WithTopics(bus.Contract{Topic: "copy", Partitions: 3}))
	drain(t, relay)
	replay(t, relay, bus.Replay{Topic: "copy"})
	replay(t, relay, bus.Replay{Topic: "copy"})
	topics, err := broker.Topics(t.Context(), "copy")
	if n := len(positions(t, broker, "copy")); err != nil || topics["copy"].Partitions != 3 || n != 4 {
		t.Errorf("%+v, %v with %d messages, want 3 partitions and 4", topics, err, n)
	}
	wantPositions(t, broker, "annals.order", 1, 2)
}

// P7: what a replay publishes is never the first of its event.
func TestReplayIsNeverAFirstDelivery(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 3)
	relay := bus.NewRelay(db, broker, silent)
	drain(t, relay)
	appendNotes(t, db, "order-1", 2)
	v2 := bus.NewRelay(db, broker, silent, bus.WithDomain("v2"))
	check := func(relay *bus.Relay, q bus.Replay, want string) {
		t.Helper()
		done, err := relay.Replay(t.Context(), q)
		if !errors.Is(err, bus.ErrUnpublished) || err.Error() != want || done.Events != 0 {
			t.Errorf("Replay = %+v, %v, want %s", done, err, want)
		}
	}
	check(relay, bus.Replay{To: 4}, "replay relay/main behind position 0: relay/main has published up to position 3, and not 4: replay up to there")
	check(relay, bus.Replay{To: 4, Topic: "copy"}, "replay relay/main behind position 0: relay/main has published up to position 3, and not 4: replay up to there")
	check(v2, bus.Replay{After: 1}, "replay relay/main behind position 1: relay/main has published category order to topic v2.order, as it is now, up to position 0, and not 2: have the relay fill the topic first, or replay to another one")
	appendNotes(t, db, "return-1", 1)
	drain(t, relay)
	check(relay, bus.Replay{Topic: "annals.return"}, "replay relay/main behind position 0: relay/main has published category order to topic annals.return, as it is now, up to position 0, and not 1: have the relay fill the topic first, or replay to another one")
	wantPositions(t, broker, "annals.return", 6)
	broker.Delete("annals.order")
	if err := broker.Create(t.Context(), bus.Contract{Topic: "annals.order"}); err != nil {
		t.Fatal(err)
	}
	check(relay, bus.Replay{}, "replay relay/main behind position 0: relay/main has published category order to topic annals.order, as it is now, up to position 0, and not 1: have the relay fill the topic first, or replay to another one")
	wantPositions(t, broker, "annals.order")
	if err := bus.Decide(t.Context(), db, "relay/main", "annals.order", bus.Refill, "ada"); err != nil {
		t.Fatal(err)
	}
	drain(t, relay)
	replay(t, relay, bus.Replay{After: 3})
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 4, 5)
}

var orderOne = event.Stream{Category: "order", ID: "1"}

func TestReplayKeepsItsRate(t *testing.T) {
	t.Parallel()
	for rate, most := range map[float64]int{100: 10, 3: 1, 1e6: 1000} {
		synctest.Test(t, func(t *testing.T) {
			db, broker := memory.New(), memory.NewBroker(1)
			appendNotes(t, db, "order-1", 301)
			relay := bus.NewRelay(db, broker, silent)
			drain(t, relay)
			began, last := time.Now(), 0
			replay(t, relay, bus.Replay{Rate: rate, Progress: func(d bus.Replayed) {
				if n := d.Events - last; n > most {
					t.Errorf("rate %v: %d at once, want at most %d", rate, n, most)
				}
				last = d.Events
				if took := time.Since(began).Seconds(); float64(d.Events-most) > rate*took+1e-6 {
					t.Errorf("rate %v: %d events after %v s", rate, d.Events, took)
				}
			}})
			if took, want := time.Since(began).Seconds(), 300/rate; math.Abs(took-want) > float64(most)/rate {
				t.Errorf("rate %v: it took %v s, want about %v", rate, took, want)
			}
		})
	}
}

// A replay whose broker fails says how far it has come, and is gone on with from there.
func TestReplayIsResumed(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 6)
	drain(t, bus.NewRelay(db, broker, silent))
	dying := bus.NewRelay(db, &flaky{Broker: broker, failures: map[int]error{2: errBroker}}, silent, bus.WithBatch(2))
	done, err := dying.Replay(t.Context(), bus.Replay{ID: "x"})
	if want := "replay relay/main behind position 2: publish positions 3 to 4: broker is away"; !errors.Is(err, errBroker) || err.Error() != want || done.After != 2 {
		t.Errorf("Replay = %+v, %v, want %s", done, err, want)
	}
	replay(t, dying, bus.Replay{ID: "x", After: done.After})
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 6, 1, 2, 3, 3, 4, 5, 6)
}

func TestReplayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, broker := memory.New(), memory.NewBroker(1)
		appendNotes(t, db, "order-1", 6)
		relay := bus.NewRelay(db, broker, silent)
		drain(t, relay)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		done, err := relay.Replay(ctx, bus.Replay{Rate: 0.1})
		if want := "replay relay/main behind position 3: context deadline exceeded"; !errors.Is(err, context.DeadlineExceeded) || err.Error() != want || done.Events != 3 {
			t.Errorf("Replay = %+v, %v, want %s", done, err, want)
		}
	})
}

func TestReplayErrors(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	drain(t, bus.NewRelay(db, broker, silent))
	mapped := func(fn func() error) *bus.Relay {
		return bus.NewRelay(db, broker, silent, bus.WithMapper(func(event.Recorded) (bus.Message, bool, error) { return bus.Message{}, false, fn() }))
	}
	ours := bus.NewRelay(db, broker, silent)
	for want, c := range map[string]struct {
		r *bus.Relay
		q bus.Replay
	}{
		"behind position 0: the rate is -1, want 0, or at least 0.001":                      {ours, bus.Replay{Rate: -1}},
		"behind position 0: the rate is NaN, want 0, or at least 0.001":                     {ours, bus.Replay{Rate: math.NaN()}},
		"behind position 2: it would end at position 1":                                     {ours, bus.Replay{After: 2, To: 1}},
		`behind position 0: invalid stream id "": empty`:                                    {ours, bus.Replay{Streams: []event.Stream{{Category: "order"}}}},
		`behind position 0: invalid event name "x": want family.fact, such as order.placed`: {ours, bus.Replay{Names: []string{"x"}}},
		"behind position 0: map order-1@1 (order.noted, position 1): no such customer":      {mapped(func() error { return errUnmapped }), bus.Replay{}},
		"behind position 0: panic: boom":                                                    {mapped(func() error { panic("boom") }), bus.Replay{}},
	} {
		if _, err := c.r.Replay(t.Context(), c.q); err == nil || err.Error() != "replay relay/main "+want {
			t.Errorf("Replay = %v, want %s", err, want)
		}
	}
}

// Messages of a replay do not hide what the relay had published before them: a store that
// has lost it is still found out.
func TestReplayHidesNoLoss(t *testing.T) {
	t.Parallel()
	o, broker := newOutbox(), memory.NewBroker(1)
	notesOf(t, o, "order-1", 20)
	drain(t, bus.NewRelay(o, broker, silent, bus.WithBatch(3)))
	marks := maps.Clone(o.marks)
	notesOf(t, o, "order-2", 1)
	drain(t, bus.NewRelay(o, broker, silent, bus.WithBatch(3)))
	replay(t, bus.NewRelay(o, broker, silent, bus.WithBatch(3)), bus.Replay{To: 20})
	err := bus.NewRelay(o.back(t, 20, marks), broker, silent, bus.WithBatch(3)).Drain(t.Context())
	wantDiverged(t, err, 21, 21)
}

// A relay that has to be set back is not replayed.
func TestReplayOfAnotherHistory(t *testing.T) {
	t.Parallel()
	o, broker := newOutbox(), memory.NewBroker(1)
	notesOf(t, o, "order-1", 5)
	drain(t, bus.NewRelay(o, broker, silent))
	_, err := bus.NewRelay(o.back(t, 3, o.marks), broker, silent).Replay(t.Context(), bus.Replay{})
	wantDiverged(t, err, 1, 5)
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5)
}

// A relay that is set back while a replay runs ends it.
func TestReplayWhileTheRelayIsRewound(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 3)
	relay := bus.NewRelay(db, broker, silent, bus.WithBatch(1))
	drain(t, relay)
	_, err := relay.Replay(t.Context(), bus.Replay{Progress: func(d bus.Replayed) {
		if d.After == 1 {
			if _, err := relay.Rewind(t.Context(), true); err != nil {
				t.Error(err)
			}
		}
	}})
	if want := "replay relay/main behind position 1: relay/main was set back meanwhile: begin again"; fmt.Sprint(err) != want {
		t.Errorf("Replay = %v, want %s", err, want)
	}
}
