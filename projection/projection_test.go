package projection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/upcast"
	"github.com/annals-go/annals/worker"
)

type (
	Event   interface{ isAccount() }
	Paid    struct{ Cents int64 }
	Noted   struct{ Text string }
	paidV1  struct{ Euros int64 }
	foreign interface{ isForeign() }
	Other   struct{}
)

func (Paid) isAccount()  {}
func (Noted) isAccount() {}
func (Other) isForeign() {}

var Codec = codec.JSON(codec.Types[Event]{"account.paid": Paid{}, "account.noted": Noted{}},
	upcast.Split("account.paid", 1, func(v paidV1) []any {
		return []any{Paid{Cents: v.Euros * 100}, Noted{Text: "was euros"}}
	}, upcast.Into[Paid]("account.paid", 2), upcast.Into[Noted]("account.noted", 1)))

var foreignCodec = codec.JSON(codec.Types[foreign]{"foreign.made": Other{}})

// ledger is a read model that counts what should be applied once. Its effect is
// appended in the transaction, so that it rolls back with it.
type ledger struct {
	*memory.DB
	fail func(e event.Of[Event]) error
}

var effects = event.Stream{Category: "effect", ID: "1"}

func (l *ledger) projection(name string) *projection.Projection[*memory.Tx] {
	return projection.New(name, projection.On(Codec, func(ctx context.Context, tx *memory.Tx, e event.Of[Event]) error {
		if l.fail != nil {
			if err := l.fail(e); err != nil {
				return err
			}
		}
		text := fmt.Sprintf("%d/%d %v", e.Position, e.Index, e.Data)
		_, err := l.Tx(tx).Append(ctx, effects, eventstore.Any(), event.Raw{Name: "effect.made", Schema: 1, ContentType: "text/plain", Payload: []byte(text), Metadata: event.MetadataFrom(ctx)})
		return err
	}))
}

func (l *ledger) effects(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for r, err := range l.ReadStream(t.Context(), effects, eventstore.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(r.Payload))
	}
	return out
}

func (l *ledger) append(t *testing.T, stream string, raws ...event.Raw) {
	t.Helper()
	s, err := event.ParseStream(stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), s, eventstore.Any(), raws...); err != nil {
		t.Fatal(err)
	}
}

func paid(t *testing.T, cents int64) event.Raw {
	t.Helper()
	raw, err := Codec.Encode(Paid{Cents: cents})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func raw(name string, schema int, payload string) event.Raw {
	return event.Raw{Name: name, Schema: schema, ContentType: "application/json", Payload: []byte(payload)}
}

var silent = projection.WithLogger(slog.New(slog.DiscardHandler))

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Error(diff)
	}
}

func TestCatchUpAppliesOnce(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	l.append(t, "account-a", paid(t, 1), raw("account.paid", 1, `{"Euros":2}`))
	l.append(t, "foreign-x", raw("foreign.made", 7, `?`)) // not its business, whatever it is
	p := l.projection("totals")
	for range 2 {
		if err := p.CatchUp(t.Context(), l.DB, silent, projection.WithBatch(1)); err != nil {
			t.Fatal(err)
		}
	}
	want(t, l.effects(t), "1/0 {1}", "2/0 {200}", "2/1 {was euros}")
	l.append(t, "account-a", paid(t, 3))
	if err := l.projection("totals").CatchUp(t.Context(), l.DB, silent); err != nil {
		t.Fatal(err)
	}
	if got := l.effects(t); len(got) != 4 {
		t.Errorf("effects %v, want the new one alone", got)
	}
}

func TestEffectsNameTheirCause(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	first := paid(t, 1)
	first.Metadata = event.Metadata{ID: event.NewID(), Correlation: "req-1", Actor: "ada"}
	l.append(t, "account-a", first)
	if err := l.projection("totals").CatchUp(t.Context(), l.DB, silent); err != nil {
		t.Fatal(err)
	}
	for r := range l.ReadStream(t.Context(), effects, eventstore.StreamQuery{}) {
		if m := r.Metadata; m.Correlation != "req-1" || m.Causation != first.Metadata.ID.String() || m.Actor != "ada" {
			t.Errorf("metadata %+v does not name its cause", m)
		}
	}
}

func TestFailedBatchLeavesNothingAndIsRepeated(t *testing.T) {
	t.Parallel()
	failures := 0
	l := &ledger{DB: memory.New()}
	l.fail = func(e event.Of[Event]) error {
		if e.Position == 2 && failures < 2 {
			failures++
			return errors.New("away")
		}
		return nil
	}
	l.append(t, "account-a", paid(t, 1), paid(t, 2), paid(t, 3))
	if err := l.projection("totals").CatchUp(t.Context(), l.DB, silent, projection.WithRetry(worker.Retry{Base: 1, Cap: 1})); err != nil {
		t.Fatal(err)
	}
	want(t, l.effects(t), "1/0 {1}", "2/0 {2}", "3/0 {3}")
}

// TestTwoProcesses: both run, and only one of them applies an event.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- l.projection("totals").Run(ctx, l.DB, silent, projection.WithBatch(2)) }()
	}
	for i := range 50 {
		l.append(t, "account-a", paid(t, int64(i)))
	}
	if err := l.projection("totals").CatchUp(t.Context(), l.DB, silent); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := l.effects(t); len(got) != 50 {
		t.Errorf("%d effects, want 50", len(got))
	}
}

// TestFromBroker goes the whole way: log, relay, broker, projection; then the
// topic is gone, made and filled again as somebody has decided, and has no effect again.
func TestFromBroker(t *testing.T) {
	t.Parallel()
	l, broker := &ledger{DB: memory.New()}, memory.NewBroker(3)
	relay := bus.NewRelay(l.DB, broker, bus.WithLogger(slog.New(slog.DiscardHandler)))
	p := l.projection("totals")
	run := func(until int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := relay.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		applied, delivered := 0, make(chan struct{}, 1000)
		hooks := projection.WithHooks(worker.Hooks{Applied: func(a worker.Applied) { delivered <- struct{}{}; applied += len(a.Events) }})
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, l.DB, silent, hooks, projection.From(broker.Source("annals.account"))) }()
		for offset := int64(0); offset < total(broker); {
			select {
			case <-delivered:
			case err := <-ended:
				t.Fatalf("Run = %v", err)
			}
			offset = read(t, l.DB, p.Name(), broker)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if got := len(l.effects(t)); got != until || applied > until {
			t.Errorf("%d effects, want %d", got, until)
		}
	}
	for i := range 20 {
		l.append(t, fmt.Sprint("account-", i%7), paid(t, int64(i)))
	}
	run(20)
	broker.Delete("annals.account")
	if err := bus.Decide(t.Context(), l.DB, relay.Name(), "annals.account", bus.Refill, "ada"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.append(t, fmt.Sprint("account-", i%7), paid(t, int64(i)))
	}
	run(30)
}

func total(b *memory.Broker) (n int64) {
	for _, p := range b.Messages("annals.account") {
		n += int64(len(p))
	}
	return n
}

// read counts the messages of today's topic that the checkpoint covers.
func read(t *testing.T, db *memory.DB, name string, b *memory.Broker) (n int64) {
	t.Helper()
	c, err := db.Checkpoint(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := b.Topics(t.Context(), "annals.account")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c {
		if m.Source == ids["annals.account"].ID {
			n += m.Offset
		}
	}
	return n
}
