package avro_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	"github.com/annals-go/annals/worker"
)

// seen is what took effect, and nothing may be parked of it.
type seen struct {
	mu   sync.Mutex
	what []string // guarded by mu
}

func (s *seen) see(_ context.Context, _ *memory.Tx, e event.Of[cartEvent]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what = append(s.what, fmt.Sprint(e.Data))
	return nil
}

func (s *seen) want(t *testing.T, want []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if diff := cmp.Diff(want, s.what); diff != "" {
		t.Error(diff)
	}
}

func nothingParked(t *testing.T, db *memory.DB, name string) {
	t.Helper()
	parked, err := db.Parked(t.Context(), worker.ParkedQuery{Name: name})
	if err != nil || len(parked) > 0 {
		t.Errorf("%s: parked %v, %v", name, parked, err)
	}
}

// While the registry is away, readers wait, and park nothing; then they go on.
func TestOutage(t *testing.T) {
	t.Parallel()
	for way, start := range map[string]func(t *testing.T, ctx context.Context, r *registry, db *memory.DB, s *seen) (name string, run func() error, done func()){
		"projection": func(_ *testing.T, ctx context.Context, r *registry, db *memory.DB, s *seen) (string, func() error, func()) {
			p := projection.New("seen", projection.On(carts(r), s.see))
			return p.Name(), func() error { return p.Run(ctx, db, projection.WithLogger(quiet)) }, func() {}
		},
		"consumer": func(t *testing.T, ctx context.Context, r *registry, db *memory.DB, s *seen) (string, func() error, func()) {
			broker := memory.NewBroker(1)
			if err := bus.NewRelay(db, broker, bus.WithDomain("shop"), bus.WithLogger(quiet)).Drain(ctx); err != nil {
				t.Fatal(err)
			}
			c := bus.NewConsumer("reader", bus.On(carts(r), s.see))
			return "consumer/reader", func() error { return c.Run(ctx, db, broker.Source("shop.cart"), bus.WithLogger(quiet)) }, func() {}
		},
		"relay": func(t *testing.T, ctx context.Context, r *registry, db *memory.DB, s *seen) (string, func() error, func()) {
			broker, in, out := memory.NewBroker(1), carts(r), carts(r)
			m := bus.TranslateAll(in, out, func(es []event.Of[cartEvent]) (cartEvent, bool, error) { return es[len(es)-1].Data, true, nil }, bus.TopicPerCategory("shop"))
			relay := bus.NewRelay(db, broker, bus.WithMapper(m), bus.WithLogger(quiet))
			return relay.Name(), func() error { return relay.Run(ctx) }, func() {
				for _, part := range broker.Messages("shop.cart") {
					for _, msg := range part {
						es, err := decodeCart(in, msg.Value)
						if err != nil {
							t.Fatal(err)
						}
						s.what = append(s.what, fmt.Sprint(es[0].Data))
					}
				}
			}
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, db, s := &registry{}, memory.New(), &seen{}
				stored, want := history(t, r)
				if way == "relay" { // makes one message of each stored event
					want = append(want[:5:5], want[6:]...)
				}
				if _, err := db.Append(t.Context(), event.Stream{Category: "cart", ID: "1"}, eventstore.Any(), stored...); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				name, run, done := start(t, ctx, r, db, s)
				r.setAway(true)
				before := r.count()
				ended := make(chan error, 1)
				go func() { ended <- run() }()
				after(time.Hour)
				s.want(t, nil)
				nothingParked(t, db, name)
				if asked := r.count() - before; asked < 10 || asked > 3600 {
					t.Errorf("asked %d times in an hour, want it to go on asking, not more than once a second", asked)
				}
				r.setAway(false)
				after(10 * time.Minute)
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run = %v", err)
				}
				done()
				s.want(t, want)
				nothingParked(t, db, name)
			})
		})
	}
}

func decodeCart(c *codec.Codec[cartEvent], data []byte) ([]event.Of[cartEvent], error) {
	return c.Decode(event.Recorded{Raw: event.Raw{Name: "cart.booked", Schema: 2, ContentType: avro.ContentType, Payload: data}})
}

// What the registry does not have, or refuses, is not appended; nor is anything while it
// is away, which is another error.
func TestRefusedBeforeItIsAppended(t *testing.T) {
	t.Parallel()
	refused := &avro.IncompatibleError{Subject: "cart.BookedV2", Version: 1, Field: "note", Rule: "no default"}
	for want, tc := range map[string]struct {
		r    *registry
		opts []avro.Option
		is   error
		not  error
	}{
		"encode cart.booked: event cannot be encoded: subject cart.BookedV2: schema is not registered: run annals schema register, or make the format with WithRegistration": {&registry{}, nil, avro.ErrNotRegistered, codec.ErrUnavailable},
		"encode cart.booked: event cannot be encoded: subject cart.BookedV2: subject cart.BookedV2: schema is not compatible with version 1 (BACKWARD_TRANSITIVE): field note: no default": {
			&registry{refuse: func(string, avro.Schema) error { return refused }}, []avro.Option{avro.WithRegistration()}, avro.ErrIncompatible, codec.ErrUnavailable},
		"encode cart.booked: subject cart.BookedV2: ask the registry: what the format looks up is out of reach": {&registry{away: true}, nil, codec.ErrUnavailable, codec.ErrUnencodable},
	} {
		db := memory.New()
		repo := aggregate.New[cart](db, "cart", carts(tc.r, tc.opts...))
		_, err := repo.Update(t.Context(), "1", func(cart) ([]cartEvent, error) { return []cartEvent{Booked{}}, nil })
		if !errors.Is(err, tc.is) || errors.Is(err, tc.not) || len(err.Error()) < len(want) || err.Error()[len(err.Error())-len(want):] != want {
			t.Errorf("Update = %v\nwant ... %s", err, want)
		}
		if page, err := db.ReadLog(t.Context(), eventstore.LogQuery{Limit: 10}); err != nil || len(page.Events) > 0 {
			t.Errorf("appended %v, %v", page.Events, err)
		}
	}
}
