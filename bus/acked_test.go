package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// script is how a scripted Publisher fails: at which of its messages, how, and what it has
// delivered and acknowledged by then.
type script struct {
	victim event.Position
	// refused: for good, each time, until it is mended; else once, with an error that passes.
	refused bool
	// plain: the error tells nothing. index: it tells whose fault it is.
	plain, index bool
	// others is what it delivers of the other keys: nothing, what comes before the victim, all.
	others int
	// own: what comes before the victim in its key is delivered. sent: the victim is too.
	own, sent bool
	// acked is what it acknowledges of what it delivers: nothing, the first of each key, all.
	acked int
}

func (s script) String() string {
	return fmt.Sprintf("at %d, refused %v, plain %v, index %v, others %d, own %v, sent %v, acked %d", s.victim, s.refused, s.plain, s.index, s.others, s.own, s.sent, s.acked)
}

// possible leaves out what is no case of its own: a message is not refused and delivered,
// and an error without a type acknowledges nothing and blames nobody.
func (s script) possible() bool {
	return (!s.refused || !s.sent) && (!s.plain || s.acked == 0 && !s.index) && (s.refused || !s.index)
}

func scripts(events int) (all []script) {
	both := []bool{false, true}
	for v := range events {
		for _, refused := range both {
			for _, plain := range both {
				for _, index := range both {
					for others := range 3 {
						for _, own := range both {
							for _, sent := range both {
								for acked := range 3 {
									s := script{event.Position(v + 1), refused, plain, index, others, own, sent, acked}
									if s.possible() {
										all = append(all, s)
									}
								}
							}
						}
					}
				}
			}
		}
	}
	return all
}

// scripted is a broker that fails by a script.
type scripted struct {
	*memory.Broker
	script
	mended bool
	failed int                    // calls
	acks   map[event.Position]int // how often a message was acknowledged
}

func positionOf(m bus.Message) event.Position {
	e, err := bus.EventOf(m)
	if err != nil {
		panic(err)
	}
	return e.Position
}

func (b *scripted) Publish(ctx context.Context, ms []bus.Message) error {
	at := slices.IndexFunc(ms, func(m bus.Message) bool { return positionOf(m) == b.victim })
	if at < 0 || b.mended {
		for _, m := range ms {
			b.acks[positionOf(m)]++
		}
		return b.Broker.Publish(ctx, ms)
	}
	b.failed++
	b.mended = !b.refused
	known := &bus.PublishError{Acked: make([]bool, len(ms)), Index: -1, Err: errBroker}
	acked := map[string]int{}
	for i, m := range ms {
		key := string(m.Key)
		delivered := b.others == 2 || b.others == 1 && i < at
		if key == string(ms[at].Key) {
			delivered = b.own && (i < at || b.sent && i == at)
		}
		if !delivered {
			continue
		}
		if err := b.Broker.Publish(ctx, []bus.Message{m}); err != nil {
			return err
		}
		if b.acked == 2 || b.acked == 1 && acked[key] == 0 {
			acked[key]++
			known.Acked[i] = true
			b.acks[positionOf(m)]++
		}
	}
	if b.refused {
		known.Err = worker.Permanent(errBroker)
	}
	if b.index {
		known.Index = at
	}
	if b.plain {
		return known.Err
	}
	return known
}

// wantOrdered wants that of each key the first delivery of n+1 does not precede that of n,
// and that events 1 to n are all there.
func wantOrdered(t *testing.T, b *memory.Broker, n int) {
	t.Helper()
	seen := map[event.Position]bool{}
	last := map[string]event.Version{}
	for _, p := range b.Messages(annalsOrder) {
		for _, m := range p {
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			if e.Version > last[e.Stream.ID]+1 {
				t.Errorf("P7: %s is delivered first after version %d: %v", e, last[e.Stream.ID], positions(t, b, annalsOrder))
			}
			last[e.Stream.ID] = max(last[e.Stream.ID], e.Version)
			seen[e.Position] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d events are published, want %d", len(seen), n)
	}
}

// P4, P7: wherever a Publish fails, and whatever it has delivered and acknowledged by then,
// everything is published, in the order of each key; and what was acknowledged is not sent
// again while the relay looks for the one that was refused.
func TestOrderSurvivesEveryFailure(t *testing.T) {
	t.Parallel()
	streams := []string{"a", "b", "a", "c", "b", "a", "c"}
	for _, batch := range []int{3, 100} {
		for _, s := range scripts(len(streams)) {
			t.Run(fmt.Sprintf("%v, batch %d", s, batch), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					db, broker := memory.New(), &scripted{Broker: memory.NewBroker(1), script: s, acks: map[event.Position]int{}}
					for _, id := range streams {
						appendNotes(t, db, "order-"+id, 1)
					}
					relay := bus.NewRelay(db, broker, silent, bus.WithBatch(batch))
					err := relay.Drain(t.Context())
					if s.refused != errors.Is(err, worker.ErrParked) || !s.refused && err != nil {
						t.Fatalf("Drain = %v", err)
					}
					if s.refused {
						most := 5 // the search by halves
						if s.index {
							most = 1
						}
						if broker.failed > most {
							t.Errorf("%d calls have failed, want at most %d", broker.failed, most)
						}
						for p, n := range broker.acks {
							if n > 1 {
								t.Errorf("position %d was acknowledged %d times", p, n)
							}
						}
						stream := "order-" + streams[s.victim-1]
						if all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || len(all) != 1 || all[0].Key.Key != stream || all[0].First != int64(s.victim) {
							t.Fatalf("parked %+v, %v, want %s from position %d on", all, err, stream, s.victim)
						}
						broker.mended = true
						retry(t, db, stream)
						drain(t, relay)
					}
					wantOrdered(t, broker.Broker, len(streams))
					wantParked(t, db)
				})
			})
		}
	}
}

// What the broker has said of an event is what people see of it.
func TestRelayNamesTheEventThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, broker := memory.New(), &scripted{Broker: memory.NewBroker(1), acks: map[event.Position]int{}, script: script{victim: 2, refused: true, index: true}}
		appendNotes(t, db, "order-1", 3)
		if err := bus.NewRelay(db, broker, silent).Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
			t.Fatalf("Drain = %v", err)
		}
		wantParked(t, db, "order-1 waiting: 2: publish order-1@2 (order.noted, position 2): broker is away")
	})
}

// lying acknowledges the last of its messages, delivers none, and refuses the first.
type lying struct {
	*memory.Broker
	honest bool
}

func (l *lying) Publish(ctx context.Context, ms []bus.Message) error {
	if l.honest {
		return l.Broker.Publish(ctx, ms)
	}
	l.honest = true
	acked := make([]bool, len(ms)+1) // one more than there are
	acked[len(ms)-1], acked[len(ms)] = true, true
	return &bus.PublishError{Acked: acked, Index: len(ms), Err: worker.Permanent(errBroker)}
}

// What cannot be, in the order of a key, is not believed.
func TestRelayBelievesOnlyTheFirstOfAKey(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), &lying{Broker: memory.NewBroker(1)}
	appendNotes(t, db, "order-1", 4)
	drain(t, bus.NewRelay(db, broker, silent))
	wantPositions(t, broker.Broker, annalsOrder, 1, 2, 3, 4)
}

// replacing acknowledges the first message of its first call, and then the topic is replaced.
type replacing struct {
	*turning
	then func()
}

func (r *replacing) Publish(ctx context.Context, ms []bus.Message) error {
	if r.then == nil {
		return r.turning.Publish(ctx, ms)
	}
	if err := r.turning.Publish(ctx, ms[:1]); err != nil {
		return err
	}
	r.then()
	r.then = nil
	return &bus.PublishError{Acked: []bool{true, false}, Index: -1, Err: errBroker}
}

// What was acknowledged before a pause is sent again: by then the topic may be another one.
func TestAcknowledgementsEndWithAPause(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	appendNotes(t, db, "order-1", 2)
	relay := bus.NewRelay(db, &replacing{broker, func() {
		broker.again()
		decide(t, db, bus.Refill)
	}}, silent, bus.WithRetry(worker.Retry{Base: 1}))
	drain(t, relay)
	wantPositions(t, broker.Broker, annalsOrder, 1, 2)
}

// sizes notes how many messages each Publish has.
type sizes struct {
	*memory.Broker
	got []int
}

func (s *sizes) Publish(ctx context.Context, ms []bus.Message) error {
	s.got = append(s.got, len(ms))
	return s.Broker.Publish(ctx, ms)
}

// A relay begins with 500 events, and takes more as long as there are more.
func TestRelayBatchesGrow(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), &sizes{Broker: memory.NewBroker(1)}
	for range 9 {
		many := make([]event.Raw, 1000)
		for i := range many {
			many[i] = event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte{}}
		}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "1"}, eventstore.Any(), many...); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, bus.NewRelay(db, broker, silent))
	if diff := cmp.Diff([]int{500, 1000, 2000, 1500, 4000}, broker.got); diff != "" {
		t.Errorf("batches: %s", diff)
	}
	broker.got = nil
	appendNotes(t, db, "order-1", 3)
	relay := bus.NewRelay(db, broker, silent, bus.WithBatch(2))
	drain(t, relay)
	if diff := cmp.Diff([]int{2, 1}, broker.got); diff != "" {
		t.Errorf("batches of at most 2: %s", diff)
	}
}
