package avro_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
)

// shaped is a record with the fields.
func shaped(fields string) string {
	return `{"type":"record","name":"order.Placed","fields":[` + fields + `]}`
}

// of is a record with one field of the type.
func of(schema string) string { return shaped(`{"name":"v","type":` + schema + `}`) }

const only = `{"name":"a","type":"int"}`

// How Apicurio differs.
const (
	allowedInAll    = "allowed: BACKWARD_TRANSITIVE, allowed: BACKWARD, allowed: FORWARD, allowed: FORWARD_TRANSITIVE, allowed: FULL, allowed: FULL_TRANSITIVE"
	allowedBackward = "allowed: BACKWARD_TRANSITIVE, allowed: BACKWARD, allowed: FULL, allowed: FULL_TRANSITIVE"
)

// steps are schemas of a subject, the last of which is the new one. Differs are the modes in
// which Apicurio says otherwise than Check.
var steps = []struct {
	why     string
	schemas []string
	differs string
}{
	{"a field with a default", []string{shaped(only), shaped(only + `,{"name":"b","type":"int","default":0}`)}, ""},
	{"a field without a default", []string{shaped(only), shaped(only + `,{"name":"b","type":"int"}`)}, ""},
	{"a field less", []string{shaped(only + `,{"name":"b","type":"int"}`), shaped(only)}, ""},
	{"a rename with an alias", []string{shaped(only), shaped(`{"name":"b","aliases":["a"],"type":"int"}`)}, ""},
	{"another record", []string{shaped(only), strings.Replace(shaped(only), "Placed", "Opened", 1)}, ""},
	{"another namespace", []string{shaped(only), strings.Replace(shaped(only), "order.", "shop.", 1)}, ""},
	{"int to long", []string{of(`"int"`), of(`"long"`)}, ""},
	{"string to bytes", []string{of(`"string"`), of(`"bytes"`)}, ""},
	{"int to string", []string{of(`"int"`), of(`"string"`)}, ""},
	{"may be null", []string{of(`"string"`), of(`["null","string"]`)}, ""},
	{"a branch more", []string{of(`["null","string"]`), of(`["null","string","int"]`)}, ""},
	{"a symbol more", []string{of(`{"type":"enum","name":"E","symbols":["A"]}`), of(`{"type":"enum","name":"E","symbols":["A","B"]}`)}, ""},
	{"a symbol less, and a default", []string{of(`{"type":"enum","name":"E","symbols":["A","B"]}`), of(`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`)}, ""},
	{"another size", []string{of(`{"type":"fixed","name":"F","size":2}`), of(`{"type":"fixed","name":"F","size":4}`)}, ""},
	{"another scale", []string{of(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`), of(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}`)}, allowedInAll},
	{"another unit", []string{of(`{"type":"long","logicalType":"timestamp-millis"}`), of(`{"type":"long","logicalType":"timestamp-micros"}`)}, allowedInAll},
	{"a decimal as text", []string{of(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`), of(`"string"`)}, allowedInAll},
	{"an alias of a field that the old one has beside it", []string{shaped(only + `,{"name":"b","type":"int"}`), shaped(`{"name":"a","aliases":["b"],"type":"int"}`)}, ""},
	{"a record in a union gets a field", []string{of(`["null",{"type":"record","name":"X","fields":[]}]`), of(`["null",{"type":"record","name":"X","fields":[{"name":"n","type":"int"}]}]`)}, ""},
	{"not read from the first", []string{shaped(``), shaped(`{"name":"v","type":"int","default":0}`), of(`"int"`), of(`"long"`)}, ""},
	{"not read by the first", []string{of(`"int"`), shaped(`{"name":"v","type":"int","default":0}`), shaped(``)}, ""},
}

// apicurioChecks compares what Apicurio refuses with what Check does, in all modes.
func apicurioChecks(t *testing.T, c *avro.Client, url string) {
	ctx := t.Context()
	admin, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	mode := func(m avro.Mode) {
		t.Helper()
		var level sr.CompatibilityLevel
		if err := level.UnmarshalText([]byte(m.String())); err != nil {
			t.Fatal(err)
		}
		if got := admin.SetCompatibility(ctx, sr.SetCompatibility{Level: level})[0]; got.Err != nil && m != avro.None { // it takes away a rule, which may not be there
			t.Fatal(got.Err)
		}
	}
	differ := map[string][]string{}
	for m := avro.BackwardTransitive; m <= avro.None; m++ {
		mode(avro.None)
		subject := func(i int) string { return fmt.Sprintf("check.%d.%d", m, i) }
		for i, s := range steps {
			for _, text := range s.schemas[:len(s.schemas)-1] {
				if _, err := c.Register(ctx, subject(i), avro.Schema{Text: text}); err != nil {
					t.Fatal(err)
				}
			}
		}
		mode(m)
		for i, s := range steps {
			var all []avro.Schema
			for _, text := range s.schemas {
				all = append(all, avro.Schema{Text: text})
			}
			last := len(all) - 1
			ours := avro.Check(m, all[last], all[:last]...)
			_, theirs := c.Register(ctx, subject(i), all[last])
			switch {
			case theirs != nil && !errors.Is(theirs, avro.ErrIncompatible):
				differ[s.why] = append(differ[s.why], "invalid: "+m.String())
			case ours == nil && theirs != nil:
				differ[s.why] = append(differ[s.why], "refused: "+m.String())
			case ours != nil && theirs == nil:
				differ[s.why] = append(differ[s.why], "allowed: "+m.String())
			}
		}
	}
	for _, s := range steps {
		if diff := cmp.Diff(strings.Join(differ[s.why], ", "), s.differs); diff != "" {
			t.Errorf("%s (-Apicurio otherwise than Check +known):\n%s", s.why, diff)
		}
	}
}
