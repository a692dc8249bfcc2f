package avro_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/internal/devenv/apache"
)

// apicurio starts a registry of its own for a test, whose mode is BACKWARD_TRANSITIVE.
func apicurio(t *testing.T) (*apache.Apicurio, *avro.Client) {
	t.Helper()
	r, err := apache.StartApicurio(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	admin, err := sr.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	if got := admin.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackwardTransitive})[0]; got.Err != nil {
		t.Fatal(got.Err)
	}
	return r, newClient(t, sr.URLs(r.URL))
}

// One registry for all: a start takes 10 s.
func TestApicurio(t *testing.T) {
	t.Parallel()
	r, c := apicurio(t)
	check := func(t *testing.T, c *avro.Client) { apicurioChecks(t, c, r.URL) }
	for _, part := range []struct {
		name string
		test func(*testing.T, *avro.Client)
	}{
		{"nothing there", apicurioNothingThere},
		{"schemas", apicurioSchemas},
		{"modes", apicurioModes},
		{"refusals", apicurioRefusals},
		{"format", apicurioFormat},
		{"checks", check},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, c) }) //nolint:paralleltest // one after the other: they list subjects
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subjects(t.Context()); !errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Subjects of a registry that is gone: %v", err)
	}
	if _, err := c.Schema(t.Context(), 1); !errors.Is(err, codec.ErrUnavailable) || errors.Is(err, avro.ErrUnknownID) {
		t.Errorf("Schema of a registry that is gone: %v", err)
	}
	if _, err := newClient(t, sr.URLs(r.URL)).Register(t.Context(), "m.Cents", cents); !errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Register at a registry that is gone: %v", err)
	}
}

func apicurioNothingThere(t *testing.T, c *avro.Client) {
	ctx := t.Context()
	if got, err := c.Subjects(ctx); err != nil || len(got) != 0 {
		t.Errorf("Subjects = %v, %v", got, err)
	}
	if got, err := c.Versions(ctx, "m.Cents"); err != nil || len(got) != 0 {
		t.Errorf("Versions = %v, %v", got, err)
	}
	if _, err := c.Lookup(ctx, "m.Cents", cents); !errors.Is(err, avro.ErrNotRegistered) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := c.Schema(ctx, 999); !errors.Is(err, avro.ErrUnknownID) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Schema: %v", err)
	}
	if m, err := c.Mode(ctx, "m.Cents"); err != nil || m != avro.BackwardTransitive {
		t.Errorf("Mode = %v, %v", m, err)
	}
}

func apicurioSchemas(t *testing.T, c *avro.Client) {
	ctx := t.Context()
	id, err := c.Register(ctx, "m.Cents", cents)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Register(ctx, "m.Cents", cents); err != nil || again != id {
		t.Errorf("Register once more = %d, %v, want %d", again, err, id)
	}
	spaced := avro.Schema{Text: `{"name":"m.Cents", "type":"record", "fields":[ {"type":"long","name":"v"} ]}`}
	if same, err := c.Lookup(ctx, "m.Cents", spaced); err != nil || same != id {
		t.Errorf("Lookup of another spelling = %d, %v, want %d", same, err, id)
	}
	if _, err := c.Lookup(ctx, "m.Cents", avro.Schema{Text: `"string"`}); !errors.Is(err, avro.ErrNotRegistered) {
		t.Errorf("Lookup of another schema: %v", err)
	}
	wantReferences(t, c)
	more := avro.Schema{Text: `{"type":"record","name":"m.Cents","fields":[{"name":"v","type":"long"},{"name":"w","type":"int","default":0}]}`}
	moreID, err := c.Register(ctx, "m.Cents", more)
	if err != nil || moreID == id {
		t.Fatalf("Register the next = %d, %v", moreID, err)
	}
	versions, err := c.Versions(ctx, "m.Cents")
	if diff := cmp.Diff(versions, []avro.Registered{{Subject: "m.Cents", Version: 1, ID: id, Schema: cents}, {Subject: "m.Cents", Version: 2, ID: moreID, Schema: more}}); err != nil || diff != "" {
		t.Errorf("Versions: %v\n%s", err, diff)
	}
	subjects, err := c.Subjects(ctx)
	if diff := cmp.Diff(subjects, []string{"m.Cents", "m.Line", "m.Order"}); err != nil || diff != "" {
		t.Errorf("Subjects: %v\n%s", err, diff)
	}
}

func apicurioModes(t *testing.T, c *avro.Client) {
	ctx := t.Context()
	for m := avro.BackwardTransitive; m < avro.None; m++ {
		if err := c.SetMode(ctx, "m.Line", m); err != nil {
			t.Error(err)
		}
		if got, err := c.Mode(ctx, "m.Line"); err != nil || got != m {
			t.Errorf("Mode = %v, %v, want %v", got, err, m)
		}
	}
	if got, err := c.Mode(ctx, "m.Cents"); err != nil || got != avro.BackwardTransitive {
		t.Errorf("Mode of a subject without its own = %v, %v", got, err)
	}
	// It answers with 200, and takes away the mode of the subject.
	for _, again := range []bool{false, true} {
		err := c.SetMode(ctx, "m.Line", avro.None)
		if want := "set compatibility of subject m.Line to NONE: the registry has not done it: it is BACKWARD_TRANSITIVE: set the compatibility of the registry"; err == nil || err.Error() != want {
			t.Errorf("again %v: got %v\nwant %s", again, err, want)
		}
	}
	// The mode of a subject may be set before its first schema.
	if err := c.SetMode(ctx, "m.Later", avro.Full); err != nil {
		t.Error(err)
	}
	if _, err := c.Register(ctx, "m.Later", cents); err != nil {
		t.Error(err)
	}
	if got, err := c.Mode(ctx, "m.Later"); err != nil || got != avro.Full {
		t.Errorf("Mode = %v, %v, want FULL", got, err)
	}
}

func apicurioRefusals(t *testing.T, c *avro.Client) {
	ctx := t.Context()
	for want, s := range map[string]string{
		"subject m.Cents: schema is not compatible (BACKWARD_TRANSITIVE): field m.Cents.by: the reader has no default for this field, which the writer lacks, at /fields/1": `{"type":"record","name":"m.Cents","fields":[{"name":"v","type":"long"},{"name":"by","type":"int"}]}`,
		"subject m.Cents: schema is not compatible (BACKWARD_TRANSITIVE): field m.Cents.v: reader type: STRING not compatible with writer type: LONG at /fields/0/type":     `{"type":"record","name":"m.Cents","fields":[{"name":"v","type":"string"}]}`,
		"subject m.Cents: schema is not compatible (BACKWARD_TRANSITIVE): expected: m.Cents at /name":                                                                       `{"type":"record","name":"m.Other","fields":[{"name":"v","type":"long"}]}`,
	} {
		_, err := c.Register(ctx, "m.Cents", avro.Schema{Text: s})
		var broken *avro.IncompatibleError
		if !errors.As(err, &broken) || err.Error() != want || errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	// Its comparison fails over this one: what it says is 422, and no more.
	both := avro.Schema{Text: `{"type":"record","name":"m.Cents","fields":[{"name":"v","aliases":["w"],"type":"long"}]}`}
	_, err := c.Register(ctx, "m.Cents", both)
	if want := `subject m.Cents: schema is not compatible with version 2 (BACKWARD_TRANSITIVE): the new schema does not read what this one has written: writer fields "v" and "w" both resolve to reader field "v" (via name + alias collision); rename the writer or drop the alias to disambiguate (the registry says only: Could not execute compatibility rule on invalid Avro schema)`; err == nil || err.Error() != want || !errors.Is(err, avro.ErrIncompatible) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	gone := avro.Schema{
		Text:       `{"type":"record","name":"m.Dangling","fields":[{"name":"v","type":"m.Gone"}]}`,
		References: []avro.Reference{{Name: "m.Gone", Subject: "m.Gone", Version: 3, Text: `{"type":"fixed","name":"m.Gone","size":2}`}},
	}
	for text, want := range map[string]string{
		`{`:               "Failed to discover artifact type from content.",
		`{"type":"nope"}`: "Failed to discover artifact type from content.",
		`"nope"`:          "Failed to discover artifact type from content.",
		gone.Text:         "Unresolved reference",
	} {
		s := avro.Schema{Text: text}
		if text == gone.Text {
			s = gone
		}
		_, err := c.Register(ctx, "m.Broken", s)
		if want := "register schema of subject m.Broken: the registry refuses it (42201): " + want; err == nil || err.Error() != want || errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
