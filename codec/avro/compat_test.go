package avro

import (
	"errors"
	"strings"
	"testing"

	avrolib "github.com/twmb/avro"
)

// pair is a step from one schema to the next. The texts that back and forth hold are part of
// the rule that the next one breaks as reader of the earlier one, and the other way round;
// an empty one says that it reads all.
type pair struct {
	why         string
	old, next   string
	back, forth string
}

// placed is a record order.Placed with the fields.
func placed(fields string) string {
	return `{"type":"record","name":"Placed","namespace":"order","fields":[` + fields + `]}`
}

// one is placed with one field v.
func one(schema string) string { return placed(`{"name":"v","type":` + schema + `}`) }

const (
	a        = `{"name":"a","type":"int"}`
	treeText = `{"type":"record","name":"Tree","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","Tree"]}]}`

	lacks   = "it has no default, and the writer lacks it"
	noUnion = "the union of the reader has no branch"
)

var pairs = []pair{
	// fields of a record
	{"the same schema", placed(a), placed(a), "", ""},
	{"a field with a default is filled in by a reader, and skipped by one that lacks it", placed(a), placed(a + `,{"name":"b","type":"string","default":""}`), "", ""},
	{"a field without a default: old events lack it", placed(a), placed(a + `,{"name":"b","type":"string"}`), lacks, ""},
	{"a field with a default is taken away: readers of before fill it in", placed(a + `,{"name":"b","type":"int","default":0}`), placed(a), "", ""},
	{"a field without a default is taken away: readers of before cannot fill it in", placed(a + `,{"name":"b","type":"int"}`), placed(a), "", lacks},
	{"the order of fields is of no importance", placed(a + `,{"name":"b","type":"int"}`), placed(`{"name":"b","type":"int"},` + a), "", ""},
	{"a default is taken away: events have the field", placed(`{"name":"a","type":"int","default":1}`), placed(a), "", ""},
	{"another default: it is for what was written before the field", placed(`{"name":"a","type":"int","default":1}`), placed(`{"name":"a","type":"int","default":2}`), "", ""},
	{"a field that may be null without a default: the specification fills in nothing by itself", placed(a), placed(a + `,{"name":"b","type":["null","int"]}`), lacks, ""},
	{"a field that may be null, with the default null", placed(a), placed(a + `,{"name":"b","type":["null","int"],"default":null}`), "", ""},
	{"a rename without an alias", placed(a), placed(`{"name":"b","type":"int"}`), lacks, lacks},
	{"a rename with an alias: only the reader's alias is looked at", placed(a), placed(`{"name":"b","aliases":["a"],"type":"int"}`), "", lacks},
	{"a rename with an alias and a default", placed(`{"name":"a","type":"int","default":0}`), placed(`{"name":"b","aliases":["a"],"type":"int","default":0}`), "", ""},
	{"a rename with an alias to another type", placed(a), placed(`{"name":"b","aliases":["a"],"type":"string"}`), "the writer has type int, the reader string", lacks},
	{"an alias of a field that both have: two writer fields become one", placed(a + `,{"name":"b","type":"int"}`), placed(`{"name":"a","aliases":["b"],"type":"int"}`), "both resolve to reader field", lacks},
	{"documentation, order and attributes of others say nothing", placed(a), placed(`{"name":"a","type":"int","doc":"cents","order":"ignore","pii":true}`), "", ""},
	{"no fields at all are read from any", placed(a), placed(``), "", lacks},

	// names
	{"another record", placed(a), strings.Replace(placed(a), "Placed", "Opened", 1), "the writer has record order.Placed, the reader order.Opened without an alias for it", "the writer has record order.Opened"},
	{"another record with an alias", placed(a), `{"type":"record","name":"order.Opened","aliases":["Placed"],"fields":[` + a + `]}`, "", "without an alias"},
	{"another record with an alias of another namespace", placed(a), `{"type":"record","name":"order.Opened","aliases":["basket.Placed"],"fields":[` + a + `]}`, "without an alias", "without an alias"},
	{"another namespace: names are compared without it", placed(a), strings.Replace(placed(a), `"order"`, `"shop"`, 1), "", ""},
	{"another enum inside", one(`{"type":"enum","name":"E","symbols":["A"]}`), one(`{"type":"enum","name":"F","symbols":["A"]}`), "the writer has enum order.E, the reader order.F", "the writer has enum order.F"},
	{"another fixed inside", one(`{"type":"fixed","name":"E","size":2}`), one(`{"type":"fixed","name":"F","size":2}`), "the writer has fixed order.E", "the writer has fixed order.F"},
	{"another fixed inside, with an alias", one(`{"type":"fixed","name":"E","size":2}`), one(`{"type":"fixed","name":"F","aliases":["E"],"size":2}`), "", "the writer has fixed order.F"},

	// promotion: the whole table, and what is not in it
	{"int to long", one(`"int"`), one(`"long"`), "", "the writer has type long, the reader int"},
	{"int to float", one(`"int"`), one(`"float"`), "", "the writer has type float, the reader int"},
	{"int to double", one(`"int"`), one(`"double"`), "", "the writer has type double, the reader int"},
	{"long to float", one(`"long"`), one(`"float"`), "", "the writer has type float, the reader long"},
	{"long to double", one(`"long"`), one(`"double"`), "", "the writer has type double, the reader long"},
	{"float to double", one(`"float"`), one(`"double"`), "", "the writer has type double, the reader float"},
	{"string and bytes", one(`"string"`), one(`"bytes"`), "", ""},
	{"int to string is no promotion", one(`"int"`), one(`"string"`), "the writer has type int, the reader string", "the writer has type string, the reader int"},
	{"boolean to int is no promotion", one(`"boolean"`), one(`"int"`), "the writer has type boolean", "the writer has type int"},
	{"bytes to fixed is no promotion", one(`"bytes"`), one(`{"type":"fixed","name":"F","size":2}`), "the writer has type bytes", "the writer has type fixed"},
	{"string to enum is no promotion", one(`"string"`), one(`{"type":"enum","name":"E","symbols":["A"]}`), "the writer has type string", "the writer has type enum"},
	{"a value to a list of it", one(`"int"`), one(`{"type":"array","items":"int"}`), "the writer has type int", "the writer has type array"},
	{"a list to a map", one(`{"type":"array","items":"int"}`), one(`{"type":"map","values":"int"}`), "the writer has type array", "the writer has type map"},
	{"a record to a map", one(treeText), one(`{"type":"map","values":"int"}`), "the writer has type record", "the writer has type map"},
	{"promotion inside of a list", one(`{"type":"array","items":"int"}`), one(`{"type":"array","items":"long"}`), "", "the writer has type long, the reader int"},
	{"promotion inside of a map", one(`{"type":"map","values":"float"}`), one(`{"type":"map","values":"double"}`), "", "the writer has type double, the reader float"},
	{"a primitive spelled as an object", one(`"int"`), one(`{"type":"int"}`), "", ""},

	// unions
	{"a value may be null from now on", one(`"string"`), one(`["null","string"]`), "", "the writer has type null, the reader string"},
	{"null is no longer allowed", one(`["null","string"]`), one(`"string"`), "the writer has type null", ""},
	{"a branch more", one(`["null","string"]`), one(`["null","string","int"]`), "", noUnion},
	{"a branch less", one(`["null","string","int"]`), one(`["null","string"]`), noUnion, ""},
	{"branches in another order: a writer's branch is found by its type", one(`["null","string"]`), one(`["string","null"]`), "", ""},
	{"the promotion of a branch", one(`["null","int"]`), one(`["null","long"]`), "", noUnion},
	{"a value to a union that it is promoted into", one(`"int"`), one(`["null","double"]`), "", "the writer has type null"},
	{"a value to a union without it", one(`"boolean"`), one(`["null","string"]`), noUnion, "the writer has type null"},
	{"a branch without a partner in either", one(`["int","string"]`), one(`["boolean","null"]`), noUnion, noUnion},
	{"a union of one", one(`"int"`), one(`["int"]`), "", ""},
	{"a list in a union with other items", one(`["null",{"type":"array","items":"int"}]`), one(`["null",{"type":"array","items":"string"}]`), "the writer has type int, the reader string", "the writer has type string"},
	{"a record in a union under another name", one(`["null",{"type":"record","name":"X","fields":[]}]`), one(`["null",{"type":"record","name":"Y","fields":[]}]`), noUnion, noUnion},
	{"a record in a union that gets a field with a default", one(`["null",{"type":"record","name":"X","fields":[]}]`), one(`["null",{"type":"record","name":"X","fields":[{"name":"n","type":"int","default":0}]}]`), "", ""},
	{"a record in a union that gets a field without one", one(`["null",{"type":"record","name":"X","fields":[]}]`), one(`["null",{"type":"record","name":"X","fields":[{"name":"n","type":"int"}]}]`), lacks, ""},
	{"a union at the top: another event", `["null",` + placed(a) + `]`, placed(a), "the writer has type null", ""},

	// enums
	{"a symbol more: readers of before do not know it", one(`{"type":"enum","name":"E","symbols":["A"]}`), one(`{"type":"enum","name":"E","symbols":["A","B"]}`), "", `symbol "B" not in reader`},
	{"a symbol more, for readers with a default", one(`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`), one(`{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}`), "", ""},
	{"a symbol less", one(`{"type":"enum","name":"E","symbols":["A","B"]}`), one(`{"type":"enum","name":"E","symbols":["A"]}`), `symbol "B" not in reader`, ""},
	{"a symbol less, and a default", one(`{"type":"enum","name":"E","symbols":["A","B"]}`), one(`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`), "", ""},
	{"symbols in another order", one(`{"type":"enum","name":"E","symbols":["A","B"]}`), one(`{"type":"enum","name":"E","symbols":["B","A"]}`), "", ""},
	{"the default of the field is not that of the enum", placed(`{"name":"v","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"A"}`), placed(`{"name":"v","type":{"type":"enum","name":"E","symbols":["A"]},"default":"A"}`), `symbol "B" not in reader`, ""},

	// fixed and logical types
	{"another size", one(`{"type":"fixed","name":"F","size":2}`), one(`{"type":"fixed","name":"F","size":4}`), "fixed sizes differ: the writer has fixed(2), the reader fixed(4)", "fixed sizes differ"},
	{"another scale", one(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`), one(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}`), "decimal precision or scale differ: the writer has decimal(9,2), the reader decimal(9,3)", "decimal"},
	{"more precision: the specification asks for the same", one(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`), one(`{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}`), "decimal", "decimal"},
	{"a scale that is not given is 0", one(`{"type":"bytes","logicalType":"decimal","precision":9}`), one(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":0}`), "", ""},
	{"another unit: the number would be read as it is", one(`{"type":"long","logicalType":"timestamp-millis"}`), one(`{"type":"long","logicalType":"timestamp-micros"}`), "the writer means timestamp-millis, the reader takes it for timestamp-micros", "the writer means timestamp-micros"},
	{"another unit in a union", one(`["null",{"type":"long","logicalType":"timestamp-millis"}]`), one(`["null",{"type":"long","logicalType":"timestamp-micros"}]`), "means timestamp-millis", "means timestamp-micros"},
	{"another unit by promotion", one(`{"type":"int","logicalType":"time-millis"}`), one(`{"type":"long","logicalType":"time-micros"}`), "means time-millis", "the writer has type long"},
	{"local time to a moment", one(`{"type":"long","logicalType":"local-timestamp-millis"}`), one(`{"type":"long","logicalType":"timestamp-millis"}`), "means local-timestamp-millis", "means timestamp-millis"},
	{"a number is given a meaning, or loses it: it is the same number", one(`"long"`), one(`{"type":"long","logicalType":"timestamp-micros"}`), "", ""},
	{"a text becomes a uuid", one(`"string"`), one(`{"type":"string","logicalType":"uuid"}`), "", ""},
	{"a decimal as text is no text", one(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`), one(`"string"`), "means decimal, the reader takes it for string", "means string, the reader takes it for decimal"},
	{"a logical type that nobody knows says nothing", one(`{"type":"long","logicalType":"cents"}`), one(`{"type":"long","logicalType":"euros"}`), "", ""},
	{"another unit behind a name that is used twice", placed(`{"name":"x","type":{"type":"record","name":"At","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}},{"name":"y","type":"At"}`), placed(`{"name":"y","type":{"type":"record","name":"At","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}]}},{"name":"x","type":"order.At"}`), "means timestamp-millis", "means timestamp-micros"},

	{"another unit in a type that is used without its namespace", placed(`{"name":"x","type":["null",{"type":"record","name":"At","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}]},{"name":"y","type":"At"}`), placed(`{"name":"z","type":["null",{"type":"record","name":"At","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}]}],"default":null},{"name":"y","type":"At"}`), "means timestamp-millis", lacks},

	// recursion
	{"a tree", treeText, treeText, "", ""},
	{"a tree with a field more at each node", treeText, strings.Replace(treeText, `{"name":"next"`, `{"name":"w","type":"int","default":0},{"name":"next"`, 1), "", ""},
	{"a tree with another type at each node", treeText, strings.Replace(treeText, `"v","type":"int"`, `"v","type":"long"`, 1), "", "the writer has type long, the reader int"},
	{"a tree whose nodes change their unit", strings.Replace(treeText, `"v","type":"int"`, `"v","type":{"type":"int","logicalType":"date"}`, 1), strings.Replace(treeText, `"v","type":"int"`, `"v","type":{"type":"int","logicalType":"time-millis"}`, 1), "means date", "means time-millis"},
}

func (p pair) want(m Mode) string {
	switch m {
	case None:
		return ""
	case Backward, BackwardTransitive:
		return p.back
	case Full, FullTransitive:
		if p.back != "" {
			return p.back
		}
	case Forward, ForwardTransitive:
	}
	return p.forth
}

func TestCheckModes(t *testing.T) {
	t.Parallel()
	if len(pairs) < 60 {
		t.Errorf("%d pairs, want 60", len(pairs))
	}
	for _, p := range pairs {
		for m := range modeNames {
			mode := Mode(m)
			want := p.want(mode)
			err := Check(mode, Schema{Text: p.next}, Schema{Text: p.old})
			var broken *IncompatibleError
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %v: %v, want none", p.why, mode, err)
			case want != "" && !errors.As(err, &broken):
				t.Errorf("%s: %v: %v, want %q", p.why, mode, err, want)
			case want != "" && (!strings.Contains(broken.Rule, want) || broken.Version != 1 || broken.Mode != mode || !errors.Is(err, ErrIncompatible)):
				t.Errorf("%s: %v: %+v, want %q of version 1", p.why, mode, broken, want)
			}
		}
	}
}

// TestCheckedIsRead: what Check lets pass is decoded.
func TestCheckedIsRead(t *testing.T) {
	t.Parallel()
	for _, p := range pairs {
		for _, way := range [][2]string{{p.old, p.next}, {p.next, p.old}} {
			if Check(Backward, Schema{Text: way[1]}, Schema{Text: way[0]}) != nil {
				continue
			}
			writer, reader := avrolib.MustParse(way[0]), avrolib.MustParse(way[1])
			resolved, err := avrolib.Resolve(writer, reader)
			if err != nil {
				t.Errorf("%s: %v", p.why, err)
				continue
			}
			for _, payload := range payloads(writer) {
				var got any
				if rest, err := resolved.Decode(payload, &got); err != nil || len(rest) > 0 {
					t.Errorf("%s: % x as %s: %v, %d bytes left", p.why, payload, way[1], err, len(rest))
				}
			}
		}
	}
}

// TestCheckLooksBack: transitive modes look at every version, the others at the last.
func TestCheckLooksBack(t *testing.T) {
	t.Parallel()
	optional := placed(`{"name":"v","type":"int","default":0}`)
	earlier := []Schema{{Text: placed(``)}, {Text: optional}, {Text: one(`"int"`)}}
	next := Schema{Text: one(`"long"`)} // reads the second and the third, not the first
	for mode, want := range map[Mode]string{
		Backward:           "",
		BackwardTransitive: "schema is not compatible with version 1 (BACKWARD_TRANSITIVE): field order.Placed.v: the new schema does not read what this one has written: the reader needs this field, it has no default, and the writer lacks it",
		Forward:            "schema is not compatible with version 3 (FORWARD): field order.Placed.v: it does not read what the new schema writes: the writer has type long, the reader int",
		ForwardTransitive:  "schema is not compatible with version 3 (FORWARD_TRANSITIVE): field order.Placed.v: it does not read what the new schema writes: the writer has type long, the reader int",
		Full:               "schema is not compatible with version 3 (FULL): field order.Placed.v: it does not read what the new schema writes: the writer has type long, the reader int",
		None:               "",
	} {
		if got := text(Check(mode, next, earlier...)); got != want {
			t.Errorf("%v:\ngot  %s\nwant %s", mode, got, want)
		}
	}
	if err := Check(FullTransitive, next); err != nil {
		t.Errorf("without an earlier one: %v", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCheckRefusesWhatIsNoSchema(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"type":"array","items":`, 65) + `"int"` + strings.Repeat(`}`, 65)
	for want, s := range map[string]string{
		"check schema: not an Avro schema: EOF":                                                             "",
		"check schema: not an Avro schema: text goes on after byte 6":                                       `"int" "int"`,
		`check schema: not an Avro schema: unknown type "Tree"`:                                             `["null","Tree"]`,
		"check schema: text of schema has 262145 bytes, more than the limit of 262144":                      `"int"` + strings.Repeat(" ", 256<<10-4),
		"check schema: types of schema are nested deeper than the limit":                                    deep,
		`check schema: not an Avro schema: record field "n": invalid default: int default: expected number`: placed(`{"name":"n","type":"int","default":"none"}`),
	} {
		err := Check(None, Schema{Text: s})
		if got := text(err); !strings.HasPrefix(got, want) || errors.Is(err, ErrIncompatible) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := text(Check(Backward, Schema{Text: placed(a)}, Schema{Text: s})); !strings.HasPrefix(got, "check schema: version 1: "+strings.TrimPrefix(want, "check schema: ")) {
			t.Errorf("as an earlier one: %s", got)
		}
	}
	if got, want := text(Check(9, Schema{Text: `"int"`})), "check schema: mode 9 is not known: want one of"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := text(Check(None, Schema{Text: `"int"`, References: make([]Reference, 257)})), "check schema: schema refers to 257 others, more than 256"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFullName(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		placed(a): "order.Placed",
		`{"type":"record","name":"a.b.C","fields":[]}`:         "a.b.C",
		`{"type":"enum","name":"C","symbols":["A"]}`:           "C",
		`{"type":"fixed","name":"C","namespace":"n","size":1}`: "n.C",
		`["null","int"]`: "",
		`"string"`:       "",
	} {
		if got, err := FullName(Schema{Text: schema}); err != nil || got != want {
			t.Errorf("FullName(%s) = %q, %v, want %q", schema, got, err, want)
		}
	}
	if _, err := FullName(Schema{Text: "{}"}); err == nil || !strings.HasPrefix(err.Error(), "name of schema: not an Avro schema: ") {
		t.Errorf("FullName of no schema: %v", err)
	}
}
