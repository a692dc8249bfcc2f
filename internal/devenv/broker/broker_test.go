package broker

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Tests that need a broker of their own clear KAFKA_BROKERS, and therefore are not parallel.

func connect(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Seeds...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func run(t *testing.T) *Broker {
	t.Helper()
	t.Setenv("KAFKA_BROKERS", "")
	b, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestStartEmbedded(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "kafka.example.com:9092")
	b, err := StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if b.External || len(b.Seeds) != 1 {
		t.Errorf("got %+v, want one broker of our own", b)
	}
	if host, _, err := net.SplitHostPort(b.Seeds[0]); err != nil || host != "127.0.0.1" {
		t.Errorf("got seed %s, want one on 127.0.0.1", b.Seeds[0])
	}
	if err := connect(t, b).Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestTopicsAreNotMadeByUse(t *testing.T) {
	b := run(t)
	client := connect(t, b, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "absent"}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("got error %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
}

func TestGroupTimeouts(t *testing.T) {
	b := run(t)
	configs, err := kadm.NewClient(connect(t, b)).DescribeBrokerConfigs(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"group.consumer.session.timeout.ms":    "6000",
		"group.consumer.heartbeat.interval.ms": "500",
	}
	got := map[string]string{}
	for _, c := range configs[0].Configs {
		if _, ok := want[c.Key]; ok {
			got[c.Key] = c.MaybeValue()
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("configs (-got +want):\n%s", diff)
	}
}

func TestBrokersAtTheSameTime(t *testing.T) {
	one, two := run(t), run(t)
	if one.Seeds[0] == two.Seeds[0] {
		t.Errorf("got %s twice, want two addresses", one.Seeds[0])
	}
	one.Close()
	one.Close()
	if conn, err := net.Dial("tcp", one.Seeds[0]); err == nil {
		conn.Close()
		t.Error("connected to a closed broker")
	}
	if err := connect(t, two).Ping(t.Context()); err != nil {
		t.Errorf("ping the other broker: %v", err)
	}
}

func TestExternalBrokers(t *testing.T) {
	inner := run(t)
	t.Setenv("KAFKA_BROKERS", inner.Seeds[0])
	b, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &Broker{Seeds: inner.Seeds, External: true}
	if b.External != want.External || !cmp.Equal(b.Seeds, want.Seeds) {
		t.Errorf("got %+v, want %+v", b, want)
	}
	b.Close()
	if err := connect(t, inner).Ping(t.Context()); err != nil {
		t.Errorf("ping after Close of an external broker: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	b := run(t)
	t.Setenv("KAFKA_BROKERS", b.Seeds[0]+",nowhere")
	_, err := Start(t.Context())
	if want := `start broker: read KAFKA_BROKERS: "nowhere" is not host:port`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}

	t.Setenv("KAFKA_BROKERS", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

func TestParseSeeds(t *testing.T) {
	t.Parallel()
	got, err := parseSeeds("k1:9092, k2.example:9093,[::1]:9094")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, []string{"k1:9092", "k2.example:9093", "[::1]:9094"}); diff != "" {
		t.Errorf("seeds (-got +want):\n%s", diff)
	}
	for list, want := range map[string]string{
		"k1":             `read KAFKA_BROKERS: "k1" is not host:port`,
		"k1:9092,":       `read KAFKA_BROKERS: "" is not host:port`,
		":9092":          `read KAFKA_BROKERS: ":9092" is not host:port`,
		"k1:9092,k2:0":   `read KAFKA_BROKERS: "k2:0" has the port "0", want 1 to 65535`,
		"k1:kafka":       `read KAFKA_BROKERS: "k1:kafka" has the port "kafka", want 1 to 65535`,
		"k1:65536":       `read KAFKA_BROKERS: "k1:65536" has the port "65536", want 1 to 65535`,
		"kafka://k:9092": `read KAFKA_BROKERS: "kafka://k:9092" is not host:port`,
	} {
		if _, err := parseSeeds(list); err == nil || err.Error() != want {
			t.Errorf("parse %q: got error %v, want %s", list, err, want)
		}
	}
}

func TestBrokerInADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := StartIn(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	client := connect(t, first)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept"}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	want := "start broker in " + dir + ": another broker has locked " + filepath.Join(dir, "lock") + ": stop it, or name another directory"
	if _, err := StartIn(t.Context(), dir, 0); err == nil || err.Error() != want {
		t.Errorf("a second broker: got error %v, want %s", err, want)
	}
	_, port, err := net.SplitHostPort(first.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	at, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	again, err := StartIn(t.Context(), dir, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if again.Seeds[0] != first.Seeds[0] {
		t.Errorf("got address %s, want %s again", again.Seeds[0], first.Seeds[0])
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("kept", 0); end.Offset != 1 {
		t.Errorf("got end offset %d, want 1", end.Offset)
	}
	if _, err := StartIn(t.Context(), filepath.Join(dir, "lock"), 0); err == nil || !strings.HasPrefix(err.Error(), "start broker in "+dir) {
		t.Errorf("in a file: got error %v, want one that names it", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartIn(ctx, dir, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}
