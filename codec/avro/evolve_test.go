package avro_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/upcast"
	"github.com/annals-go/annals/worker"
)

type (
	cartEvent interface{ isCart() }
	priceV1   struct{ Cents int64 } // was Price when this was the shape of today
	Price     struct {
		Cents    int64
		Currency string
	}
	Booked struct {
		Product string `avro:"product"`
		Price   Price  `avro:"price"`
		Note    string `avro:"note"`
	}
	bookedV1 struct {
		Product string  `avro:"product"`
		Price   priceV1 `avro:"price"`
		Note    string  `avro:"note,alias=remark,default=none"`
	}
	mergedV1 struct {
		Products []string `avro:"products"`
	}
	cart struct{ seen []string }
)

func (Booked) isCart() {}

func (c cart) Evolve(e cartEvent) cart {
	return cart{append(c.seen[:len(c.seen):len(c.seen)], fmt.Sprint(e))}
}

func carts(r *registry, opts ...avro.Option) *codec.Codec[cartEvent] {
	return codec.New[cartEvent](avro.New(r, opts...), codec.Types[cartEvent]{"cart.booked": Booked{}},
		upcast.Step("cart.booked", 1, func(v bookedV1) Booked { return Booked{v.Product, Price{v.Price.Cents, "EUR"}, v.Note} }),
		upcast.Split("cart.merged", 1, func(v mergedV1) (out []any) {
			for _, p := range v.Products {
				out = append(out, Booked{Product: p, Note: "merged"})
			}
			return out
		}, upcast.Into[Booked]("cart.booked", 2)),
		upcast.Rename("cart.reserved", "cart.booked"), upcast.Drop("cart.viewed"))
}

// history is what programs of earlier days have stored, each with its own schema, and how
// it reads today.
func history(t *testing.T, r *registry) (stored []event.Raw, want []string) {
	t.Helper()
	add := func(name, record, fields string, v map[string]any, reads ...string) {
		text := `{"type":"record","name":"` + record + `","fields":[` + fields + `]}`
		payload := written(t, r.add(record, text), text, v)
		stored = append(stored, event.Raw{Name: name, Schema: 1, ContentType: avro.ContentType, Payload: payload})
		want = append(want, reads...)
	}
	const product, note = `{"name":"product","type":"string"}`, `{"name":"note","type":"string"}`
	price := func(typ string) string {
		return `{"name":"price","type":{"type":"record","name":"Price","fields":[{"name":"Cents","type":"` + typ + `"}]}}`
	}
	cents := map[string]any{"Cents": 5}
	add("cart.booked", "cart.Booked", product+","+price("long"), map[string]any{"product": "a", "price": cents}, "{a {5 EUR} none}")                   // before the note
	add("cart.booked", "cart.Booked", product+","+price("int")+","+note, map[string]any{"product": "b", "price": cents, "note": "n"}, "{b {5 EUR} n}") // int
	add("cart.booked", "cart.Booked", product+`,{"name":"remark","type":"string"},`+price("long"), map[string]any{"product": "c", "price": cents, "remark": "r"}, "{c {5 EUR} r}")
	add("cart.booked", "cart.Booked", note+","+price("long")+`,{"name":"clerk","type":["null","string"]},`+product, map[string]any{"product": "d", "price": cents, "note": "n", "clerk": "k"}, "{d {5 EUR} n}")
	add("cart.reserved", "old.Reservation", product+","+price("long")+","+note, map[string]any{"product": "e", "price": cents, "note": "n"}, "{e {5 EUR} n}")
	add("cart.merged", "cart.Merged", `{"name":"products","type":{"type":"array","items":"string"}}`, map[string]any{"products": []string{"f", "g"}}, "{f {0 } merged}", "{g {0 } merged}")
	stored = append(stored, event.Raw{Name: "cart.viewed", Schema: 3, ContentType: avro.ContentType, Payload: []byte("anything")})
	now, err := carts(r, avro.WithRegistration()).Encode(Booked{"h", Price{7, "USD"}, "now"})
	if err != nil || now.Schema != 2 {
		t.Fatal(now, err)
	}
	return append(stored, now), append(want, "{h {7 USD} now}")
}

var quiet = slog.New(slog.DiscardHandler)

// Schemas of writers and upcasters work together, whichever way an event comes.
func TestBothEvolutions(t *testing.T) {
	t.Parallel()
	r := &registry{}
	stored, want := history(t, r)
	c, db := carts(r), memory.New()
	if _, err := db.Append(t.Context(), event.Stream{Category: "cart", ID: "1"}, eventstore.Any(), stored...); err != nil {
		t.Fatal(err)
	}
	same := func(way string, got []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", way, diff)
		}
	}
	loaded, err := aggregate.New[cart](db, "cart", c).Load(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	same("load", loaded.State.seen)

	var got []string
	see := func(_ context.Context, _ *memory.Tx, e event.Of[cartEvent]) error {
		got = append(got, fmt.Sprint(e.Data))
		return nil
	}
	if err := projection.New("seen", projection.On(c, see)).CatchUp(t.Context(), db, projection.WithLogger(quiet)); err != nil {
		t.Fatal(err)
	}
	same("projection", got)

	got = nil
	broker := memory.NewBroker(1)
	if err := bus.NewRelay(db, broker, bus.WithDomain("shop"), bus.WithLogger(quiet)).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	consume(t, c, broker.Source("shop.cart"), see, len(stored))
	same("consumer", got)
}

func consume(t *testing.T, c *codec.Codec[cartEvent], from bus.Source, see func(context.Context, *memory.Tx, event.Of[cartEvent]) error, events int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := events
	hooks := bus.WithHooks(worker.Hooks{Applied: func(a worker.Applied) {
		if left -= len(a.Events); left <= 0 {
			cancel()
		}
	}})
	if err := bus.NewConsumer("reader", bus.On(c, see)).Run(ctx, memory.New(), from, hooks, bus.WithLogger(quiet)); err != nil {
		t.Fatal(err)
	}
}

// What names a schema that the registry has lost is parked, and reads when it is back.
func TestParkedUntilTheSchemaIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		stored, want := history(t, r)
		lost := r.lose()
		c, db := carts(r), memory.New()
		if _, err := db.Append(t.Context(), event.Stream{Category: "cart", ID: "1"}, eventstore.Any(), stored...); err != nil {
			t.Fatal(err)
		}
		var got []string
		p := projection.New("seen", projection.On(c, func(_ context.Context, _ *memory.Tx, e event.Of[cartEvent]) error {
			got = append(got, fmt.Sprint(e.Data))
			return nil
		}))
		err := p.CatchUp(t.Context(), db, projection.WithLogger(quiet))
		if !errors.Is(err, worker.ErrParked) || len(got) != 0 {
			t.Fatalf("CatchUp = %v with %v, want it parked", err, got)
		}
		r.find(lost)
		after(2 * pause)
		a := worker.Amender{Store: db, Name: p.Name(), Actor: "ada"}
		if _, err := a.RetryAll(t.Context(), 1000, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.CatchUp(t.Context(), db, projection.WithLogger(quiet)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

const pause = time.Second // of the format, after a failure

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
