package kafka_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// records reads a topic from its beginning until there are n records.
func records(t *testing.T, seeds []string, topic string, n int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []*kgo.Record
	for len(all) < n {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

// The largest event that an append accepts is published with the defaults of client and
// broker, every header of it as long as it can be.
func TestTheLargestEventFits(t *testing.T) {
	t.Parallel()
	payload := make([]byte, eventstore.MaxPayloadBytes)
	_, _ = rand.Read(payload) // it never fails; and it does not compress
	e := event.Raw{
		Name: "o." + strings.Repeat("n", event.MaxNameBytes-2), Schema: 1<<15 - 1, Closes: true,
		ContentType: strings.Repeat("c", event.MaxNameBytes), Payload: payload,
		// A trace is in the metadata, and in a header of its own, and in one of CloudEvents.
		Metadata: event.Metadata{TraceParent: "x", EventTime: time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 5*60*60))},
	}
	stream := event.Stream{Category: strings.Repeat("c", event.MaxCategoryBytes), ID: strings.Repeat("i", event.MaxIDBytes)}
	grown := func(n int) []event.Raw {
		e.Metadata.TraceParent = strings.Repeat("t", n)
		return []event.Raw{e}
	}
	n := eventstore.MaxMetadataBytes
	for _, err := eventstore.Prepare(stream, grown(n)); err != nil; _, err = eventstore.Prepare(stream, grown(n)) {
		n--
	}
	db := memory.New()
	if _, err := db.Append(t.Context(), stream, eventstore.None(), grown(n)...); err != nil {
		t.Fatal(err)
	}
	seeds, client := open(t)
	domain := strings.Repeat("d", 128)
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain(domain),
		bus.WithMapper(bus.TopicPerCategory(domain, bus.CloudEvents("/"+strings.Repeat("s", bus.MaxSource-1)))))
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := records(t, seeds, bus.TopicName(domain, stream.Category), 1)[0]
	if !bytes.Equal(got.Value, payload) || string(got.Key) != stream.ID {
		t.Errorf("a record of %d bytes came, want %d", len(got.Value), len(payload))
	}
}

// F-61: a record has the time of the relay, and not that of its event, by which a topic
// would drop it.
func TestRecordTimeIsThatOfTheRelay(t *testing.T) {
	t.Parallel()
	db := memory.New()
	happened := time.Now().AddDate(-2, 0, 0).UTC()
	e := event.Raw{Name: "order.placed", Schema: 1, ContentType: "text/plain", Metadata: event.Metadata{EventTime: happened}}
	if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "o-1"}, eventstore.None(), e); err != nil {
		t.Fatal(err)
	}
	seeds, client := open(t)
	before := time.Now().Truncate(time.Millisecond)
	if err := bus.NewRelay(db, kafka.NewPublisher(client)).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := records(t, seeds, "annals.order", 1)[0]
	if r.Timestamp.Before(before) || r.Timestamp.After(time.Now()) {
		t.Errorf("record is of %v, want one of now, after %v", r.Timestamp, before)
	}
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	want := happened.Format(time.RFC3339Nano)
	if diff := cmp.Diff([]string{want, want}, []string{headers[bus.HeaderEventTime], headers[bus.HeaderCETime]}); diff != "" {
		t.Errorf("headers: %s", diff)
	}
}
