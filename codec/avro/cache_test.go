package avro_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
)

// Callers that need the same schema share one call, and what it gives is kept.
func TestOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{block: make(chan struct{})}
		c := carts(r, avro.WithRegistration())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Encode(Booked{}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(r.block)
		wg.Wait()
		r.setAway(true)
		if _, err := c.Encode(Booked{}); err != nil || r.count() != 1 {
			t.Errorf("Encode = %v, asked %d times, want 1", err, r.count())
		}
	})
}

// A caller that gives up does not make the others fail.
func TestLeaderLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{block: make(chan struct{})}
		f := avro.New(r, avro.WithRegistration())
		if err := f.Declare("order.ordered", 1, orderType, true); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left, others := make(chan error, 1), make(chan error, 3)
		go func() { left <- f.Prepare(ctx) }()
		synctest.Wait()
		for range 3 {
			go func() { _, err := f.Marshal("order.ordered", 1, ordered()); others <- err }()
		}
		synctest.Wait()
		cancel()
		want := "subject order.Ordered: what the format looks up is out of reach: the registry has not answered: context canceled"
		if err := <-left; !errors.Is(err, codec.ErrUnavailable) || err.Error() != want {
			t.Errorf("Prepare = %v, want %s", err, want)
		}
		synctest.Wait()
		close(r.block)
		for range 3 {
			if err := <-others; err != nil {
				t.Error(err)
			}
		}
	})
}

// A registry that is away is asked once a second, and each call ends.
func TestRegistryIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &registry{away: true}
		c := carts(r, avro.WithRegistration())
		for range 100 {
			if _, err := c.Encode(Booked{}); !errors.Is(err, codec.ErrUnavailable) {
				t.Fatal(err)
			}
			after(100 * time.Millisecond)
		}
		if got := r.count(); got != 10 {
			t.Errorf("asked %d times in 10 s, want 10", got)
		}
		r.setAway(false)
		after(time.Second)
		if _, err := c.Encode(Booked{}); err != nil {
			t.Error(err)
		}
		hangs := &registry{block: make(chan struct{})}
		before := time.Now()
		_, err := carts(hangs, avro.WithTimeout(3*time.Second)).Encode(Booked{})
		if took := time.Since(before); !errors.Is(err, codec.ErrUnavailable) || took != 3*time.Second {
			t.Errorf("Encode = %v after %v", err, took)
		}
	})
}

// Codecs are made while others of the same format are already in use.
func TestDeclareBesidePrepare(t *testing.T) {
	t.Parallel()
	f := avro.New(&registry{}, avro.WithRegistration())
	if err := f.Declare("order.ordered", 1, orderType, false); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := errors.Join(f.Declare("order.ordered", 1, orderType, true), f.Prepare(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d := f.Declared(); len(d) != 1 || !d[0].Written {
		t.Errorf("declared %+v", d)
	}
}

func ExampleFormat() {
	registry := &registry{} // avro.NewClient(sr.URLs(...)) in a service
	format := avro.New(registry, avro.WithRegistration())
	orders := codec.New[Event](format, codec.Types[Event]{"order.ordered": Ordered{}})
	if err := format.Prepare(context.Background()); err != nil {
		fmt.Println(err)
	}
	raw, err := orders.Encode(Ordered{Order: "o-1"})
	fmt.Printf("%s % x %v\n", raw.Name, raw.Payload[:5], err)
	events, err := decode(orders, raw.Name, raw.Payload)
	fmt.Println(events[0].Data.(Ordered).Order, err)
	fmt.Println(format.Declared()[0].Subject)
	// Output:
	// order.ordered 00 00 00 00 01 <nil>
	// o-1 <nil>
	// order.Ordered
}
