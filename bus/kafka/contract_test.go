package kafka_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// A relay stops at a topic that was made otherwise, and does what was decided.
func TestRelayStopsAtATopicThatHasChanged(t *testing.T) {
	t.Parallel()
	_, client := open(t)
	db, admin := memory.New(), kadm.NewClient(client)
	note := func() {
		t.Helper()
		raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"), bus.WithLogger(slog.New(slog.DiscardHandler)))
	stops := func(want string) {
		t.Helper()
		if err := relay.Drain(bounded(t)); !errors.Is(err, bus.ErrTopicChanged) || !strings.Contains(err.Error(), want) {
			t.Fatalf("Drain = %v, want %q", err, want)
		}
	}
	goesOn := func(d bus.Decision, want int64) {
		t.Helper()
		if d != bus.Undecided {
			if err := bus.Decide(t.Context(), db, relay.Name(), topic, d, "ada"); err != nil {
				t.Fatal(err)
			}
		}
		if err := relay.Drain(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if n := stored(t, client); n != want {
			t.Fatalf("%d records are stored, want %d", n, want)
		}
	}
	note()
	note()
	goesOn(bus.Undecided, 2)

	if _, err := admin.CreatePartitions(bounded(t), 2, topic); err != nil {
		t.Fatal(err)
	}
	note()
	stops("has another number of partitions: it has 8 partitions, ")
	goesOn(bus.Adopt, 3)

	policy := "compact"
	if _, err := admin.AlterTopicConfigs(bounded(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, topic); err != nil {
		t.Fatal(err)
	}
	note()
	stops("is compacted (8 partitions, ")
	policy = "delete"
	if _, err := admin.AlterTopicConfigs(bounded(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, topic); err != nil {
		t.Fatal(err)
	}
	goesOn(bus.Undecided, 4)

	if _, err := admin.DeleteTopic(bounded(t), topic); err != nil {
		t.Fatal(err)
	}
	stops("is gone, ")
	goesOn(bus.Refill, 4)
}
