package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/upcast"
	"github.com/annals-go/annals/worker"
)

type (
	order interface{ isOrder() }
	noted struct{ N int }
	// notedV1 is the shape of bytes already stored.
	notedV1 int
)

func (noted) isOrder() {}

var orderCodec = codec.JSON(codec.Types[order]{"order.noted": noted{}}, upcast.Step("order.noted", 1, func(n notedV1) noted { return noted{int(n)} }))

// desk is a store in which messages take effect, and what its handlers do with them.
type desk struct {
	*memory.DB
	mu   sync.Mutex
	fail func(what string) error // under mu; may be nil
}

func newDesk() *desk { return &desk{DB: memory.New()} }

func (d *desk) failing(fail func(what string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// effect writes something down, in a transaction.
func (d *desk) effect(ctx context.Context, tx *memory.Tx, what string) error {
	d.mu.Lock()
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		if err := fail(what); err != nil {
			return err
		}
	}
	_, err := d.Tx(tx).Append(ctx, event.Stream{Category: "effect", ID: "x"}, eventstore.Any(),
		event.Raw{Name: "effect.done", Schema: 1, ContentType: "text/plain", Payload: []byte(what), Metadata: event.MetadataFrom(ctx)})
	return err
}

func (d *desk) onOrders() bus.Route[*memory.Tx] {
	return bus.On(orderCodec, func(ctx context.Context, tx *memory.Tx, e event.Of[order]) error {
		return d.effect(ctx, tx, fmt.Sprintf("%s@%d %v", e.Stream, e.Version, e.Data))
	})
}

func (d *desk) onMessages(what string, match bus.Match) bus.Route[*memory.Tx] {
	return bus.OnMessage(match, func(ctx context.Context, tx *memory.Tx, m bus.Received) error {
		return d.effect(ctx, tx, fmt.Sprintf("%s: %s %s", what, m.Key, m.Value))
	})
}

func (d *desk) want(t *testing.T, want ...string) {
	t.Helper()
	page, err := d.ReadLog(t.Context(), eventstore.LogQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range page.Events {
		got = append(got, string(e.Payload))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("effects: %s", diff)
	}
}

// wantParked compares what is parked, each as "part key state events: error".
func (d *desk) wantParked(t *testing.T, name string, want ...string) {
	t.Helper()
	all, err := d.Parked(t.Context(), worker.ParkedQuery{Name: "consumer/" + name})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %s %s %d: %s", p.Part, p.Key.Key, p.State, p.Events, p.Error))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("parked: %s", diff)
	}
}

func (d *desk) retry(t *testing.T, name, part, key string) {
	t.Helper()
	a := worker.Amender{Store: d.DB, Name: "consumer/" + name, Actor: "ada"}
	if _, err := a.RetryParked(t.Context(), 0, worker.Key{Part: part, Key: key}); err != nil {
		t.Fatal(err)
	}
}

// run runs a consumer in a goroutine of the bubble, and returns how to end it.
func run(t *testing.T, c *bus.Consumer[*memory.Tx], db bus.InboxStore[*memory.Tx], from bus.Source, opts ...bus.ConsumerOption) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, db, from, append([]bus.ConsumerOption{silent}, opts...)...) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// noteAt is the message of an event order.noted that says its position, in a history.
func noteAt(t *testing.T, stream string, version, position int, lineage ...string) bus.Message {
	t.Helper()
	return messageAt(t, "order", stream, version, position, lineage...)
}

func messageAt(t *testing.T, category, stream string, version, position int, lineage ...string) bus.Message {
	t.Helper()
	m, err := bus.MessageOf("shop."+category, event.Recorded{
		Raw: event.Raw{
			Name: category + ".noted", Schema: 1, ContentType: "application/json", Payload: fmt.Append(nil, position),
			Metadata: event.Metadata{ID: event.ID{1: 1, 15: byte(position)}},
		},
		Stream: event.Stream{Category: category, ID: stream}, Version: event.Version(version), Position: event.Position(position),
		RecordedTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lineage {
		m.Headers = append(m.Headers, bus.Header{Key: bus.HeaderLineage, Value: []byte(l)})
	}
	return m
}

func without(m bus.Message, key string) bus.Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h bus.Header) bool { return h.Key == key })
	return m
}

func with(m bus.Message, key, value string) bus.Message {
	m = without(m, key)
	m.Headers = append(m.Headers, bus.Header{Key: key, Value: []byte(value)})
	return m
}

// publish makes the topics of messages, with a partition each, and publishes them.
func publish(t *testing.T, b *memory.Broker, messages ...bus.Message) {
	t.Helper()
	for _, m := range messages {
		if err := b.Create(t.Context(), bus.Contract{Topic: m.Topic, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

// What a relay publishes takes effect in another store, through a codec and its
// upcasters; effects name their cause; and what no route takes passes by.
func TestConsumerTakesEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop, broker, d := memory.New(), memory.NewBroker(2), newDesk()
		appendOrders(t, shop, "1", 2)
		appendOrders(t, shop, "2", 1)
		drain(t, bus.NewRelay(shop, broker, silent))
		billing := bus.NewConsumer("billing", d.onOrders())
		if billing.Name() != "consumer/billing" {
			t.Errorf("Name = %s", billing.Name())
		}
		end := run(t, billing, d, broker.Source("annals.order"))
		after(time.Minute)
		appendOrders(t, shop, "2", 1)
		drain(t, bus.NewRelay(shop, broker, silent))
		after(time.Minute)
		end()
		page, err := d.ReadLog(t.Context(), eventstore.LogQuery{})
		if err != nil || len(page.Events) != 4 {
			t.Fatalf("%d effects, %v, want 4", len(page.Events), err)
		}
		sources, err := shop.ReadLog(t.Context(), eventstore.LogQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if !slices.ContainsFunc(sources.Events, func(s event.Recorded) bool { return s.Metadata.ID.String() == e.Metadata.Causation }) {
				t.Errorf("effect %s has the cause %q", e, e.Metadata.Causation)
			}
		}
		last := string(page.Events[3].Payload)
		if want := "order-2@2 {0}"; last != want {
			t.Errorf("the last effect is %s, want %s", last, want)
		}
		wantAt(t, d, "billing", "annals.order", 4)
		d.wantParked(t, "billing")
	})
}

func appendOrders(t *testing.T, db *memory.DB, id string, n int) {
	t.Helper()
	for range n {
		e := event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: []byte("0")}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: id}, eventstore.Any(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// wantAt compares the sum of the offsets of a topic's parts.
func wantAt(t *testing.T, d *desk, name, topic string, want int64) {
	t.Helper()
	c, err := d.Checkpoint(t.Context(), "consumer/"+name)
	if err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	for part, m := range c {
		if strings.HasPrefix(part, topic+"/") {
			got += m.Offset
		}
	}
	if got != want {
		t.Errorf("%s has read %d of %s, want %d: %+v", name, got, topic, want, c)
	}
}

// All routes that take a message do so in one transaction.
func TestRoutesOfOneMessageShareATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		publish(t, broker, noteAt(t, "1", 1, 1), with(noteAt(t, "2", 1, 2), "tenant", "acme"))
		fail := true
		d.failing(func(what string) error {
			if fail && strings.HasPrefix(what, "acme") {
				return worker.Permanent(errors.New("refused"))
			}
			return nil
		})
		c := bus.NewConsumer("billing", d.onOrders(),
			d.onMessages("acme", bus.HasHeader("tenant", "acme")),
			d.onMessages("both", bus.Named("order.noted", "x").And(bus.HasHeader("tenant", "acme"), bus.InTopic("shop.order"))))
		end := run(t, c, d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "order-1@1 {1}")
		d.wantParked(t, "billing", "shop.order/0 order-2 waiting 1: handle shop.order/0 offset 1: refused")
		d.mu.Lock()
		fail = false
		d.mu.Unlock()
		d.retry(t, "billing", "shop.order/0", "order-2")
		after(time.Minute)
		d.want(t, "order-1@1 {1}", "order-2@1 {2}", "acme: 2 2", "both: 2 2")
		end()
	})
}

// Consumers of two names each get every message.
func TestTwoConsumersGetAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, d := memory.NewBroker(1), newDesk()
		publish(t, broker, noteAt(t, "1", 1, 1))
		all := func(bus.Received) bool { return true }
		endA := run(t, bus.NewConsumer("a", d.onMessages("a", all)), d, broker.Source("shop.order"))
		after(time.Minute)
		endB := run(t, bus.NewConsumer("b", d.onMessages("b", all)), d, broker.Source("shop.order"))
		after(time.Minute)
		d.want(t, "a: 1 1", "b: 1 1")
		endA()
		endB()
	})
}

func TestMatches(t *testing.T) {
	t.Parallel()
	event := bus.Received{Message: noteAt(t, "1", 1, 1)}
	cloud := bus.Received{Message: bus.Message{Topic: "legacy", Headers: []bus.Header{{Key: "ce_type", Value: []byte("order.noted")}, {Key: "ce_type", Value: []byte("second")}}}}
	bare := bus.Received{Message: bus.Message{Topic: "legacy", Headers: []bus.Header{{Key: "empty"}}}}
	for name, c := range map[string]struct {
		match bus.Match
		want  [3]bool // of event, cloud, bare
	}{
		"a name":                 {bus.Named("x", "order.noted"), [3]bool{true, true, false}},
		"the first header":       {bus.Named("second"), [3]bool{}},
		"no name":                {bus.Named(""), [3]bool{}},
		"a header":               {bus.HasHeader("annals-position", "1"), [3]bool{true, false, false}},
		"an empty header":        {bus.HasHeader("empty", ""), [3]bool{false, false, true}},
		"a topic":                {bus.InTopic("x", "legacy"), [3]bool{false, true, true}},
		"a topic and a name":     {bus.InTopic("legacy").And(bus.Named("order.noted")), [3]bool{false, true, false}},
		"a topic, without other": {bus.InTopic("legacy").And(), [3]bool{false, true, true}},
	} {
		if got := [3]bool{c.match(event), c.match(cloud), c.match(bare)}; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestConsumerApply(t *testing.T) {
	t.Parallel()
	d := newDesk()
	c := bus.NewConsumer("billing", d.onOrders(), bus.OnMessage(bus.HasHeader("bad", "1"), func(context.Context, *memory.Tx, bus.Received) error { panic("oh") }))
	tx := d.Begin()
	if err := c.Apply(t.Context(), tx, bus.Received{Message: noteAt(t, "1", 1, 7)}, bus.Received{Message: messageAt(t, "other", "1", 1, 8)}); err != nil {
		t.Error(err)
	}
	err := c.Apply(t.Context(), tx, bus.Received{Message: noteAt(t, "1", 2, 9)}, bus.Received{Message: with(bus.Message{}, "bad", "1")})
	if want := "event 1 of the batch: panic: oh"; err == nil || err.Error() != want {
		t.Errorf("Apply = %v, want %s", err, want)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	d.want(t, "order-1@1 {7}", "order-1@2 {9}")
}

func TestNewConsumerPanics(t *testing.T) {
	t.Parallel()
	d := newDesk()
	for want, fn := range map[string]func(){
		`bus: NewConsumer("") with 1 routes: want a name and a route`:  func() { bus.NewConsumer("", d.onOrders()) },
		`bus: NewConsumer("x") with 0 routes: want a name and a route`: func() { bus.NewConsumer[*memory.Tx]("x") },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			fn()
		}()
	}
}

func TestConsumerOptions(t *testing.T) {
	t.Parallel()
	d, broker := newDesk(), memory.NewBroker(1)
	for want, o := range map[string]bus.ConsumerOption{
		"run consumer/x: option WithBatch: 0: want 1 to 10000":                                         bus.WithBatch(0),
		"run consumer/x: option WithMemory: 960h0m0s: want more than 960h0m0s, 40 days, or 0 for ever": bus.WithMemory(40 * 24 * time.Hour),
		"run consumer/x: option WithMemory: -1ns: want more than 960h0m0s, 40 days, or 0 for ever":     bus.WithMemory(-1),
		"run consumer/x: option WithDeadLetter: the publisher is nil":                                  bus.WithDeadLetter(nil, bus.Contract{Topic: "dead"}),
		"run consumer/x: option WithDeadLetter: the topic has no name":                                 bus.WithDeadLetter(broker, bus.Contract{}),
	} {
		if err := bus.NewConsumer("x", d.onOrders()).Run(t.Context(), d, broker.Source("t"), o); err == nil || err.Error() != want {
			t.Errorf("Run = %v, want %s", err, want)
		}
	}
}
