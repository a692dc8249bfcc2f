package avrointerop

import (
	"math"
	"strings"
)

type (
	address struct {
		Street string  `avro:"street"`
		Zip    *string `avro:"zip"`
	}
	node struct {
		Value int64 `avro:"value"`
		Next  *node `avro:"next"`
	}
	line struct {
		SKU      string  `avro:"sku"`
		Quantity int32   `avro:"quantity"`
		Price    float64 `avro:"price"`
	}
	order struct {
		ID      string            `avro:"id"`
		Status  string            `avro:"status"`
		Lines   []line            `avro:"lines"`
		Labels  map[string]string `avro:"labels"`
		Ship    address           `avro:"ship"`
		Bill    *address          `avro:"bill"`
		Token   [4]byte           `avro:"token"`
		Payload []byte            `avro:"payload"`
	}
)

const (
	addressType = `{"type":"record","name":"Address","fields":[{"name":"street","type":"string"},{"name":"zip","type":["null","string"],"default":null}]}`
	lineType    = `{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"quantity","type":"int"},{"name":"price","type":"double"}]}`
	nodeType    = `{"type":"record","name":"Node","fields":[{"name":"value","type":"long"},{"name":"next","type":["null","Node"],"default":null}]}`
	statusType  = `{"type":"enum","name":"Status","symbols":["NEW","PAID","SENT"]}`
	tokenType   = `{"type":"fixed","name":"Token","size":4}`
)

func orderSchema() string {
	return named("Order",
		field("id", `"string"`), field("status", statusType), field("lines", `{"type":"array","items":`+lineType+`}`),
		field("labels", `{"type":"map","values":"string"}`), field("ship", addressType), field("bill", `["null","Address"]`, `"default":null`),
		field("token", tokenType), field("payload", `"bytes"`))
}

func plainTypes() []scenario {
	text, long := "x", int64(math.MaxInt64)
	many := make([]int64, 250) // three blocks of hamba
	for i := range many {
		many[i] = int64(i * i)
	}
	whole := order{
		ID: "o-1", Status: "PAID", Lines: []line{{"a", 2, 1.25}, {"b", 1, -0.5}}, Labels: map[string]string{"k": "v"},
		Ship: address{"Main St", &text}, Bill: &address{Street: "Side St"}, Token: [4]byte{1, 2, 3, 4}, Payload: []byte{0, 255},
	}
	return []scenario{
		one("boolean_true", `"boolean"`, true),
		one("boolean_false", `"boolean"`, false),
		one("int_smallest", `"int"`, int32(math.MinInt32)),
		one("int_largest", `"int"`, int32(math.MaxInt32)),
		one("int_as_int16", `"int"`, int16(-7)),
		one("int_as_uint8", `"int"`, uint8(200)),
		one("long_smallest", `"long"`, int64(math.MinInt64)),
		one("long_largest", `"long"`, int64(math.MaxInt64)),
		one("long_as_int", `"long"`, 1<<53+1),
		one("float", `"float"`, float32(1.5)),
		one("float_infinite", `"float"`, float32(math.Inf(-1))),
		one("double", `"double"`, math.SmallestNonzeroFloat64),
		one("double_infinite", `"double"`, math.Inf(1)),
		one("string", `"string"`, "h\x00\u00e9\U0001f600"),
		one("string_empty", `"string"`, ""),
		one("string_long", `"string"`, strings.Repeat("long", 5000)),
		one("bytes", `"bytes"`, []byte{0, 1, 255}),
		one("bytes_empty", `"bytes"`, []byte{}),
		one("fixed", tokenType, [4]byte{9, 8, 7, 6}),
		one("enum", statusType, "SENT"),
		one("array", `{"type":"array","items":"string"}`, []string{"a", "", "c"}).inBlocks(),
		one("array_empty", `{"type":"array","items":"string"}`, []string{}),
		one("array_of_several_blocks", `{"type":"array","items":"long"}`, many).inBlocks(),
		one("array_of_arrays", `{"type":"array","items":{"type":"array","items":"int"}}`, [][]int32{{1}, {}, {2, 3}}).inBlocks(),
		one("array_of_optionals", `{"type":"array","items":["null","long"]}`, []*int64{nil, &long}).inBlocks(),
		one("map", `{"type":"map","values":"long"}`, map[string]int64{"only": 1}).inBlocks(),
		one("map_empty", `{"type":"map","values":"long"}`, map[string]int64{}),
		one("map_of_records", `{"type":"map","values":`+addressType+`}`, map[string]address{"home": {"Main St", &text}}).inBlocks(),
		one("optional_set", `["null","string"]`, &text),
		one("optional_null", `["null","string"]`, (*string)(nil)),
		one("optional_null_last", `["string","null"]`, &text),
		one("optional_record", `["null",`+addressType+`]`, &address{Street: "Main St"}),
		one[any]("union_string", `["null","string","long"]`, "x"),
		one[any]("union_long", `["null","string","long"]`, int64(-1)),
		one[any]("union_null", `["null","string","long"]`, nil),
		one("record_nested", addressType, address{"Main St", &text}),
		one("record_recursive", nodeType, node{1, &node{2, &node{3, nil}}}),
		{name: "record_of_everything", writer: orderSchema(), reader: orderSchema(), value: whole, want: whole, blocks: true},
	}
}
