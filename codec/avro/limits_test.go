package avro_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
)

type (
	Tree struct {
		Kids []Tree `avro:"kids"`
		Next *Tree  `avro:"next"`
	}
	Bombed struct {
		Names []string         `avro:"names"`
		Tree  *Tree            `avro:"tree"`
		Sums  map[string]int64 `avro:"sums"`
		Text  string           `avro:"text"`
	}
)

func (Bombed) isOrder() {}

func bombCodec(r *registry, opts ...avro.Option) *codec.Codec[Event] {
	return codec.New[Event](avro.New(r, append(opts, avro.WithRegistration())...), codec.Types[Event]{"order.bombed": Bombed{}})
}

func payload(id int, parts ...any) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.AppendVarint(b, int64(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

func decode(c *codec.Codec[Event], name string, data []byte) ([]event.Of[Event], error) {
	return c.Decode(event.Recorded{Raw: event.Raw{Name: name, Schema: 1, ContentType: avro.ContentType, Payload: data}})
}

// refused decodes hostile bytes, which must be an error that says why, soon and without
// much memory.
func refused(t *testing.T, c *codec.Codec[Event], data []byte, want string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(c, "order.bombed", data)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, codec.ErrUndecodable) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Decode = %v\nwant      ... %s", err, want)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 128<<20 {
		t.Errorf("%s: allocated %d bytes", want, got)
	}
}

//nolint:paralleltest // memory is measured
func TestHostilePayloads(t *testing.T) {
	r := &registry{}
	c := bombCodec(r)
	if _, err := c.Encode(Bombed{}); err != nil {
		t.Fatal(err)
	}
	nulls := r.add("nulls", `{"type":"record","name":"Bombed","fields":[{"name":"skipped","type":{"type":"array","items":"null"}},{"name":"names","type":{"type":"array","items":"string"},"default":[]},{"name":"sums","type":{"type":"map","values":"long"}},{"name":"text","type":"string"}]}`)
	empties := r.add("empties", `{"type":"record","name":"Bombed","fields":[{"name":"names","type":{"type":"array","items":"string"},"default":[]},{"name":"sums","type":{"type":"map","values":"long"}},{"name":"text","type":"string"},{"name":"skipped","type":{"type":"array","items":{"type":"record","name":"None","fields":[]}}}]}`)
	var doubling strings.Builder // 2^40 records of no bytes
	doubling.WriteString(`{"type":"record","name":"Bombed","fields":[`)
	for i := range 40 {
		fmt.Fprintf(&doubling, `{"name":"f%d","type":{"type":"record","name":"R%d","fields":[`, i, i)
		if i == 0 {
			doubling.WriteString(`]}},`)
			continue
		}
		fmt.Fprintf(&doubling, `{"name":"a","type":"R%d"},{"name":"b","type":"R%d"}]}},`, i-1, i-1)
	}
	doubling.WriteString(`{"name":"names","type":{"type":"array","items":"string"}},{"name":"sums","type":{"type":"map","values":"long"}},{"name":"text","type":"string"}]}`)
	double := r.add("double", doubling.String())

	for want, data := range map[string][]byte{
		"limit Items: payload has more than 1000000 items: 0 and 1099511627776 more":                payload(1, 1<<40),
		"field names: block has -9223372036854775808 items":                                         payload(1, math.MinInt64),
		"block has -1 bytes, of which the payload has 3":                                            payload(1, -1, -1, 0, 0, 0),
		"block has 1099511627776 bytes, of which the payload has 3":                                 payload(1, -1, 1<<40, 0, 0, 0),
		"block says that it ends at byte 5, its items at byte 4":                                    payload(1, -1, 3, 1, "a", 0, 0, 0, 0),
		"field names: length is -1 at byte 2":                                                       payload(1, 1, -1),
		"field names: payload ends at byte 7, 1099511627776 bytes too early":                        payload(1, 1, 1<<40),
		"field skipped: limit Items: payload has more than 1000000 items: 0 and 1099511627776 more": payload(nulls, 1<<40, 0, 0, 0, 0),
		"limit Items: payload has more than 1000000 items: 999999 and 2 more":                       payload(nulls, 999_999, 2, 0, 0, 0, 0),
		"array of zero-byte items exceeds 4096-element limit":                                       payload(nulls, 999_999, 0, 0, 0, 0),
		"field skipped: limit Items: payload has more than 1000000 items: 0 and 1000001 more":       payload(empties, 0, 0, 0, 1_000_001, 0),
		"b: limit Items: payload has more than 1000000 items: 1000000 and 1 more":                   payload(double, 0, 0, 0),
		"limit Depth: values are nested more than 64 deep":                                          payload(1, 0, 1, strings.Repeat("\x02", 1_000_000)),
		"field tree: union has 2 branches, payload says number 2":                                   payload(1, 0, 2),
		"field names: text is not valid UTF-8":                                                      payload(1, 1, 1, "\xff", 0, 0, 0, 0),
		"field sums: key of a map: text is not valid UTF-8":                                         payload(1, 0, 0, 1, 1, "\xff", 1, 0, 0),
		"field names: number has more than 64 bits":                                                 payload(1, strings.Repeat("\xff", 11)),
		"payload has 2 bytes after the 4 of its value":                                              payload(1, 0, 0, 0, 0, "ab"),
		"field sums: payload ends at byte 2, in a number":                                           payload(1, 0, 0),
		"payload has 4 bytes: want a zero byte and the four of the schema's id before the value":    payload(1)[:4],
		"payload has 0 bytes: want a zero byte and the four of the schema's id before the value":    nil,
		"payload begins with byte 0x01: want 0x00, before the id of the schema":                     {1, 0, 0, 0, 1, 0},
		"schema id 99: registry has no schema of this id":                                           payload(99, 0),
		"schema id 4294967295: registry has no schema of this id: ids end at 2147483647":            payload(-1, 0),
		"limit Bytes: payload has 16777217 bytes, more than 16777216":                               make([]byte, 16<<20+1),
	} {
		refused(t, c, data, want)
	}
}

// Every limit, one above what it allows, and what it allows.
func TestLimits(t *testing.T) {
	t.Parallel()
	deep := func(n int) Bombed {
		var tree *Tree
		for range n {
			tree = &Tree{Next: tree}
		}
		return Bombed{Tree: tree}
	}
	for want, tc := range map[string]struct {
		limits    avro.Limits
		good, bad Bombed
	}{
		"limit Bytes: payload has 18 bytes, more than 17": {avro.Limits{Bytes: 17}, Bombed{Text: strings.Repeat("x", 8)}, Bombed{Text: strings.Repeat("x", 9)}},
		"field sums: limit Items: payload has more than 2 items: 2 and 1 more": {
			avro.Limits{Items: 2}, Bombed{Names: []string{"a", "b"}}, Bombed{Names: []string{"a", "b"}, Sums: map[string]int64{"c": 1}}},
		"field tree.next.next: limit Depth: values are nested more than 6 deep": {avro.Limits{Depth: 6}, deep(2), deep(3)},
	} {
		c := bombCodec(&registry{}, avro.WithLimits(tc.limits))
		if _, err := c.Encode(tc.good); err != nil {
			t.Errorf("%+v: %v", tc.limits, err)
		}
		_, err := c.Encode(tc.bad)
		if !errors.Is(err, codec.ErrUnencodable) || !strings.HasSuffix(fmt.Sprint(err), want) {
			t.Errorf("%+v: Encode = %v\nwant %s", tc.limits, err, want)
		}
	}
}

// record is a schema that Bombed reads, with one more field.
func record(field string) string {
	return `{"type":"record","name":"Bombed","fields":[{"name":"names","type":{"type":"array","items":"string"}},{"name":"sums","type":{"type":"map","values":"long"}},{"name":"text","type":"string"},` + field + `]}`
}

//nolint:paralleltest // memory is measured
func TestHostileSchemas(t *testing.T) {
	nested := func(n int) string {
		return record(`{"name":"deep","type":` + strings.Repeat(`{"type":"array","items":`, n) + `"int"` + strings.Repeat(`}`, n) + `}`)
	}
	for want, text := range map[string]string{
		"text of schema has 262145 bytes, more than the limit of 262144":    record(`{"name":"x","type":"int"}`) + strings.Repeat(" ", 262_145-len(record(`{"name":"x","type":"int"}`))),
		"types of schema are nested deeper than the limit":                  nested(65),
		"field huge: payload ends at byte 3, 9000000000000 bytes too early": record(`{"name":"huge","type":{"type":"fixed","name":"H","size":9000000000000}}`),
		"decimal precision 2000000000 exceeds 65536 limit":                  record(`{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":2000000000,"scale":1}}`),
		"not an Avro schema: unknown primitive \"nope\"":                    `"nope"`,
		"not an Avro schema: EOF":                                           ``,
	} {
		r := &registry{}
		c := bombCodec(r)
		refused(t, c, payload(r.add("x", text), 0, 0, 0), want)
	}
	r := &registry{}
	if _, err := decode(bombCodec(r), "order.bombed", payload(r.add("x", nested(20)), 0, 0, 0, 0)); err != nil {
		t.Errorf("what the limit allows: %v", err)
	}
	// What is kept is bounded: with room for one, two schemas in turn are asked for again.
	one, two := record(`{"name":"one","type":"int"}`), record(`{"name":"two","type":"int"}`)
	r = &registry{}
	c := bombCodec(r, avro.WithLimits(avro.Limits{Schemas: 1}))
	a, b := r.add("x", one), r.add("x", two)
	for range 3 {
		for _, id := range []int{a, a, b, b} {
			if _, err := decode(c, "order.bombed", payload(id, 0, 0, 0, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := r.count(); got != 6 {
		t.Errorf("asked %d times, want 6", got)
	}
}

func TestOptionsPanic(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(){
		"avro: want a registry, got nil":                                         func() { avro.New(nil) },
		"avro: WithLimits: Items: want at least 1, or 0 for the default, got -1": func() { avro.New(&registry{}, avro.WithLimits(avro.Limits{Items: -1})) },
		"avro: WithTimeout: want more than 0, got -1ns":                          func() { avro.New(&registry{}, avro.WithTimeout(-1)) },
		"avro: WithSchemas: want files, got nil":                                 func() { avro.New(&registry{}, avro.WithSchemas(nil)) },
		"avro: WithSubject: want a function, got nil":                            func() { avro.New(&registry{}, avro.WithSubject(nil)) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			build()
		}()
	}
}
