package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// turning is a broker whose topics somebody else changes.
type turning struct {
	*memory.Broker
	change func(map[string]bus.Topic)
	made   []bus.Contract
	called []string // Pin and Publish, in their order
}

func (b *turning) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	have, err := b.Broker.Topics(ctx, names...)
	if b.change != nil {
		b.change(have)
	}
	return have, err
}

func (b *turning) Create(ctx context.Context, contracts ...bus.Contract) error {
	b.made = append(b.made, contracts...)
	return b.Broker.Create(ctx, contracts...)
}

func (b *turning) Pin(topic string, partitions int) {
	b.called = append(b.called, fmt.Sprintf("pin %s to %d", topic, partitions))
}

func (b *turning) Publish(ctx context.Context, ms []bus.Message) error {
	b.called = append(b.called, fmt.Sprintf("publish %d", len(ms)))
	return b.Broker.Publish(ctx, ms)
}

// sees has the broker show a topic otherwise than it is.
func (b *turning) sees(topic string, change func(*bus.Topic)) {
	b.change = func(have map[string]bus.Topic) {
		if t, ok := have[topic]; ok {
			change(&t)
			have[topic] = t
		}
	}
}

func newTurning() *turning { return &turning{Broker: memory.NewBroker(1)} }

const annalsOrder = "annals.order"

// noon is the time in a store of clocked.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clocked() *memory.DB { return memory.New(memory.WithClock(func() time.Time { return noon })) }

func idOf(t *testing.T, b bus.Publisher, topic string) string {
	t.Helper()
	have, err := b.Topics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return have[topic].ID
}

func agreedOn(t *testing.T, db bus.Contracts, topic string) bus.Agreed {
	t.Helper()
	all, err := db.Contracts(t.Context(), "relay/main")
	if err != nil {
		t.Fatal(err)
	}
	return all[topic]
}

func decide(t *testing.T, db bus.Contracts, d bus.Decision) {
	t.Helper()
	if err := bus.Decide(t.Context(), db, "relay/main", annalsOrder, d, "ada"); err != nil {
		t.Fatal(err)
	}
}

// wantStopped wants a *TopicError with the text, from Drain and then from Run.
func wantStopped(t *testing.T, r *bus.Relay, want string) *bus.TopicError {
	t.Helper()
	var changed *bus.TopicError
	for _, run := range []func(context.Context) error{r.Drain, r.Run} {
		err := run(t.Context())
		if !errors.As(err, &changed) || !errors.Is(err, bus.ErrTopicChanged) || err.Error() != want {
			t.Fatalf("it ends with %v\nwant %s", err, want)
		}
	}
	return changed
}

func TestRelayMakesAndAgreesOnNewTopics(t *testing.T) {
	t.Parallel()
	db, broker := clocked(), newTurning()
	order := bus.Contract{Topic: annalsOrder, Partitions: 3, Retention: time.Hour, Config: map[string]string{"a": "b"}, Owner: "orders", Description: "all of them"}
	opts := []bus.RelayOption{silent, bus.WithTopics(order), bus.WithOtherTopics(bus.Contract{Partitions: 2, Owner: "others"})}
	appendNotes(t, db, "order-1", 2)
	appendNotes(t, db, "return-1", 1)
	drain(t, bus.NewRelay(db, broker, opts...))
	other := bus.Contract{Topic: "annals.return", Partitions: 2, Owner: "others"}
	if diff := cmp.Diff([]bus.Contract{order, other}, broker.made); diff != "" {
		t.Errorf("made: %s", diff)
	}
	want := map[string]bus.Agreed{
		annalsOrder:     {Contract: order, ID: idOf(t, broker, annalsOrder), Since: noon, Revision: 1},
		"annals.return": {Contract: other, ID: idOf(t, broker, "annals.return"), Since: noon, Revision: 1},
	}
	got, err := db.Contracts(t.Context(), "relay/main")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("agreed on: %s, %v", diff, err)
	}
	if diff := cmp.Diff([]string{"pin annals.order to 3", "pin annals.return to 2", "publish 3"}, broker.called); diff != "" {
		t.Errorf("calls: %s", diff)
	}

	// What is for people is stored when it changes, and nothing else is written.
	drain(t, bus.NewRelay(db, broker, opts...))
	if got := agreedOn(t, db, annalsOrder).Revision; got != 1 {
		t.Errorf("revision %d, want nothing written again", got)
	}
	order.Owner, order.Config = "fulfilment", nil
	drain(t, bus.NewRelay(db, broker, append(opts, bus.WithTopics(order))...))
	if got := agreedOn(t, db, annalsOrder); got.Revision != 2 || !cmp.Equal(got.Contract, order) {
		t.Errorf("agreed on %+v, want the changed contract", got)
	}
}

// A topic that exists is taken if it fits, with what it has.
func TestRelayTakesATopicThatExists(t *testing.T) {
	t.Parallel()
	for _, wants := range []int{0, 4} {
		db, broker := memory.New(), newTurning()
		if err := broker.Broker.Create(t.Context(), bus.Contract{Topic: annalsOrder, Partitions: 4}); err != nil {
			t.Fatal(err)
		}
		appendNotes(t, db, "order-1", 1)
		drain(t, bus.NewRelay(db, broker, silent, bus.WithOtherTopics(bus.Contract{Partitions: wants})))
		if a := agreedOn(t, db, annalsOrder); a.Partitions != 4 || a.ID != idOf(t, broker, annalsOrder) || broker.made != nil {
			t.Errorf("agreed on %+v, made %+v, want it as it was", a, broker.made)
		}
		wantPositions(t, broker.Broker, annalsOrder, 1)
	}
}

func TestRelayStopsAtATopicThatDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*bus.Topic)
		want   string
	}{
		"partitions": {func(*bus.Topic) {}, "relay/main: topic annals.order has 1 partition, id ID, and its Contract in the program wants Partitions 2: say 1 there, or change the topic"},
		"compacted":  {func(t *bus.Topic) { t.Partitions, t.Compacted = 2, true }, "relay/main: topic annals.order is compacted (2 partitions, id ID): it loses events and cannot be adopted: set its cleanup.policy to delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, broker := memory.New(), newTurning()
			if err := broker.Broker.Create(t.Context(), bus.Contract{Topic: annalsOrder}); err != nil {
				t.Fatal(err)
			}
			broker.sees(annalsOrder, func(topic *bus.Topic) { topic.ID = "ID"; c.change(topic) })
			appendNotes(t, db, "order-1", 1)
			relay := bus.NewRelay(db, broker, silent, bus.WithOtherTopics(bus.Contract{Partitions: 2}))
			if e := wantStopped(t, relay, c.want); e.Relay != "relay/main" || e.Topic != annalsOrder || e.Agreed.Revision != 0 || e.Has.ID != "ID" || e.Contract.Partitions != 2 {
				t.Errorf("error %+v", e)
			}
			wantPositions(t, broker.Broker, annalsOrder)
			wantParked(t, db)
			if a := agreedOn(t, db, annalsOrder); a.Revision != 0 {
				t.Errorf("agreed on %+v, want nothing", a)
			}
		})
	}
}

// What was agreed on and is not so any more stops the relay, before it publishes anything.
func TestRelayStopsAtATopicThatHasChanged(t *testing.T) {
	t.Parallel()
	const decisions = "run annals relay adopt main annals.order --yes to take it as it is and go on, or annals relay refill main annals.order --yes to fill it from the beginning of the log"
	for name, c := range map[string]struct {
		change func(*bus.Topic)
		gone   bool
		option bus.Option
		want   string
	}{
		"made again": {
			change: func(t *bus.Topic) { t.ID = "b" },
			want:   "relay/main: topic annals.order was made again: it has 1 partition, id b, agreed on since 2026-03-01T12:00:00Z: 1 partition, id a: " + decisions,
		},
		"gone": {
			gone: true,
			want: "relay/main: topic annals.order is gone, agreed on since 2026-03-01T12:00:00Z: 1 partition, id a: run annals relay refill main annals.order --yes to make it and fill it from the beginning of the log, or annals relay adopt main annals.order --yes to make it and go on",
		},
		"grown": {
			change: func(t *bus.Topic) { t.Partitions = 12 },
			want:   "relay/main: topic annals.order has another number of partitions: it has 12 partitions, id a, agreed on since 2026-03-01T12:00:00Z: 1 partition, id a: keys have moved, so see to its consumers, and " + decisions,
		},
		"compacted": {
			change: func(t *bus.Topic) { t.Compacted = true },
			want:   "relay/main: topic annals.order is compacted (1 partition, id a, agreed on since 2026-03-01T12:00:00Z: 1 partition, id a): it loses events and cannot be adopted: set its cleanup.policy to delete, and if it has lost some run annals relay refill main annals.order --yes to fill it from the beginning of the log",
		},
		"another contract": {
			option: bus.WithOtherTopics(bus.Contract{Partitions: 3}),
			want:   "relay/main: topic annals.order has 1 partition, id a, and its Contract in the program wants Partitions 3: say 1 there, or change the topic and run annals relay adopt main annals.order --yes or annals relay refill main annals.order --yes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, broker := clocked(), newTurning()
			broker.sees(annalsOrder, func(topic *bus.Topic) { topic.ID = "a" })
			appendNotes(t, db, "order-1", 2)
			drain(t, bus.NewRelay(db, broker, silent))
			appendNotes(t, db, "order-1", 1)
			if c.change != nil {
				broker.sees(annalsOrder, func(topic *bus.Topic) { topic.ID = "a"; c.change(topic) })
			}
			if c.gone {
				broker.change = func(have map[string]bus.Topic) { delete(have, annalsOrder) }
			}
			opts := []bus.RelayOption{silent}
			if c.option != nil {
				opts = append(opts, c.option)
			}
			made := len(broker.made)
			if e := wantStopped(t, bus.NewRelay(db, broker, opts...), c.want); e.Agreed.ID != "a" || e.Agreed.Partitions != 1 {
				t.Errorf("error %+v", e)
			}
			wantPositions(t, broker.Broker, annalsOrder, 1, 2)
			if a := agreedOn(t, db, annalsOrder); a.Revision != 1 || len(broker.made) != made {
				t.Errorf("agreed on %+v, made %+v, want nothing to have changed", a, broker.made[made:])
			}
			wantParked(t, db)
		})
	}
}

// All topics that somebody has to decide on are named at once.
func TestRelayNamesAllTopicsThatHaveChanged(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	appendNotes(t, db, "order-1", 1)
	appendNotes(t, db, "return-1", 1)
	drain(t, bus.NewRelay(db, broker, silent))
	broker.Delete(annalsOrder)
	broker.Delete("annals.return")
	err := bus.NewRelay(db, broker, silent).Drain(t.Context())
	for _, want := range []string{"topic annals.order is gone", "topic annals.return is gone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Drain = %v, want also %q", err, want)
		}
	}
}

// A topic that the relay meets on its way, and has agreed on before, is compared too: it was
// agreed on, and the marks were not saved.
func TestRelayComparesATopicThatItMeets(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	appendNotes(t, db, "order-1", 1)
	away := &flaky{Broker: broker.Broker, failures: map[int]error{1: errBroker}}
	if err := bus.NewRelay(db, away, silent, bus.WithRetry(worker.Retry{Attempts: 1})).Drain(t.Context()); !errors.Is(err, errBroker) {
		t.Fatalf("Drain = %v", err)
	}
	broker.Delete(annalsOrder)
	if err := bus.NewRelay(db, broker, silent).Drain(t.Context()); !errors.Is(err, bus.ErrTopicChanged) {
		t.Errorf("Drain = %v, want ErrTopicChanged", err)
	}
	decide(t, db, bus.Refill)
	drain(t, bus.NewRelay(db, broker, silent))
	wantPositions(t, broker.Broker, annalsOrder, 1)
}

// A topic that goes while the relay runs makes it pause, and then compare, and stop.
func TestRelayStopsWhenATopicGoesWhileItRuns(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	appendNotes(t, db, "order-1", 3)
	gone := bus.WithHooks(worker.Hooks{Applied: func(worker.Applied) { broker.Delete(annalsOrder) }})
	err := bus.NewRelay(db, broker, silent, bus.WithBatch(1), bus.WithRetry(worker.Retry{Base: 1}), gone).Run(t.Context())
	if !errors.Is(err, bus.ErrTopicChanged) || !strings.Contains(err.Error(), "topic annals.order is gone") {
		t.Errorf("Run = %v, want ErrTopicChanged", err)
	}
}

func TestRelayWarnsOfOtherSettings(t *testing.T) {
	t.Parallel()
	contract := bus.Contract{Topic: annalsOrder, Replication: 3, MinInSync: 2, Retention: 48 * time.Hour, MaxBytes: 2000}
	for name, c := range map[string]struct {
		has  bus.Topic
		want []string
	}{
		"all as agreed":    {bus.Topic{Replication: 3, MinInSync: 2, Retention: 48 * time.Hour, MaxBytes: 2000}, nil},
		"nothing is known": {bus.Topic{}, nil},
		"all are others": {bus.Topic{Replication: 1, MinInSync: 1, Retention: time.Hour, MaxBytes: 1000}, []string{
			"setting=replication contract=3 topic_has=1", "setting=min_in_sync contract=2 topic_has=1", "setting=max_bytes contract=2000 topic_has=1000", "setting=retention contract=48h0m0s topic_has=1h0m0s",
		}},
		"for ever": {bus.Topic{MaxBytes: 2000}, []string{"setting=retention contract=48h0m0s topic_has=0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, broker := memory.New(), newTurning()
			broker.sees(annalsOrder, func(topic *bus.Topic) {
				c.has.ID, c.has.Partitions = topic.ID, topic.Partitions
				*topic = c.has
			})
			var log bytes.Buffer
			appendNotes(t, db, "order-1", 1)
			drain(t, bus.NewRelay(db, broker, bus.WithTopics(contract), bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))))
			var got []string
			for line := range strings.Lines(log.String()) {
				if _, text, ok := strings.Cut(line, `level=WARN msg="topic differs from its contract" relay=relay/main topic=annals.order `); ok {
					got = append(got, strings.TrimSuffix(text, "\n"))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("warnings: %s\n%s", diff, log.String())
			}
			wantPositions(t, broker.Broker, annalsOrder, 1)
		})
	}
}

func TestRelayGoesOnWhenATopicIsNotThereYet(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	broker.change = func(have map[string]bus.Topic) { clear(have) }
	appendNotes(t, db, "order-1", 1)
	err := bus.NewRelay(db, broker, silent, bus.WithRetry(worker.Retry{Attempts: 1})).Drain(t.Context())
	if want := "relay/main: 1 attempts: topic annals.order was made, and is gone"; err == nil || err.Error() != want {
		t.Errorf("Drain = %v, want %s", err, want)
	}
	broker.change = nil
	drain(t, bus.NewRelay(db, broker, silent))
	wantPositions(t, broker.Broker, annalsOrder, 1)
}
