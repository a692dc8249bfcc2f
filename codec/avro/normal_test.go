package avro

import (
	"strings"
	"testing"

	avrolib "github.com/twmb/avro"
)

func TestNormal(t *testing.T) {
	t.Parallel()
	for _, same := range []struct {
		why    string
		normal string
		texts  []string
	}{
		{"a primitive is its name", `"int"`, []string{`"int"`, ` {"type":"int"} `}},
		{"a name has its namespace, which is inherited and may be left out of references",
			`{"type":"record","name":"n.R","fields":[{"type":{"type":"enum","name":"n.E","symbols":["A"]},"name":"a"},{"type":"n.E","name":"b"},{"type":["null","n.R"],"name":"c"}]}`,
			[]string{
				`{"fields":[{"name":"a","type":{"name":"E","type":"enum","symbols":["A"]}},{"name":"b","type":"E"},{"name":"c","type":["null","R"]}],"name":"R","namespace":"n","type":"record"}`,
				`{"type":"record","name":"n.R","doc":"","aliases":[],"fields":[{"name":"a","type":{"name":"n.E","type":"enum","symbols":["A"]}},{"name":"b","type":{"type":"n.E"},"order":"ascending"},{"name":"c","type":["null","n.R"]}]}`,
			}},
		{"what readers need is kept, and what people read",
			`{"type":"record","name":"R","aliases":["Old"],"doc":"<d>","fields":[{"type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"name":"a","aliases":["b"],"default":"","order":"ignore","pii":true}],"x":[1.50,{"k":null}]}`,
			[]string{`{"x":[1.50,{"k":null}],"name":"R","type":"record","doc":"<d>","aliases":["Old"],"fields":[{"order":"ignore","pii":true,"default":"","aliases":["b"],"name":"a","type":{"scale":2,"precision":9,"logicalType":"decimal","type":"bytes"}}]}`}},
		{"a name without a namespace inside of one", `{"type":"record","name":"n.R","fields":[{"type":{"type":"fixed","name":"F","namespace":"","size":1},"name":"f"},{"type":"F","name":"g"}]}`,
			[]string{`{"type":"record","namespace":"n","name":"R","fields":[{"name":"f","type":{"type":"fixed","name":"F","namespace":"","size":1}},{"name":"g","type":"F"}]}`}},
	} {
		for _, text := range append(same.texts, same.normal) {
			got, err := Normal(Schema{Text: text})
			if err != nil || got != same.normal {
				t.Errorf("%s: Normal(%s)\ngot  %s, %v\nwant %s", same.why, text, got, err, same.normal)
			}
		}
	}
}

// TestNormalTells: what makes another schema makes another normal form.
func TestNormalTells(t *testing.T) {
	t.Parallel()
	base := `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"},"default":1,"aliases":["b"]}]}`
	seen := map[string]string{}
	for _, text := range []string{base,
		strings.Replace(base, `"default":1`, `"default":2`, 1), strings.Replace(base, `["b"]`, `["c"]`, 1), strings.Replace(base, "millis", "micros", 1),
		strings.Replace(base, `"long"`, `"int"`, 1), strings.Replace(base, `"R"`, `"n.R"`, 1), strings.Replace(base, `"R",`, `"R","aliases":["S"],`, 1)} {
		got, err := Normal(Schema{Text: text})
		if err != nil || seen[got] != "" {
			t.Errorf("Normal(%s) = %s, %v, which is that of %s", text, got, err, seen[got])
		}
		seen[got] = text
	}
}

// TestNormalIsTheSchema: the normal form is read as the text is, and is its own normal form.
func TestNormalIsTheSchema(t *testing.T) {
	t.Parallel()
	for _, p := range pairs {
		for _, text := range []string{p.old, p.next} {
			normal, err := Normal(Schema{Text: text})
			if err != nil {
				t.Errorf("Normal(%s): %v", text, err)
				continue
			}
			was, is := avrolib.MustParse(text), avrolib.MustParse(normal)
			if string(was.Canonical()) != string(is.Canonical()) {
				t.Errorf("%s\nis another schema than %s", normal, text)
			}
			if err := Check(FullTransitive, Schema{Text: normal}, Schema{Text: text}); err != nil {
				t.Errorf("%s: %v", normal, err)
			}
			if again, err := Normal(Schema{Text: normal}); err != nil || again != normal {
				t.Errorf("Normal(%s) = %s, %v", normal, again, err)
			}
		}
	}
}

func TestNormalAndCheckWithReferences(t *testing.T) {
	t.Parallel()
	cents := Reference{Name: "m.Cents", Subject: "m.Cents", Version: 1, Text: `{"type":"record","name":"Cents","namespace":"m","fields":[{"name":"v","type":"long"}]}`}
	line := Reference{Name: "m.Line", Subject: "m.Line", Version: 3, Text: `{"type":"record","name":"m.Line","fields":[{"name":"price","type":"Cents"}]}`}
	s := Schema{Text: `{"type":"record","name":"m.Order","fields":[{"name":"lines","type":{"type":"array","items":"Line"}}]}`, References: []Reference{cents, line}}
	got, err := Normal(s)
	if want := `{"type":"record","name":"m.Order","fields":[{"type":{"type":"array","items":"m.Line"},"name":"lines"}]}`; err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	used, err := direct(s)
	if err != nil || len(used) != 1 || used[0].Name != "m.Line" {
		t.Errorf("direct = %v, %v, want m.Line", used, err)
	}
	next := s
	next.References = []Reference{{Name: "m.Cents", Text: strings.Replace(cents.Text, "long", "string", 1)}, line}
	want := "schema is not compatible with version 1 (BACKWARD): field m.Order.lines.items.price.v: the new schema does not read what this one has written: the writer has type long, the reader string"
	if err := Check(Backward, next, s); text(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	next.References = []Reference{line}
	if err := Check(Backward, next, s); err == nil || !strings.HasPrefix(err.Error(), "check schema: reference m.Line: not an Avro schema: ") {
		t.Errorf("a reference that misses another one: %v", err)
	}
}

func FuzzNormal(f *testing.F) {
	for _, p := range pairs {
		f.Add(p.old)
	}
	f.Add(`{"type":"record","name":".","fields":[{"name":"a","type":".b"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		normal, err := Normal(Schema{Text: text})
		if err != nil {
			return
		}
		if again, err := Normal(Schema{Text: normal}); err != nil || again != normal {
			t.Errorf("Normal(%s) = %s, %v", normal, again, err)
		}
		if err := Check(FullTransitive, Schema{Text: normal}, Schema{Text: text}); err != nil {
			t.Errorf("%s: %v", normal, err)
		}
	})
}
