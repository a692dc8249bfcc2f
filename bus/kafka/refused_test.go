package kafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// P4, P7, P8: the whole way of an event that the broker refuses: its stream is parked,
// the others are published, and when the topic takes it, it comes before what is newer.
func TestRefusedEventIsParked(t *testing.T) {
	t.Parallel()
	seeds, client := open(t)
	db := memory.New()
	note := func(id string, payload []byte) {
		t.Helper()
		raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: payload}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: id}, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	large := make([]byte, 30_000) // random, so that it stays too large when compressed
	_, _ = rand.Read(large)
	for i := range 100 {
		note("o-"+string(rune('a'+i%7)), []byte("x"))
		if i == 50 {
			note("o-c", large)
		}
	}
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithOtherTopics(bus.Contract{Partitions: 1, MaxBytes: 20_000}), bus.WithDomain("shop"), bus.WithLogger(slog.New(slog.DiscardHandler)))
	err := relay.Drain(bounded(t))
	var parked *worker.ParkedError
	if !errors.As(err, &parked) || parked.Keys != 1 {
		t.Fatalf("Drain = %v, want one key parked", err)
	}
	all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()})
	if err != nil || len(all) != 1 || all[0].Key.Key != "order-o-c" || all[0].First != 52 || all[0].State != worker.Waiting {
		t.Fatalf("parked %+v, %v, want order-o-c from position 52 on", all, err)
	}
	limit(t, client, 2_000_000)
	amend := worker.Amender{Store: db, Name: relay.Name(), Actor: "ada"}
	if _, err := amend.RetryParked(t.Context(), 0, all[0].Key); err != nil {
		t.Fatal(err)
	}
	if err := relay.Drain(bounded(t)); err != nil {
		t.Fatal(err)
	}

	// Whoever reads the topic has each stream in order. Repeats are fine.
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	last, seen := map[event.Stream]event.Version{}, 0
	err = kafka.NewConsumer("totals", []string{topic}, kgo.SeedBrokers(seeds...)).Consume(ctx, &sink{deliver: func(d worker.Delivery) error {
		for _, e := range d.Events {
			if e.Version > last[e.Stream]+1 {
				t.Errorf("%s is delivered first after version %d", e, last[e.Stream])
			}
			if e.Version == last[e.Stream]+1 {
				last[e.Stream]++
				seen++
			}
		}
		if seen == 101 {
			cancel()
		}
		return nil
	}})
	if err != nil || seen != 101 {
		t.Errorf("Consume = %v, %d events, want 101", err, seen)
	}
}
