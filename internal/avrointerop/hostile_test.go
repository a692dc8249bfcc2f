package avrointerop

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// bytesOf joins numbers as Avro writes a long.
func bytesOf(numbers ...int64) []byte {
	var out []byte
	for _, n := range numbers {
		out = binary.AppendVarint(out, n)
	}
	return out
}

// placed is an order as services send it.
type placed struct {
	ID       string            `avro:"id"`
	Customer string            `avro:"customer"`
	Cents    int64             `avro:"cents"`
	Paid     bool              `avro:"paid"`
	Lines    []line            `avro:"lines"`
	Labels   map[string]string `avro:"labels"`
	Note     *string           `avro:"note"`
	At       int64             `avro:"at"`
}

// accepted counts the shorter prefixes of an order that the library decodes without an error.
func accepted(t *testing.T, l library) (n, of int) {
	t.Helper()
	s := record(field("id", `"string"`), field("customer", `"string"`), field("cents", `"long"`), field("paid", `"boolean"`),
		field("lines", `{"type":"array","items":`+lineType+`}`), field("labels", `{"type":"map","values":"string"}`),
		field("note", `["null","string"]`), field("at", `"long"`))
	note := "leave it with the neighbours"
	data, err := l.encode(s, placed{
		ID: "o-1", Customer: "c-17", Cents: 1250, Paid: true, Lines: []line{{"a", 2, 1.25}, {"b", 1, 0.5}},
		Labels: map[string]string{"k": "v"}, Note: &note, At: 1795338672123,
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := range data {
		if l.decode(s, s, data[:end], new(placed)) == nil {
			n++
		}
	}
	return n, len(data)
}

// TestTruncated: hamba takes many messages that were cut off for whole ones, with zero for
// what is missing. None of them is one.
func TestTruncated(t *testing.T) {
	t.Parallel()
	if n, of := accepted(t, direct()); n != 0 {
		t.Errorf("twmb accepts %d of %d prefixes of an order", n, of)
	}
	n, of := accepted(t, hambas())
	if n == 0 {
		t.Errorf("hamba accepts no prefix of an order any more: say so in docs/adr/0018-avro.md")
	}
	t.Logf("hamba accepts %d of the %d prefixes of an order", n, of)
}

// TestTruncatedSays: what a reader of hamba gets from half a message, and from none.
func TestTruncatedSays(t *testing.T) {
	t.Parallel()
	s := record(field("id", `"long"`), field("cents", `"long"`))
	for _, data := range [][]byte{bytesOf(7), {}} {
		var v struct {
			ID    int64 `avro:"id"`
			Cents int64 `avro:"cents"`
		}
		if err := hambas().decode(s, s, data, &v); err != nil || v.Cents != 0 {
			t.Errorf("hamba: got %+v, %v; it has always been an order of no cents", v, err)
		}
		if err := direct().decode(s, s, data, &v); err == nil || !strings.Contains(err.Error(), "short buffer") {
			t.Errorf("twmb: got %v, want a short buffer", err)
		}
	}
}

// TestTrailing: neither library looks at what is behind a message; codec/avro does.
func TestTrailing(t *testing.T) {
	t.Parallel()
	s := one("", `"long"`, int64(7))
	data := append(bytesOf(7), 1, 2, 3)
	s.reads(t, hambas(), data, "nobody")
	if err := direct().decode(s.writer, s.reader, data, reflect.New(reflect.TypeOf(s.want)).Interface()); err == nil {
		t.Errorf("got no error of bytes that are left")
	}
}

// TestOverflow is CVE-2026-46384: the counts of the blocks of an array are added without a
// look at the limits of an int. A message of twelve bytes that announces more items than
// there are numbers decodes without an error.
func TestOverflow(t *testing.T) {
	t.Parallel()
	s := record(field("v", `{"type":"array","items":"long"}`))
	m := record(field("v", `{"type":"map","values":"long"}`))
	var list struct {
		V []int64 `avro:"v"`
	}
	var table struct {
		V map[string]int64 `avro:"v"`
	}
	for what, do := range map[string]func(library) error{
		"two blocks, one past the limit": func(l library) error { return l.decode(s, s, bytesOf(1, 5, 1<<63-1), &list) },
		"a block of the smallest number": func(l library) error { return l.decode(s, s, bytesOf(-1<<63, 5, 5), &list) },
		"a map of the smallest number":   func(l library) error { return l.decode(m, m, bytesOf(-1<<63, 5, 5), &table) },
		"a long of more than 64 bits":    func(l library) error { return decodeLong(l, append(slices.Repeat([]byte{0xff}, 9), 0x7f)) },
	} {
		if err := do(hambas()); err != nil {
			t.Errorf("%s: hamba says %v, it used to say nothing", what, err)
		}
		if err := do(direct()); err == nil {
			t.Errorf("%s: twmb says nothing", what)
		}
	}
}

func decodeLong(l library, data []byte) error {
	var v struct {
		V int64 `avro:"v"`
	}
	return l.decode(record(field("v", `"long"`)), record(field("v", `"long"`)), data, &v)
}

// TestLargeString: hamba does not read what it has written, without another configuration.
func TestLargeString(t *testing.T) {
	t.Parallel()
	s := one("", `"string"`, strings.Repeat("x", 1<<20+1))
	data, err := hambas().encode(s.writer, s.value)
	if err != nil {
		t.Fatal(err)
	}
	err = hambas().decode(s.writer, s.reader, data, reflect.New(reflect.TypeOf(s.want)).Interface())
	if err == nil || !strings.Contains(err.Error(), "MaxByteSliceSize") {
		t.Errorf("hamba: got %v, want it to be too large", err)
	}
	s.reads(t, direct(), data, "hamba")
}
