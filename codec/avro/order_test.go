package avro_test

import (
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	avrolib "github.com/twmb/avro"
)

// Ordered is an order event with an array and a map.
type Ordered struct {
	Order    string            `avro:"order"`
	Customer string            `avro:"customer"`
	At       time.Time         `avro:"at"`
	Cents    int64             `avro:"cents"`
	Currency string            `avro:"currency,default=EUR"`
	Note     *string           `avro:"note"`
	Lines    []Line            `avro:"lines"`
	Labels   map[string]string `avro:"labels"`
}

func (Ordered) isOrder() {}

var orderType = reflect.TypeFor[Ordered]()

func ordered() Ordered {
	note := "ring twice"
	return Ordered{
		Order: "o-4711", Customer: "c-17", At: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Cents: 1999, Currency: "EUR",
		Note: &note, Lines: []Line{{"p-1", 2, 500}, {"p-2", 1, 999}}, Labels: map[string]string{"channel": "web", "campaign": "spring"},
	}
}

// earlierOrder is a schema of Ordered from before the currency, when an order had a clerk,
// its cents were an int, and its fields were in another order.
const earlierOrder = `{"type":"record","name":"Placed","namespace":"order","fields":[
	{"name":"customer","type":"string"},{"name":"order","type":"string"},{"name":"clerk","type":"string"},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"cents","type":"int"},
	{"name":"note","type":["null","string"],"default":null},
	{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"Product","type":"string"},{"name":"Count","type":"int"},{"name":"Cents","type":"long"}]}}},
	{"name":"labels","type":{"type":"map","values":"string"}}]}`

func earlierValue() map[string]any {
	return map[string]any{
		"customer": "c-17", "order": "o-4711", "clerk": "k-1", "at": ordered().At, "cents": int32(1999), "note": "ring twice",
		"lines":  []any{map[string]any{"Product": "p-1", "Count": 2, "Cents": 500}, map[string]any{"Product": "p-2", "Count": 1, "Cents": 999}},
		"labels": map[string]any{"channel": "web", "campaign": "spring"},
	}
}

// written is a payload that another program has written with a schema.
func written(tb testing.TB, id int, schema string, v any) []byte {
	tb.Helper()
	b, err := avrolib.MustParse(schema).AppendEncode(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
