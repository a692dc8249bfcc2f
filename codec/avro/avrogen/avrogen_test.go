package avrogen_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/annals-go/annals/codec/avro/avrogen"
)

var update = flag.Bool("update", false, "write the generated code that the golden test compares with")

// golden are the schemas of internal/shop, in an order in which one uses later ones.
var golden = []string{"order.placed.v1.avsc", "order.moved.v1.avsc", "order.noted.v1.avsc", "order.Address.avsc"}

func files(t *testing.T, names ...string) []avrogen.File {
	t.Helper()
	var out []avrogen.File
	for _, name := range names {
		text, err := os.ReadFile("internal/shop/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, avrogen.File{Name: name, Text: text})
	}
	return out
}

// TestGolden compares with the file that the tests of internal/shop compile and use.
func TestGolden(t *testing.T) {
	t.Parallel()
	got, err := avrogen.Generate("shop", files(t, golden...)...)
	if err != nil {
		t.Fatal(err)
	}
	const file = "internal/shop/schema.gen.go"
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %s is not what is generated:\n%s", err, file, got)
	}
	again, err := avrogen.Generate("shop", files(t, golden...)...)
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("the same files give other bytes: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"order_id": "OrderID", "orderId": "OrderID", "OrderID": "OrderID", "id": "ID", "http_url": "HTTPURL", "HTTPServer": "HTTPServer",
		"userIDs": "UserIDs", "_x": "X", "_1": "X1", "__": "X", "a_b_c": "ABC", "type": "Type", "range": "Range", "vat19": "Vat19", "sku": "SKU", "VIP_CUSTOMER": "VipCustomer", "EUR": "EUR", "LINE_ID": "LineID",
	} {
		got, err := avrogen.Generate("x", avrogen.File{Name: "r.avsc", Text: []byte(`{"type":"record","name":"R","fields":[{"name":"` + name + `","type":"int"}]}`)})
		if line := "\t" + want + " int32 `avro:\"" + name + "\"`"; err != nil || !strings.Contains(string(got), line) {
			t.Errorf("%s: %v\n%s\nwant %s", name, err, got, line)
		}
	}
}

// A default in a default is what it was: bytes are text there, as in a schema.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		`{"type":"record","name":"S","fields":[{"name":"b","type":"bytes"},{"name":"l","type":{"type":"array","items":{"type":"fixed","name":"F","size":2}}}]},"default":{"b":"xyz","l":["\u0001\u00ff"]}`: `default={\"b\":\"xyz\",\"l\":[\"\\u0001ÿ\"]}`,
		`["string","null"],"default":"?"`:        `default=?`,
		`["null","string"],"default":null`:       ``,
		`["null","int","string"],"default":null`: ``,
	} {
		got, err := avrogen.Generate("x", avrogen.File{Name: "r.avsc", Text: []byte(`{"type":"record","name":"R","fields":[{"name":"f","type":` + typ + `}]}`)})
		if tag := "`avro:\"f"; err != nil || want != "" && !strings.Contains(string(got), tag+","+want+"\"`") || want == "" && !strings.Contains(string(got), tag+"\"`") {
			t.Errorf("%s: %v\n%s\nwant %s", typ, err, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	record := func(fields string) string {
		return `{"type":"record","name":"R","namespace":"a","fields":[` + fields + `]}`
	}
	for _, c := range []struct {
		pkg, want string
		texts     []string
	}{
		{"func", `generate types: package "func": want a Go identifier that is no keyword`, []string{record("")}},
		{"a-b", `generate types: package "a-b": want a Go identifier that is no keyword`, []string{record("")}},
		{"x", "generate types: no files, want at least one schema", nil},
		{"x", "generate types: 0.avsc: ", []string{"{"}},
		{"x", "generate types: 0.avsc: unknown type ", []string{record(`{"name":"f","type":"b.Gone"}`)}},
		{"x", "generate types: a.R: fields order_id and orderId are both OrderID in Go: rename one of them", []string{record(`{"name":"order_id","type":"int"},{"name":"orderId","type":"int"}`)}},
		{"x", "generate types: a.R and b.R are both R in Go: rename one of them", []string{record(""), `{"type":"record","name":"b.R","fields":[]}`}},
		{"x", "generate types: b.K: a.KA and b.K.a are both KA in Go: rename one of them", []string{`{"type":"fixed","name":"a.KA","size":1}`, `{"type":"enum","name":"b.K","symbols":["a"]}`}},
		{"x", "generate types: b.K: b.K.a and b.K.A are both KA in Go: rename one of them", []string{`{"type":"enum","name":"b.K","symbols":["a","A"]}`}},
		{"x", "generate types: a.R holds itself (a.R in a.R): make it nullable, or an array or a map", []string{record(`{"name":"r","type":"R"}`)}},
		{"x", "generate types: a.R: field f: big-decimal has no Go type: use decimal, with a precision and a scale", []string{record(`{"name":"f","type":{"type":"bytes","logicalType":"big-decimal"}}`)}},
		{"x", "generate types: a.R: field f: a union of a.S and map comes as a map that does not say which it is: give each a field of its own", []string{record(`{"name":"f","type":[{"type":"record","name":"S","fields":[]},{"type":"map","values":"int"}]}`)}},
	} {
		var all []avrogen.File
		for i, text := range c.texts {
			all = append(all, avrogen.File{Name: string(rune('0'+i)) + ".avsc", Text: []byte(text)})
		}
		got, err := avrogen.Generate(c.pkg, all...)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Generate = %s, %v\nwant %s", got, err, c.want)
		}
	}
}

// What a schema says stays a comment and a tag.
func TestHostileText(t *testing.T) {
	t.Parallel()
	got, err := avrogen.Generate("x", avrogen.File{Name: "a\nfunc init() {}.avsc", Text: []byte(`{"type":"record","name":"R","doc":"one\nfunc init() {}\r*/ two","fields":[
		{"name":"a","type":"string","default":"` + "`" + `\" func init() {}","doc":"x\n}\nfunc init() {}"},
		{"name":"b","type":"string","default":"\n"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(got)) {
		if strings.HasPrefix(strings.TrimSpace(line), "func") {
			t.Errorf("the schema has become code: %s", got)
		}
	}
}
