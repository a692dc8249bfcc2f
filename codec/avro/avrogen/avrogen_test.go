package avrogen_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
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
	const names = "Avro has names of the letters A to Z, digits and _ only, which begin with no digit, and namespaces of such names with dots between them: rename it"
	for _, c := range []struct {
		pkg, want string
		texts     []string
	}{
		{"func", `generate types: package "func": want a Go identifier that is no keyword`, []string{record("")}},
		{"a-b", `generate types: package "a-b": want a Go identifier that is no keyword`, []string{record("")}},
		{"x", "generate types: no files, want at least one schema", nil},
		{"x", "generate types: 0.avsc: not an Avro schema: unexpected EOF", []string{"{"}},
		{"x", "generate types: 0.avsc: unknown type ", []string{record(`{"name":"f","type":"b.Gone"}`)}},
		{"x", "generate types: 0.avsc: a.R: fields order_id and orderId are both OrderID in Go: rename one of them", []string{record(`{"name":"order_id","type":"int"},{"name":"orderId","type":"int"}`)}},
		{"x", "generate types: 0.avsc: a.R: fields a_b and aB are both AB in Go: rename one of them", []string{record(`{"name":"a_b","type":"int"},{"name":"aB","type":"int"}`)}},
		{"x", "generate types: 0.avsc: a.R: fields _ and __ are both X in Go: rename one of them", []string{record(`{"name":"_","type":"int"},{"name":"__","type":"int"}`)}},
		{"x", "generate types: a.R (0.avsc) and b.R (1.avsc) are both R in Go: rename one of them, or generate them into packages of their own", []string{record(""), `{"type":"record","name":"b.R","fields":[]}`}},
		{"x", "generate types: a._ (0.avsc) and x (1.avsc) are both X in Go: rename one of them, or generate them into packages of their own", []string{`{"type":"record","name":"a._","fields":[]}`, `{"type":"fixed","name":"x","size":1}`}},
		{"x", "generate types: a.KA (0.avsc) and symbol a of b.K (1.avsc) are both KA in Go: rename one of them, or generate them into packages of their own", []string{`{"type":"fixed","name":"a.KA","size":1}`, `{"type":"enum","name":"b.K","symbols":["a"]}`}},
		{"x", "generate types: symbol KIND_A of Order (0.avsc) and symbol A of OrderKind (1.avsc) are both OrderKindA in Go: rename one of them, or generate them into packages of their own", []string{`{"type":"enum","name":"Order","symbols":["KIND_A"]}`, `{"type":"enum","name":"OrderKind","symbols":["A"]}`}},
		{"x", "generate types: 0.avsc: b.K: symbols a and A are both KA in Go: rename one of them", []string{`{"type":"enum","name":"b.K","symbols":["a","A"]}`}},
		{"x", "generate types: 0.avsc: a.R holds itself (a.R in a.R): make it nullable, or an array or a map", []string{record(`{"name":"r","type":"R"}`)}},
		{"x", "generate types: 0.avsc: a.R: field f: big-decimal has no Go type: use decimal, with a precision and a scale", []string{record(`{"name":"f","type":{"type":"bytes","logicalType":"big-decimal"}}`)}},
		{"x", "generate types: 0.avsc: F: a fixed of 99999999999999 bytes: want at most 16777216, which no payload exceeds", []string{`{"type":"fixed","name":"F","size":99999999999999}`}},
		{"x", "generate types: the files define no record, enum or fixed: there is nothing to generate", []string{`"int"`, `["null","string"]`}},
		// What is no name of Avro.
		{"x", `generate types: 0.avsc: invalid field name "größe": ` + names, []string{record(`{"name":"größe","type":"int"}`)}},
		{"x", `generate types: 0.avsc: invalid field name "a-b": ` + names, []string{record(`{"name":"a-b","type":"int"}`)}},
		{"x", `generate types: 0.avsc: invalid field name "": ` + names, []string{record(`{"name":"","type":"int"}`)}},
		{"x", `generate types: 0.avsc: invalid record name "Größe": ` + names, []string{`{"type":"record","name":"Größe","fields":[]}`}},
		{"x", `generate types: 0.avsc: invalid record name "a..R": ` + names, []string{`{"type":"record","name":"a..R","fields":[]}`}},
		{"x", `generate types: 0.avsc: invalid record namespace "1a.b": ` + names, []string{`{"type":"record","name":"R","namespace":"1a.b","fields":[]}`}},
		{"x", `generate types: 0.avsc: invalid enum symbol "ä": ` + names, []string{`{"type":"enum","name":"E","symbols":["ä"]}`}},
		{"x", "generate types: 0.avsc: a type is called map where it is used, as if it were any map: give it its namespace there, or another name", []string{`{"type":"record","name":"a.map","fields":[{"name":"m","type":["null","map"]}]}`}},
		{"x", "generate types: 0.avsc: a type is called enum where it is used, as if it were any enum: give it its namespace there, or another name", []string{`{"type":"record","name":"enum","fields":[{"name":"m","type":["null",".enum"]}]}`}},
		// An alias may be any text, and a tag holds most of them.
		{"x", `generate types: 0.avsc: a.R: field f: alias "b,omitzero" cannot stand in the tag of a Go field: want one that is not empty, without , ( ) [ ]`, []string{record(`{"name":"f","type":"int","aliases":["b,omitzero"]}`)}},
		{"x", `generate types: 0.avsc: a.R: field f: alias "" cannot stand in the tag of a Go field: want one that is not empty, without , ( ) [ ]`, []string{record(`{"name":"f","type":"int","aliases":[""]}`)}},
		{"x", `generate types: 0.avsc: a.R: field f: alias "[x" cannot stand in the tag of a Go field: want one that is not empty, without , ( ) [ ]`, []string{record(`{"name":"f","type":{"type":"fixed","name":"F","size":1,"aliases":["[x"]}}`)}},
		// What is in two files is the same.
		{"x", "generate types: a.R is defined in 0.avsc and in 1.avsc, and not the same: make it the same, or give one of them", []string{record(""), record(`{"name":"f","type":"int"}`)}},
		{"x", "generate types: a.R is defined in 0.avsc and in 1.avsc, and not the same: make it the same, or give one of them", []string{record(`{"name":"f","type":"int","default":1}`), record(`{"name":"f","type":"int"}`)}},
		{"x", "generate types: D is defined in 0.avsc and in 1.avsc, and not the same: make it the same, or give one of them", []string{
			record(`{"name":"f","type":{"type":"fixed","name":"D","namespace":"","size":4,"logicalType":"decimal","precision":4,"scale":2}}`), `{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":4,"scale":1}`,
		}},
		{"x", "generate types: E is defined in 0.avsc and in 1.avsc, and not the same: make it the same, or give one of them", []string{`{"type":"enum","name":"E","symbols":["a"]}`, `{"type":"enum","name":"E","symbols":["b"]}`}},
		{"x", "generate types: 0.avsc: uses a.S, which 1.avsc and 2.avsc define, and not the same: define it in 0.avsc itself", []string{record(`{"name":"f","type":"S"}`), `{"type":"fixed","name":"a.S","size":1}`, `{"type":"fixed","name":"a.S","size":2}`}},
		{"x", "generate types: 0.avsc: a.R: field f: a union of a.S and map comes as a map that does not say which it is: give each a field of its own", []string{record(`{"name":"f","type":[{"type":"record","name":"S","fields":[]},{"type":"map","values":"int"}]}`)}},
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
	got, err := avrogen.Generate("x", avrogen.File{Name: "a\nfunc init() {}\u202e\ufeff\xff.avsc", Text: []byte(`{"type":"record","name":"R","doc":"one\nfunc init() {}\r*/ two\u0000\u202e\ufeff\u2028func init() {}\n+build ignore\ngo:build ignore","fields":[
		{"name":"a","type":"string","default":"` + "`" + `\" func init() {}","doc":"x\n}\nfunc init() {}\n+build ignore\nline x.go:1"},
		{"name":"b","type":"string","default":"\n\u202e","aliases":["\"` + "`" + `"]}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	compiles(t, "hostile text", got)
	const want = "// Code generated by annals schema gen from a func init() {}\\u202e\\ufeff\ufffd.avsc. DO NOT EDIT.\n\npackage x\n\n// R is the Avro record R.\n//\n" +
		"// one\n// func init() {}\n// */ two\\x00\\u202e\\ufeff func init() {}\n// + build ignore\n// go:build ignore\ntype R struct {\n\t// x\n\t// }\n\t// func init() {}\n\t// + build ignore\n\t// line x.go:1\n" +
		"\tA string "
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, tag := range []string{`A string "avro:\"a,default=\\\"` + "`" + `\\\\\\\" func init() {}\\\"\""`, `B string "avro:\"b,alias=\\\"` + "`" + `,default=\\\"\\\\n\\u202e\\\"\""`} {
		if !strings.Contains(string(got), "\t"+tag+"\n") {
			t.Errorf("no %s in\n%s", tag, got)
		}
	}
}

// compiles type-checks a generated file, which imports nothing but the standard library.
func compiles(t *testing.T, what string, source []byte) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "x.go", source, parser.AllErrors|parser.ParseComments)
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, source)
		return
	}
	config := types.Config{Importer: importer.ForCompiler(set, "source", nil)}
	if _, err := config.Check("x", set, []*ast.File{file}, nil); err != nil {
		t.Errorf("%s: %v\n%s", what, err, source)
	}
	if ok, err := matches(t, source); err != nil || !ok {
		t.Errorf("%s: a build leaves the file out: %v\n%s", what, err, source)
	}
}

// matches reports whether a build has the file in it.
func matches(t *testing.T, source []byte) (bool, error) {
	t.Helper()
	c := build.Default
	c.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(source)), nil }
	return c.MatchFile(".", "schema.gen.go")
}

// Whatever Avro allows as a name gives code that compiles.
func TestOddNames(t *testing.T) {
	t.Parallel()
	var fields, symbols, texts []string
	words := []string{
		"func", "type", "range", "string", "int32", "nil", "error", "any", "true", "iota", "len", "byte", "time", "big", "uuid", "math", "avro",
		"init", "main", "_", "_1", "___a", "inline", "omitzero", "default", "alias", "date", "decimal", "MarshalText", "a1_2b",
	}
	for _, w := range words {
		fields = append(fields, `{"name":"`+w+`","type":"long"}`)
		symbols = append(symbols, `"`+w+`"`)
	}
	fields = append(fields, `{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}`, `{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":4}}`,
		`{"name":"key","type":{"type":"string","logicalType":"uuid"}}`, `{"name":"slot","type":["null",{"type":"int","logicalType":"time-millis"}]}`, `{"name":"blob","type":"bytes"}`, `{"name":"one","type":["null","int","string"]}`)
	texts = append(texts,
		`{"type":"record","name":"All","namespace":"_.func.__","fields":[`+strings.Join(fields, ",")+`]}`,
		`{"type":"enum","name":"Words","symbols":[`+strings.Join(symbols, ",")+`]}`)
	for _, w := range []string{"func", "string2", "nil", "any", "time", "big", "Rat", "Duration", "uuid", "init", "_", "_1", "byte", "rune", "Error"} {
		texts = append(texts, `{"type":"record","name":"`+w+`","fields":[{"name":"self","type":["null","`+w+`"]},{"name":"`+w+`","type":"int"}]}`)
	}
	var files []avrogen.File
	for i, text := range texts {
		files = append(files, avrogen.File{Name: fmt.Sprint(i, ".avsc"), Text: []byte(text)})
	}
	got, err := avrogen.Generate("time", files...)
	if err != nil {
		t.Fatal(err)
	}
	compiles(t, "odd names", got)
}

// A type in a namespace may have the name of what is none, and is another one.
func TestTypesNamedLikeKinds(t *testing.T) {
	t.Parallel()
	got, err := avrogen.Generate("x", avrogen.File{Name: "r.avsc", Text: []byte(`{"type":"record","name":"a.int","fields":[
		{"name":"n","type":"int"},{"name":"m","type":{"type":"map","values":"int"}},{"name":"one","type":["null","int","string"]},
		{"name":"next","type":["null","a.int"]},{"name":"f","type":{"type":"fixed","name":"map","size":2}},{"name":"g","type":"a.map"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	compiles(t, "types named like kinds", got)
	for _, line := range []string{"N int32 ", "M map[string]int32 ", "// One of: nil, int32, string.", "Next *Int ", "F Map ", "G Map ", "type Map [2]byte"} {
		if !strings.Contains(strings.Join(strings.Fields(string(got)), " "), line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}

// Files may each have a definition of a type that they share, if it is the same.
func TestSharedDefinitions(t *testing.T) {
	t.Parallel()
	const address = `{"type":"record","name":"order.Address","aliases":["Place"],"fields":[{"name":"city","type":"string"%s}]}`
	var files []avrogen.File
	for i, text := range []string{
		`{"type":"record","name":"order.A","fields":[{"name":"at","type":` + fmt.Sprintf(address, "") + `}]}`,
		`{"type":"record","name":"order.B","fields":[{"name":"at","type":` + fmt.Sprintf(address, `,"doc":"its name"`) + `},{"name":"a","type":{"type":"record","name":"A","fields":[{"name":"at","type":"Address"}]}}]}`,
		fmt.Sprintf(address, ""),
		`{"type":"record","name":"order.A","fields":[{"name":"at","type":"Address"}]}`,
	} {
		files = append(files, avrogen.File{Name: fmt.Sprint(i, ".avsc"), Text: []byte(text)})
	}
	got, err := avrogen.Generate("x", files...)
	if err != nil || strings.Count(string(got), "\ntype ") != 3 {
		t.Fatalf("%v: want three types:\n%s", err, got)
	}
	compiles(t, "shared definitions", got)
}
