package scenario_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

// promised are the headers that other programs count on.
var promised = []string{
	"annals-id", "annals-name", "annals-schema", "content-type", "annals-category", "annals-version", "annals-position",
	"annals-recorded-time", "annals-metadata", "annals-lineage",
	"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time",
}

// kcatRecord is a record as kcat -J prints it.
type kcatRecord struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Headers   []string `json:"headers"` // names and values in turn
	Key       string   `json:"key"`
	Payload   string   `json:"payload"`
}

func (r kcatRecord) header(name string) string {
	for i := 0; i+1 < len(r.Headers); i += 2 {
		if r.Headers[i] == name {
			return r.Headers[i+1]
		}
	}
	return ""
}

// kcat runs kcat, a client of librdkafka that is not ours.
func kcat(t *testing.T, b *broker.Broker, input string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", b.Seeds[0], "-q"}, args...)...)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat %v: %v: %s (it is installed by make kcat)", args, err, complaints.String())
	}
	return out
}

// A client that is not ours reads what a relay has published: keys, all headers, payloads
// byte by byte, each key in the partition where that client would have put it. What it
// publishes itself is a foreign message to a consumer, which parks it and goes on.
func TestFaultKcat(t *testing.T) {
	t.Parallel()
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client, err := kafka.NewClient(eager(b.Seeds)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	pool := connect(t, postgrestest.URL(t, workTables), 8)
	db, ctx := postgres.New(pool), bounded(t, 0)
	const partitions, keys = 6, 30
	for i := range 2 * keys {
		raw, err := workCodec.Encode(workNote{N: i})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			raw.Metadata.TraceParent, raw.Metadata.Actor = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "Ada \u00e4 \"1\""
		}
		if _, err := db.Append(ctx, event.Stream{Category: "order", ID: fmt.Sprint("o-", i%keys)}, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithOtherTopics(bus.Contract{Partitions: partitions}), bus.WithLogger(silent))
	if err := relay.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := db.ReadLog(ctx, eventstore.LogQuery{})
	if err != nil {
		t.Fatal(err)
	}
	lineage, err := relay.Lineage(ctx)
	if err != nil {
		t.Fatal(err)
	}

	const topic = "annals.order"
	records := map[string]kcatRecord{} // by event id
	partition := map[string]int32{}    // by key
	for _, r := range kcatRecords(t, kcat(t, b, "", "-C", "-J", "-e", "-o", "beginning", "-t", topic)) {
		records[r.header(bus.HeaderID)], partition[r.Key] = r, r.Partition
	}
	if len(records) != 2*keys {
		t.Errorf("kcat has read %d events, want %d", len(records), 2*keys)
	}
	for _, e := range page.Events {
		m, err := bus.MessageOf(topic, e, bus.CloudEvents("/annals"))
		if err != nil {
			t.Fatal(err)
		}
		want := kcatRecord{Topic: topic, Key: e.Stream.ID, Payload: string(e.Payload)}
		for _, h := range append(m.Headers, bus.Header{Key: bus.HeaderLineage, Value: []byte(lineage)}) {
			want.Headers = append(want.Headers, h.Key, string(h.Value))
		}
		got := records[e.Metadata.ID.String()]
		for _, name := range promised {
			if got.header(name) == "" {
				t.Errorf("%s: header %s is missing", e, name)
			}
		}
		got.Partition, got.Offset = 0, 0
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", e, diff)
		}
	}
	if spread := slices.Compact(slices.Sorted(maps.Values(partition))); len(spread) != partitions {
		t.Errorf("keys lie in the partitions %v, want %d", spread, partitions)
	}

	// The same keys, put by kcat with the partitioner of the Java client.
	var input strings.Builder
	for key := range partition {
		fmt.Fprintf(&input, "%s\tgarbage of %s\n", key, key)
	}
	kcat(t, b, input.String(), "-P", "-t", topic, "-K", "\t", "-X", "topic.partitioner=murmur2_random", "-H", "from=kcat")
	foreign := 0
	for _, r := range kcatRecords(t, kcat(t, b, "", "-C", "-J", "-e", "-o", "beginning", "-t", topic)) {
		if r.header("from") != "kcat" {
			continue
		}
		if foreign++; r.Partition != partition[r.Key] {
			t.Errorf("kcat puts key %s into partition %d, the relay into %d", r.Key, r.Partition, partition[r.Key])
		}
	}
	if foreign != keys {
		t.Errorf("kcat has put %d records, want %d", foreign, keys)
	}
	consumeForeign(t, ctx, b, db, keys)
	if got, err := pool.Exec(ctx, `SELECT FROM handled`); err != nil || got.RowsAffected() != 2*keys {
		t.Errorf("%d events took effect, %v, want %d", got.RowsAffected(), err, 2*keys)
	}
}

// consumeForeign consumes until so many keys are parked for their foreign messages, which
// are kept as they are.
func consumeForeign(t *testing.T, ctx context.Context, b *broker.Broker, db *postgres.DB, keys int) {
	t.Helper()
	c := bus.NewConsumer("tallies", bus.On(workCodec, tally1))
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(running, db, kafka.NewConsumer("tallies", []string{"annals.order"}, eager(b.Seeds)...), bus.WithLogger(silent))
	}()
	var parked []worker.Parked
	eventually(t, "what kcat has put is parked", func() bool {
		var err error
		if parked, err = db.Parked(ctx, worker.ParkedQuery{Name: c.Name(), State: worker.Waiting}); err != nil {
			t.Fatal(err)
		}
		return len(parked) == keys
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, p := range parked {
		if !strings.Contains(p.Error, bus.ErrForeign.Error()) {
			t.Errorf("%s is parked for %q, want that it is foreign", p.Key.Key, p.Error)
		}
	}
}

func kcatRecords(t *testing.T, out []byte) (records []kcatRecord) {
	t.Helper()
	for line := range bytes.Lines(out) {
		var r kcatRecord
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("read %q of kcat: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}
