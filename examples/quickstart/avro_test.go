package quickstart_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/examples/quickstart"
	"github.com/annals-go/annals/internal/devenv/schemas"
	"github.com/annals-go/annals/internal/guidetest"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/upcast"
)

func registry(t *testing.T) *schemas.Registry {
	t.Helper()
	r, err := schemas.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func newFormat(t *testing.T, r *schemas.Registry, opts ...avro.Option) *avro.Format {
	t.Helper()
	client, err := avro.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	f, err := quickstart.NewFormat(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var invoice = event.Stream{Category: "invoice", ID: "i-1"}

// store appends events as the codec writes them.
func store(t *testing.T, db *memory.DB, c *codec.Codec[quickstart.InvoiceEvent], events ...quickstart.InvoiceEvent) {
	t.Helper()
	for _, e := range events {
		raw, err := c.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Append(t.Context(), invoice, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, db *memory.DB, c *codec.Codec[quickstart.InvoiceEvent]) (all []quickstart.InvoiceEvent) {
	t.Helper()
	for r, err := range db.ReadStream(t.Context(), invoice, eventstore.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		events, err := c.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			all = append(all, e.Data)
		}
	}
	return all
}

var due = time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)

// The format needs the registry to prepare, and to read a schema for the first time.
func TestAvro(t *testing.T) {
	t.Parallel()
	r, db := registry(t), memory.New()
	invoices, err := quickstart.Open(t.Context(), newFormat(t, r, avro.WithRegistration()))
	if err != nil {
		t.Fatal(err)
	}
	note := "thank you"
	events := []quickstart.InvoiceEvent{
		quickstart.Issued{Customer: "c-1", Cents: 1250, Due: due, Note: &note, Currency: "USD"}, quickstart.Paid{Cents: 1250, By: "CARD"},
	}
	store(t, db, invoices, events...)
	if diff := cmp.Diff(load(t, db, invoices), events); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}

	// Another program, which registers nothing, finds the schemas that it needs.
	if _, err := quickstart.Open(t.Context(), newFormat(t, r)); err != nil {
		t.Error(err)
	}
	// With the registry gone, who has prepared goes on, also reading what it has read before.
	r.Close()
	store(t, db, invoices, events...)
	if got := load(t, db, invoices); len(got) != 4 {
		t.Errorf("got %d events, want 4", len(got))
	}
	// Who has not waits: the event is not to blame.
	late := quickstart.Invoices(newFormat(t, r, avro.WithTimeout(50*time.Millisecond)))
	if _, err := late.Encode(events[0]); !errors.Is(err, codec.ErrUnavailable) || errors.Is(err, codec.ErrUnencodable) {
		t.Errorf("a writer that has not prepared: got %v, want that the registry is away", err)
	}
}

// What the registry does not have, or does not allow, is refused before it is appended.
func TestAvroRefused(t *testing.T) {
	t.Parallel()
	r := registry(t)
	format := newFormat(t, r)
	invoices := quickstart.Invoices(format)
	if _, err := quickstart.Open(t.Context(), format); !errors.Is(err, avro.ErrNotRegistered) {
		t.Errorf("Open: got %v, want that nothing is registered", err)
	}
	if _, err := invoices.Encode(quickstart.Paid{By: "CARD"}); !errors.Is(err, avro.ErrNotRegistered) || !errors.Is(err, codec.ErrUnencodable) {
		t.Errorf("Encode: got %v, want that nothing is registered", err)
	}
	client, err := avro.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	// An earlier program had money as text.
	earlier := `{"type":"record","name":"Paid","namespace":"invoice","fields":[{"name":"cents","type":"string"},{"name":"by","type":"string"}]}`
	if _, err := client.Register(t.Context(), "invoice.Paid", avro.Schema{Text: earlier}); err != nil {
		t.Fatal(err)
	}
	registering := quickstart.Invoices(newFormat(t, r, avro.WithRegistration()))
	var refused *avro.IncompatibleError
	if _, err := registering.Encode(quickstart.Paid{By: "CARD"}); !errors.As(err, &refused) || refused.Subject != "invoice.Paid" {
		t.Errorf("Encode: got %v, want that the registry refuses the schema", err)
	}
}

// Both kinds of evolution at once: a stored shape of version 1 goes through its schema and
// the upcaster, one of version 2 without the new field gets the default.
func TestAvroEvolution(t *testing.T) {
	t.Parallel()
	type (
		issuedV1 struct {
			Customer string `avro:"customer"`
			Euros    int64  `avro:"euros"`
		}
		issued struct { // of version 2, before there were currencies
			Customer string    `avro:"customer"`
			Cents    int64     `avro:"cents"`
			Due      time.Time `avro:"due,date"`
			Note     *string   `avro:"note"`
		}
	)
	r, db := registry(t), memory.New()
	first := codec.New(newFormat(t, r, avro.WithRegistration()), codec.Types[any]{"invoice.issued": issuedV1{}})
	second := codec.New(newFormat(t, r, avro.WithRegistration()), codec.Types[any]{"invoice.issued": issued{}},
		upcast.Step("invoice.issued", 1, func(v issuedV1) issued { return issued{Customer: v.Customer, Cents: v.Euros * 100} }))
	for _, e := range []struct {
		c *codec.Codec[any]
		v any
	}{{first, issuedV1{"c-1", 7}}, {second, issued{"c-2", 900, due, nil}}} {
		raw, err := e.c.Encode(e.v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Append(t.Context(), invoice, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	invoices, err := quickstart.Open(t.Context(), newFormat(t, r, avro.WithRegistration()))
	if err != nil {
		t.Fatal(err)
	}
	want := []quickstart.InvoiceEvent{
		quickstart.Issued{Customer: "c-1", Cents: 700, Currency: "EUR"},
		quickstart.Issued{Customer: "c-2", Cents: 900, Due: due, Currency: "EUR"},
	}
	if diff := cmp.Diff(load(t, db, invoices), want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// A service goes over from JSON to Avro, in two deployments.
func TestAvroAfterJSON(t *testing.T) {
	t.Parallel()
	r, db := registry(t), memory.New()
	format := newFormat(t, r, avro.WithRegistration())
	before, between, after := quickstart.Invoices(codec.JSONFormat()), quickstart.ReadsBoth(format), quickstart.WritesAvro(format)
	store(t, db, before, quickstart.Paid{Cents: 1, By: "CARD"})
	store(t, db, between, quickstart.Paid{Cents: 2, By: "CARD"})
	store(t, db, after, quickstart.Paid{Cents: 3, By: "CARD"})
	for name, c := range map[string]*codec.Codec[quickstart.InvoiceEvent]{"ReadsBoth": between, "WritesAvro": after} {
		if got := load(t, db, c); len(got) != 3 || got[0] != quickstart.InvoiceEvent(quickstart.Paid{Cents: 1, By: "CARD"}) {
			t.Errorf("%s reads %v", name, got)
		}
	}
	var formats []string
	for e, err := range db.ReadStream(t.Context(), invoice, eventstore.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		formats = append(formats, e.ContentType)
		if e.Version == 2 && !json.Valid(e.Payload) {
			t.Errorf("ReadsBoth has written %q, want JSON", e.Payload)
		}
	}
	if diff := cmp.Diff(formats, []string{"application/json", "application/json", avro.ContentType}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// TestGuideToAvro: what docs/avro.md shows is what is compiled and run here.
func TestGuideToAvro(t *testing.T) {
	t.Parallel()
	parts := []string{"types", "format", "prepare", "migrate"}
	guidetest.Fenced(t, "../../docs/avro.md", "avro.go", parts...)
	guide, err := os.ReadFile("../../docs/avro.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(guide), "```go\n"); got != len(parts) {
		t.Errorf("docs/avro.md has %d snippets of Go, of which %d are compiled", got, len(parts))
	}
	file, err := os.ReadFile("schemas/invoice.paid.v1.avsc")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(guide), "```json\n"+string(file)+"```\n") {
		t.Error("docs/avro.md does not show schemas/invoice.paid.v1.avsc as it is")
	}
}
