package cli_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// published is a store whose relay has published five events, and not the sixth.
func published(t *testing.T) (url string, db *postgres.DB, client *kgo.Client, brokers string) {
	t.Helper()
	url, db = database(t)
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if client, err = kafka.NewClient(kgo.SeedBrokers(b.Seeds...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for i := range 5 {
		appendTo(t, db, fmt.Sprint("order-", i%2), placed("{}"))
	}
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"), bus.WithOtherTopics(bus.Contract{Partitions: 1}))
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendTo(t, db, "order-1", placed("{}"))
	return url, db, client, strings.Join(b.Seeds, ",")
}

// messages returns the positions of the messages of a topic, each with what marks it.
func messages(t *testing.T, brokers, topic string, n int) (all []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for len(all) < n {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			m := bus.Message{Topic: r.Topic, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: h.Value})
			}
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.TrimSpace(fmt.Sprint(e.Position, " ", bus.ReplayOf(m))))
		}
	}
	return all
}

func TestRelayReplay(t *testing.T) {
	t.Parallel()
	url, _, _, brokers := published(t)
	args := func(more ...string) []string {
		return append([]string{"relay", "replay", "--brokers", brokers, "--domain", "shop", "--id", "r1"}, more...)
	}
	check(t, run(t, url, args("--from-position", "2", "--to-position", "4", "--rate", "1000")),
		result{Stderr: "published 3 events of relay/main again, up to position 4, with the header annals-replay: r1\n"})
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5", "2 r1", "3 r1", "4 r1"}, messages(t, brokers, "shop.order", 8)); diff != "" {
		t.Errorf("shop.order: %s", diff)
	}
	check(t, run(t, url, args("relay/main", "--to-topic", "copy", "--from-time", "2020-01-01T00:00:00Z", "--category", "order", "--name", "order.placed", "--stream", "order-1,order-2")),
		result{Stderr: "published 2 events of relay/main again, up to position 5, with the header annals-replay: r1\n"})
	if diff := cmp.Diff([]string{"2 r1", "4 r1"}, messages(t, brokers, "copy", 2)); diff != "" {
		t.Errorf("copy: %s", diff)
	}
}

// One that is ended says how to go on.
func TestRelayReplayGoesOn(t *testing.T) {
	t.Parallel()
	url, _, _, brokers := published(t)
	check(t, run(t, url, strings.Fields("relay replay --domain shop --id r1 --rate 0.001 --timeout 5s --brokers "+brokers)), result{Code: 1, Stderr: "published 1 events of relay/main again, up to position 1, with the header annals-replay: r1; go on with --from-position 2 --id r1\n" +
		"annals: replay relay/main behind position 1: context deadline exceeded (--timeout is 5s)\n"})
}

func TestRelayReplayRefuses(t *testing.T) {
	t.Parallel()
	url, db, client, brokers := published(t)
	for _, c := range []struct {
		args string
		want result
	}{
		{"a b", result{Code: 2, Stderr: "annals: relay replay: arguments: got 2, want one NAME at most, such as main\n"}},
		{"", result{Code: 2, Stderr: "annals: relay replay: name its brokers with --brokers, or the environment variable KAFKA_BROKERS\n"}},
		{"none --brokers " + brokers, result{Code: 1, Stderr: "annals: replay relay/none: there is no such checkpoint\n"}},
		{"--rate 0", result{Code: 2, Stderr: "annals: invalid argument \"0\" for \"--rate\" flag: want a number from 0.001 to 1000000000\n"}},
		{"--stream x", result{Code: 2, Stderr: "annals: relay replay: --stream: invalid stream \"x\": want category-id, such as order-o-1\n"}},
		{"--domain /", result{Code: 2, Stderr: "annals: relay replay: --domain: \"/\": want words of letters, digits, dashes and underscores, joined by dots, at most 128 bytes\n"}},
		{"--from-position 1 --from-time 2020-01-01T00:00:00Z", result{Code: 2, Stderr: "annals: relay replay: want one of --from-position and --from-time\n"}},
		{"--to-position 6 --brokers " + brokers, result{Code: 1, Stderr: "annals: replay relay/main behind position 0: relay/main has published up to position 5, and not 6: replay up to there\n"}},
		// Another domain than the relay's: it has not published there.
		{"--brokers " + brokers, result{Code: 1, Stderr: "annals: replay relay/main behind position 0: relay/main has published category order to topic annals.order, as it is now, up to position 0, and not 1: have the relay fill the topic first, or replay to another one\n"}},
	} {
		check(t, run(t, url, append([]string{"relay", "replay"}, strings.Fields(c.args)...)), c.want)
	}

	bad := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"), bus.WithMapper(func(event.Recorded) (bus.Message, bool, error) {
		return bus.Message{}, false, worker.Permanent(errors.New("no such customer"))
	}))
	if err := bad.Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
		t.Fatalf("Drain = %v, want ErrParked", err)
	}
	check(t, run(t, url, strings.Fields("relay replay --domain shop --id r2 --to-topic copy --brokers "+brokers)), result{Code: 1, Stderr: "published 5 events of relay/main again, up to position 6, with the header annals-replay: r2\n" +
		"annals: relay/main: 1 keys are parked: see annals parked; one of them: map order-1@3 (order.placed, position 6): no such customer\n"})
}

// What a service makes of its events is not undone by events as they are stored.
func TestRelayReplayRefusesAnotherMapper(t *testing.T) {
	t.Parallel()
	url, db, client, brokers := published(t)
	plain := bus.TopicPerCategory("shop")
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		r.Name = "order.public"
		return plain(r)
	}))
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "annals: replay relay/main: it has a mapper of its own: topic shop.order has order-1@3 (order.placed, position 6) as order.public, schema version 1, application/json, under key \"1\": have the service call Relay.Replay\n"
	for _, topic := range []string{"", "copy"} {
		check(t, run(t, url, append([]string{"relay", "replay", "--domain", "shop", "--brokers", brokers}, "--to-topic", topic)), result{Code: 1, Stderr: want})
	}
}
