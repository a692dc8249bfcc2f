package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func TestDecideRefuses(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 1)
	drain(t, bus.NewRelay(db, broker, silent))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		`decide on topic annals.order of relay/main: decision "keep": want adopt or refill`:          bus.Decide(t.Context(), db, "relay/main", annalsOrder, "keep", "ada"),
		`decide on topic annals.order of relay/main: nobody has decided it`:                          bus.Decide(t.Context(), db, "relay/main", annalsOrder, bus.Adopt, ""),
		`decide on topic annals.return of relay/main: the relay has not agreed on this topic`:        bus.Decide(t.Context(), db, "relay/main", "annals.return", bus.Adopt, "ada"),
		`decide on topic annals.order of relay/other: the relay has not agreed on this topic`:        bus.Decide(t.Context(), db, "relay/other", annalsOrder, bus.Adopt, "ada"),
		`decide on topic annals.order of relay/main: read contracts of relay/main: context canceled`: bus.Decide(ended, db, "relay/main", annalsOrder, bus.Adopt, "ada"),
		`decide on topic annals.order of relay/main: somebody else`:                                  bus.Decide(t.Context(), &brittle{DB: db, agree: map[int]error{1: errors.New("somebody else")}}, "relay/main", annalsOrder, bus.Adopt, "ada"),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("Decide = %v, want %s", err, want)
		}
	}
	if err := bus.Decide(t.Context(), db, "relay/main", "none", bus.Adopt, "ada"); !errors.Is(err, bus.ErrNoContract) {
		t.Errorf("Decide = %v, want ErrNoContract", err)
	}
	decide(t, db, bus.Adopt)
	if a := agreedOn(t, db, annalsOrder); a.Decision != bus.Adopt || a.By != "ada" {
		t.Errorf("agreed on %+v", a)
	}
	decide(t, db, bus.Undecided)
	if a := agreedOn(t, db, annalsOrder); a.Decision != bus.Undecided || a.By != "" {
		t.Errorf("agreed on %+v, want no decision", a)
	}
}

// changes are what can happen to annals.order, which has positions 1 to 3 then, and what it
// has after position 4 is published: adopted, and filled.
var changes = map[string]struct {
	change          func(*turning)
	adopted, filled []int
}{
	"gone": {
		func(b *turning) { b.Delete(annalsOrder) }, []int{4}, []int{1, 2, 3, 4},
	},
	"made again": {
		func(b *turning) { b.again() }, []int{4}, []int{1, 2, 3, 4},
	},
	"with other partitions": { // the broker shows 2, so that the order of one is seen
		func(b *turning) { b.sees(annalsOrder, func(t *bus.Topic) { t.Partitions = 2 }) }, []int{1, 2, 3, 4}, []int{1, 2, 3, 1, 2, 3, 4},
	},
	"not at all": {
		func(*turning) {}, []int{1, 2, 3, 4}, []int{1, 2, 3, 1, 2, 3, 4},
	},
}

// again deletes annals.order and makes it again.
func (b *turning) again() {
	b.Delete(annalsOrder)
	if err := b.Broker.Create(context.Background(), bus.Contract{Topic: annalsOrder}); err != nil {
		panic(err)
	}
}

// P4: what was decided is carried out once, whenever the relay dies in between.
func TestRelayDoesWhatWasDecided(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, d := range []bus.Decision{bus.Adopt, bus.Refill} {
			for crash, fails := range map[string]*brittle{
				"":                  {},
				", marks not saved": {save: map[int]error{1: worker.Halt(errKilled)}},
				", saved all same":  {save: map[int]error{1: worker.Halt(errKilled)}, done: true},
				", not agreed":      {agree: map[int]error{1: worker.Halt(errKilled)}},
				", agreed all same": {agree: map[int]error{1: worker.Halt(errKilled)}, done: true},
				", fenced, again":   {save: map[int]error{1: worker.ErrFenced}, agree: map[int]error{1: worker.ErrFenced}},
			} {
				t.Run(string(d)+" "+name+crash, func(t *testing.T) {
					t.Parallel()
					db, broker := clocked(), newTurning()
					appendNotes(t, db, "order-1", 3)
					appendNotes(t, db, "return-1", 0)
					drain(t, bus.NewRelay(db, broker, silent))
					c.change(broker)
					appendNotes(t, db, "order-1", 1)
					decide(t, db, d)
					store := &brittle{DB: db, save: fails.save, agree: fails.agree, done: fails.done}
					if err := bus.NewRelay(store, broker, silent, bus.WithRetry(worker.Retry{Base: 1})).Drain(t.Context()); err != nil && !errors.Is(err, errKilled) {
						t.Fatal(err)
					}
					drain(t, bus.NewRelay(db, broker, silent))
					want := c.adopted
					if d == bus.Refill {
						want = c.filled
					}
					wantPositions(t, broker.Broker, annalsOrder, want...)
					have, err := broker.Topics(t.Context(), annalsOrder)
					if err != nil {
						t.Fatal(err)
					}
					a := agreedOn(t, db, annalsOrder)
					if is := have[annalsOrder]; a.ID != is.ID || a.Partitions != is.Partitions || a.Decision != bus.Undecided || a.By != "" {
						t.Errorf("agreed on %+v, want what there is, and nothing left to do", a)
					}
					drain(t, bus.NewRelay(db, broker, silent))
					wantPositions(t, broker.Broker, annalsOrder, want...)
					if pin := broker.called[len(broker.called)-1]; strings.HasPrefix(name, "with other") && pin != "pin annals.order to 2" {
						t.Errorf("last call %q, want the new number pinned", pin)
					}
				})
			}
		}
	}
}

var errKilled = errors.New("killed")

// brittle is a store that fails chosen calls of Save without a term and of Agree, by their
// numbers, before or after they have taken effect.
type brittle struct {
	*memory.DB
	save, agree   map[int]error
	done          bool
	saves, agrees int
}

func (b *brittle) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	if term == (worker.Term{}) {
		if b.saves++; b.save[b.saves] != nil {
			if b.done {
				_ = b.DB.Save(ctx, name, term, w)
			}
			return b.save[b.saves]
		}
	}
	return b.DB.Save(ctx, name, term, w)
}

func (b *brittle) Agree(ctx context.Context, relay string, a bus.Agreed) error {
	if b.agrees++; b.agree[b.agrees] != nil {
		if b.done {
			_ = b.DB.Agree(ctx, relay, a)
		}
		return errors.Join(b.agree[b.agrees])
	}
	return b.DB.Agree(ctx, relay, a)
}

// A decision that was not needed does not stay, for a change that nobody has seen yet.
func TestDecisionThatWasNotNeededGoes(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	var log bytes.Buffer
	relay := bus.NewRelay(db, broker, bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	appendNotes(t, db, "order-1", 1)
	drain(t, relay)
	decide(t, db, bus.Adopt)
	drain(t, relay)
	if want := `msg="topic is as it was agreed on, there is nothing to adopt" relay=relay/main topic=annals.order by=ada`; !strings.Contains(log.String(), want) {
		t.Errorf("log: %s\nwant %s", log.String(), want)
	}
	broker.again()
	if err := relay.Drain(t.Context()); !errors.Is(err, bus.ErrTopicChanged) {
		t.Errorf("Drain = %v, want ErrTopicChanged", err)
	}
}

// Neither a compacted topic, nor one that the program does not want, is taken because
// somebody has decided so, and the decision stays.
func TestDecisionThatCannotBeCarriedOut(t *testing.T) {
	t.Parallel()
	for _, d := range []bus.Decision{bus.Adopt, bus.Refill} {
		for want, change := range map[string]func(*bus.Topic){
			"is compacted":     func(t *bus.Topic) { t.ID, t.Compacted = "b", true },
			"has 5 partitions": func(t *bus.Topic) { t.ID, t.Partitions = "b", 5 },
		} {
			db, broker := memory.New(), newTurning()
			relay := bus.NewRelay(db, broker, silent, bus.WithOtherTopics(bus.Contract{Partitions: 1}))
			appendNotes(t, db, "order-1", 1)
			drain(t, relay)
			broker.sees(annalsOrder, change)
			decide(t, db, d)
			if err := relay.Drain(t.Context()); !errors.Is(err, bus.ErrTopicChanged) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: Drain = %v, want %q", d, err, want)
			}
			if a := agreedOn(t, db, annalsOrder); a.Decision != d {
				t.Errorf("agreed on %+v, want the decision kept", a)
			}
			broker.change = nil
			drain(t, relay)
		}
	}
}

// Who has decided is told, in the log and in the audit.
func TestDecisionIsAudited(t *testing.T) {
	t.Parallel()
	db, broker := clocked(), newTurning()
	var log bytes.Buffer
	relay := bus.NewRelay(db, broker, bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	broker.sees(annalsOrder, func(t *bus.Topic) { t.ID = "a" })
	appendNotes(t, db, "order-1", 1)
	drain(t, relay)
	broker.sees(annalsOrder, func(t *bus.Topic) { t.ID, t.Partitions = "b", 2 })
	decide(t, db, bus.Refill)
	drain(t, relay)
	if want := `level=WARN msg="topic is taken as was decided" relay=relay/main topic=annals.order decision=refill by=ada topic_id=b previous_id=a partitions=2 previous_partitions=1`; !strings.Contains(log.String(), want) {
		t.Errorf("log: %s\nwant %s", log.String(), want)
	}
	got, err := db.Audits(t.Context(), relay.Name(), time.Time{}, 10)
	want := []worker.Audit{{Time: noon, Actor: "ada", Action: "refill", Detail: "topic annals.order: 2 partitions, id b, before: 1 partition, id a"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("audit: %s, %v", diff, err)
	}
}

// Adopted in the middle of being filled, a topic goes on being filled.
func TestAdoptKeepsThePlace(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), newTurning()
	appendNotes(t, db, "order-1", 4)
	drain(t, bus.NewRelay(db, broker, silent))
	decide(t, db, bus.Refill)
	dying := &flaky{Broker: broker.Broker, failures: map[int]error{3: errBroker}}
	if err := bus.NewRelay(db, dying, silent, bus.WithBatch(1), bus.WithRetry(worker.Retry{Attempts: 1})).Drain(t.Context()); !errors.Is(err, errBroker) {
		t.Fatalf("Drain = %v, want %v", err, errBroker)
	}
	wantPositions(t, broker.Broker, annalsOrder, 1, 2, 3, 4, 1, 2)
	broker.again()
	decide(t, db, bus.Adopt)
	drain(t, bus.NewRelay(db, broker, silent))
	wantPositions(t, broker.Broker, annalsOrder, 3, 4)
}
