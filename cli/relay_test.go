package cli_test

import (
	"strings"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/postgres"
)

// relayed is a store with two events of orders and one of returns, of which relay/main has
// published the first ones.
func relayed(t *testing.T) (string, *postgres.DB, *memory.Broker, *bus.Relay) {
	t.Helper()
	url, db := database(t)
	broker := memory.NewBroker(2)
	relay := bus.NewRelay(db, broker, bus.WithTopics(bus.Contract{Topic: "annals.order", Owner: "ada" + hostile, Description: "orders"}))
	appendTo(t, db, "order-1", placed("{}"))
	e := placed("{}")
	e.Name = "return.placed"
	appendTo(t, db, "return-1", e)
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendTo(t, db, "order-1", placed("{}"))
	return url, db, broker, relay
}

func TestRelayList(t *testing.T) {
	t.Parallel()
	empty, _ := database(t)
	check(t, run(t, empty, []string{"relay", "ls"}), result{Stdout: "RELAY  POSITION  LAG  TOPIC  PARTITIONS  ID  SINCE  DECISION  OWNER\n"})
	url, db, _, _ := relayed(t)
	if err := bus.Decide(t.Context(), db, "relay/main", "annals.return", bus.Refill, "bob"); err != nil {
		t.Fatal(err)
	}
	agreed, err := db.Contracts(t.Context(), "relay/main")
	if err != nil {
		t.Fatal(err)
	}
	order, back := agreed["annals.order"], agreed["annals.return"]
	const stamp = "2006-01-02T15:04:05.000Z07:00"
	want := "RELAY       POSITION  LAG  TOPIC          PARTITIONS  ID                                    SINCE                     DECISION      OWNER\n" +
		"relay/main  2         1    annals.order   2           " + order.ID + "  " + order.Since.Format(stamp) + "  -             ada\\x1b[2Jred\\u202e\n" +
		"relay/main  2         1    annals.return  2           " + back.ID + "  " + back.Since.Format(stamp) + "  refill (bob)  -\n"
	for _, args := range [][]string{{}, {"main"}, {"relay/main"}} {
		check(t, run(t, url, append([]string{"relay", "ls"}, args...)), result{Stdout: want})
	}
	got := objects(t, run(t, url, []string{"relay", "ls", "--output", "json"}).Stdout)
	if len(got) != 2 || got[0]["relay"] != "relay/main" {
		t.Fatalf("%v, want an object for each topic", got)
	}
	topic, _ := got[1]["topic"].(map[string]any)
	if topic["name"] != "annals.return" || topic["id"] != back.ID || topic["decision"] != "refill" || topic["by"] != "bob" {
		t.Errorf("topic %v", topic)
	}
	check(t, run(t, url, []string{"relay", "ls", "other"}), result{Code: 1, Stderr: "annals: reader relay/other: there is none of that name, there are: relay/main, no others\n"})
}

func TestRelayWithoutTopics(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	appendTo(t, db, "order-1", placed("{}"))
	none := bus.WithMapper(func(event.Recorded) (bus.Message, bool, error) { return bus.Message{}, false, nil })
	if err := bus.NewRelay(db, memory.NewBroker(1), none).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, run(t, url, []string{"relay", "ls"}), result{Stdout: "RELAY       POSITION  LAG  TOPIC  PARTITIONS  ID  SINCE  DECISION  OWNER\nrelay/main  1         0    -      -           -   -      -         -\n"})
}

func TestRelayDecisions(t *testing.T) {
	t.Parallel()
	url, db, broker, relay := relayed(t)
	check(t, run(t, url, []string{"relay", "adopt", "main", "annals.order"}), result{Code: 2, Stderr: "annals: relay adopt: relay/main would publish to topic annals.order only what comes from now on: confirm with --yes\n"})
	check(t, run(t, url, []string{"relay", "refill", "main", "annals.order"}), result{Code: 2, Stderr: "annals: relay refill: relay/main would publish to topic annals.order everything from the beginning of the log: confirm with --yes\n"})
	check(t, run(t, url, []string{"relay", "adopt", "main"}), result{Code: 2, Stderr: "annals: relay adopt: arguments: got 1, want NAME and TOPIC, such as main shop.order\n"})
	check(t, run(t, url, []string{"relay", "adopt", "main", "shop.order", "--yes"}), result{Code: 1, Stderr: "annals: decide on topic shop.order of relay/main: the relay has not agreed on this topic\n"})

	broker.Delete("annals.order")
	err := relay.Drain(t.Context())
	if err == nil || !strings.Contains(err.Error(), "annals relay refill main annals.order") {
		t.Fatalf("Drain = %v, want it to say how to go on", err)
	}
	check(t, run(t, url, []string{"relay", "refill", "main", "annals.order", "--yes", "--actor", "eve"}), result{Stderr: "relay/main: refill of topic annals.order is done when the relay begins next: start it, or restart it if it runs\n"})
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(broker, "annals.order"); got != 2 {
		t.Errorf("%d messages, want both", got)
	}
	broker.Delete("annals.order")
	check(t, run(t, url, []string{"relay", "adopt", "relay/main", "annals.order", "--yes"}), result{Stderr: "relay/main: adopt of topic annals.order is done when the relay begins next: start it, or restart it if it runs\n"})
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(broker, "annals.order"); got != 0 {
		t.Errorf("%d messages, want none: they are not needed", got)
	}
	audit := run(t, url, []string{"parked", "audit", "main", "--output", "json"})
	got := objects(t, audit.Stdout)
	if len(got) != 2 || got[0]["action"] != "adopt" || got[1]["action"] != "refill" || got[1]["actor"] != "eve" || !strings.Contains(got[1]["detail"].(string), "topic annals.order: 2 partitions, id ") {
		t.Errorf("audit %+v, want both decisions", audit)
	}
	agreed, err := db.Contracts(t.Context(), "relay/main")
	if err != nil || agreed["annals.order"].Decision != bus.Undecided {
		t.Errorf("agreed on %+v, %v, want nothing left to do", agreed, err)
	}
}

func count(b *memory.Broker, topic string) (n int) {
	for _, p := range b.Messages(topic) {
		n += len(p)
	}
	return n
}
