package foreign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv/apache"
	"github.com/annals-go/annals/internal/devenv/schemas"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

type (
	Event interface{ isOrder() }
	Line  struct {
		Product string `avro:"product"`
		Count   int32  `avro:"count"`
	}
	Placed struct {
		Customer string            `avro:"customer"`
		Cents    int64             `avro:"cents"`
		At       time.Time         `avro:"at"`
		Note     *string           `avro:"note"`
		Lines    []Line            `avro:"lines"`
		Labels   map[string]string `avro:"labels"`
		Fee      *big.Rat          `avro:"fee,decimal(10,2)"`
	}
	Shipped struct {
		Tracking string  `avro:"tracking"`
		Weight   float64 `avro:"weight"`
	}
)

func (Placed) isOrder()  {}
func (Shipped) isOrder() {}

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// patience bounds what waits for other processes.
const patience = 2 * time.Minute

// program runs testdata/Foreign.java.
func program(t *testing.T, input string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	java, err := apache.Java(ctx)
	if err != nil {
		t.Fatal(err)
	}
	jars, err := apache.Jars(ctx, "foreign",
		"org.apache.kafka:kafka-clients:"+apache.Newest, "org.apache.avro:avro:1.12.0", "org.slf4j:slf4j-nop:1.7.36")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, java, append([]string{"-cp", jars, filepath.Join("testdata", "Foreign.java")}, args...)...)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Foreign.java %v: %v: %s", args, err, complaints.String())
	}
	return out
}

// record is what Foreign.java prints of one.
type record struct {
	Key     string
	Magic   int
	ID      int
	Schema  string
	Whole   bool // the value ends where the record does
	Value   map[string]any
	Headers map[string]string
}

// place is a registry, a codec whose schemas are in it, and brokers.
type place struct {
	registry string
	client   *avro.Client
	format   *avro.Format
	codec    *codec.Codec[Event]
	seeds    []string
}

func newPlace(t *testing.T, seeds []string) *place {
	t.Helper()
	r, err := schemas.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	client, err := avro.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	f := avro.New(client, avro.WithRegistration())
	return &place{r.URL, client, f, codec.New[Event](f, codec.Types[Event]{"order.placed": Placed{}, "order.shipped": Shipped{}}), seeds}
}

func (p *place) options() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(p.seeds...), kgo.MetadataMinAge(250 * time.Millisecond)}
}

// A Java program without a line of ours decodes what a relay has published, by what the
// registry says, and we read what it has written with a schema that it has changed.
func TestApacheForeignReader(t *testing.T) {
	t.Parallel()
	cluster, err := apache.Start(t.Context(), apache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	p := newPlace(t, cluster.Seeds)
	// The cluster may be one that outlives the test.
	domain := "foreign-" + event.NewID().String()
	t.Run("theirs", func(t *testing.T) { p.theyRead(t, domain) })
	t.Run("ours", func(t *testing.T) { p.weRead(t, domain+".web") })
}

func (p *place) theyRead(t *testing.T, domain string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := postgres.New(postgrestest.Pool(t))
	note, at := "ring twice \u00e9", time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	type line = map[string]any
	want := map[string]map[string]any{} // by event id
	for _, e := range []struct {
		id    string
		event Event
		value map[string]any
	}{
		{"o-1", Placed{Customer: "c-17", Cents: 1 << 53, At: at, Note: &note, Lines: []Line{{"p-1", 2}, {"p-2", 1}}, Labels: map[string]string{"channel": "web"}, Fee: big.NewRat(-5, 4)}, map[string]any{
			"customer": "c-17", "cents": json.Number(strconv.Itoa(1 << 53)), "at": json.Number(strconv.FormatInt(at.UnixMicro(), 10)), "note": note,
			"lines": []any{line{"product": "p-1", "count": json.Number("2")}, line{"product": "p-2", "count": json.Number("1")}}, "labels": map[string]any{"channel": "web"}, "fee": "\u0083",
		}},
		{"o-2", Placed{Customer: "", At: at, Fee: new(big.Rat)}, map[string]any{
			"customer": "", "cents": json.Number("0"), "at": json.Number(strconv.FormatInt(at.UnixMicro(), 10)), "note": nil, "lines": []any{}, "labels": map[string]any{}, "fee": "\u0000",
		}},
		{"o-1", Shipped{Tracking: "t-1", Weight: 1.5}, map[string]any{"tracking": "t-1", "weight": json.Number("1.5")}},
	} {
		raw, err := p.codec.Encode(e.event)
		if err != nil {
			t.Fatal(err)
		}
		raw.Metadata.ID = event.NewID()
		if _, err := db.Append(ctx, event.Stream{Category: "order", ID: e.id}, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
		want[raw.Metadata.ID.String()] = e.value
	}
	client, err := kafka.NewClient(p.options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain(domain), bus.WithOtherTopics(bus.Contract{Partitions: 3}), bus.WithLogger(silent))
	if err := relay.Drain(ctx); err != nil {
		t.Fatal(err)
	}

	page, err := db.ReadLog(ctx, eventstore.LogQuery{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]record{}
	d := json.NewDecoder(bytes.NewReader(program(t, "", "read", strings.Join(p.seeds, ","), domain+".order", p.registry, strconv.Itoa(len(want)))))
	d.UseNumber()
	for d.More() {
		var r record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got[r.Headers[bus.HeaderID]] = r
	}
	for _, e := range page.Events {
		r := got[e.Metadata.ID.String()]
		i := slices.IndexFunc(p.format.Declared(), func(d avro.Declared) bool { return d.Name == e.Name && d.Written })
		declared := p.format.Declared()[i]
		id, err := p.client.Lookup(ctx, declared.Subject, declared.Schema)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, record{
			Key: e.Stream.ID, Magic: 0, ID: id, Schema: declared.Subject, Whole: true, Value: want[e.Metadata.ID.String()], Headers: r.Headers,
		}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", e, diff)
		}
		if r.Headers["annals-name"] != e.Name || r.Headers["content-type"] != avro.ContentType || r.Headers["ce_type"] != e.Name {
			t.Errorf("%s: headers say %v", e, r.Headers)
		}
	}
}

// evolved is what the other service has made of the schema of order.placed: it has moved a
// field, left one out, and added two.
const evolved = `{"type":"record","name":"Placed","namespace":"order","fields":[
	{"name":"cents","type":"long"},
	{"name":"customer","type":"string"},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
	{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
		{"name":"product","type":"string"},{"name":"count","type":"int"},{"name":"gift","type":["null","string"],"default":null}]}}},
	{"name":"labels","type":{"type":"map","values":"string"}},
	{"name":"fee","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}],"default":null},
	{"name":"source","type":{"type":"enum","name":"Source","symbols":["WEB","SHOP"]},"default":"WEB"}]}`

func (p *place) weRead(t *testing.T, topic string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(p.options()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, -1, nil, topic); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.format.Declared(), func(d avro.Declared) bool { return d.Name == "order.placed" })
	declared := p.format.Declared()[i]
	if err := p.format.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "Placed.avsc")
	if err := os.WriteFile(file, []byte(evolved), 0o600); err != nil {
		t.Fatal(err)
	}
	out := program(t, `{"cents":1999,"customer":"c-9","at":1772600767000008,"lines":[{"product":"p-1","count":3,"gift":{"string":"red"}}],
		"labels":{"k":"v"},"fee":{"bytes":"\u007d"},"source":"SHOP"}`,
		"write", strings.Join(p.seeds, ","), topic, p.registry, declared.Subject, file, "o-9", "from=java")
	id, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if versions, err := p.client.Versions(ctx, declared.Subject); err != nil || len(versions) != 2 || versions[1].ID != id {
		t.Errorf("the registry has %+v, %v: want the schema of the other service as version 2, with id %d", versions, err, id)
	}

	type seen struct {
		Key   string
		From  string
		Value Placed
	}
	arrived := make(chan seen, 1)
	consumer := bus.NewConsumer("orders of the web", bus.OnMessage(bus.InTopic(topic), func(_ context.Context, _ *memory.Tx, m bus.Received) error {
		s := seen{Key: string(m.Key), From: string(m.Headers[0].Value)}
		err := p.format.Unmarshal("order.placed", 1, m.Value, &s.Value)
		if err == nil {
			arrived <- s
		}
		return err
	}))
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(running, memory.New(), kafka.NewConsumer(topic, []string{topic}, p.options()...), bus.WithLogger(silent))
	}()
	select {
	case got := <-arrived:
		want := seen{"o-9", "java", Placed{
			Customer: "c-9", Cents: 1999, At: time.UnixMicro(1772600767000008).UTC(), Lines: []Line{{"p-1", 3}}, Labels: map[string]string{"k": "v"}, Fee: big.NewRat(5, 4),
		}}
		if diff := cmp.Diff(got, want, cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("what the other service has written (-got +want):\n%s", diff)
		}
	case err := <-ended:
		t.Fatalf("the consumer ended: %v", err)
	case <-ctx.Done():
		t.Fatal("what the other service has written did not arrive")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
