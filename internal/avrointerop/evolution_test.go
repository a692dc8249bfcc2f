package avrointerop

type (
	v1 struct {
		ID string `avro:"id"`
		N  int32  `avro:"n"`
	}
	v1More struct {
		ID    string `avro:"id"`
		Extra []line `avro:"extra"`
		N     int32  `avro:"n"`
	}
	v2 struct {
		ID      string            `avro:"id"`
		N       int64             `avro:"n"`
		Text    string            `avro:"text"`
		Flag    bool              `avro:"flag"`
		Number  int64             `avro:"number"`
		Rate    float64           `avro:"rate"`
		Raw     []byte            `avro:"raw"`
		Kind    string            `avro:"kind"`
		List    []string          `avro:"list"`
		Map     map[string]int64  `avro:"map"`
		Comment *string           `avro:"comment"`
		Where   place             `avro:"where"`
		Labels  map[string]string `avro:"labels"`
	}
	place struct {
		Street string `avro:"street"`
		Zip    string `avro:"zip"`
	}
	renamed struct {
		Key string `avro:"key"`
		N   int32  `avro:"n"`
	}
	reordered struct {
		N  int32  `avro:"n"`
		ID string `avro:"id"`
	}
	tree struct {
		Value int64  `avro:"value"`
		Next  *tree  `avro:"next"`
		Note  string `avro:"note"`
	}
	lineV2 struct {
		SKU      string `avro:"sku"`
		Quantity int64  `avro:"quantity"`
		Currency string `avro:"currency"`
	}
)

const (
	placeType  = `{"type":"record","name":"Place","fields":[{"name":"street","type":"string"},{"name":"zip","type":"string"}]}`
	treeType   = `{"type":"record","name":"Node","fields":[{"name":"value","type":"long"},{"name":"next","type":["null","Node"],"default":null},{"name":"note","type":"string","default":"none"}]}`
	lineTypeV2 = `{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"quantity","type":"long"},{"name":"currency","type":"string","default":"EUR"}]}`
	withOther  = `{"type":"enum","name":"Status","symbols":["NEW","OTHER"],"default":"OTHER"}`
	moreStatus = `{"type":"enum","name":"Status","symbols":["NEW","PAID","SENT","LOST"]}`
)

func evolutions() []scenario {
	text, street := "x", "Main St"
	first := record(field("id", `"string"`), field("n", `"int"`))
	defaults := record(
		field("id", `"string"`), field("n", `"long"`),
		field("text", `"string"`, `"default":"t"`), field("flag", `"boolean"`, `"default":true`), field("number", `"long"`, `"default":-5`),
		field("rate", `"double"`, `"default":0.5`), field("raw", `"bytes"`, `"default":"\u0001\u00ff"`), field("kind", statusType, `"default":"PAID"`),
		field("list", `{"type":"array","items":"string"}`, `"default":[]`), field("map", `{"type":"map","values":"long"}`, `"default":{}`),
		field("comment", `["null","string"]`, `"default":null`), field("where", placeType, `"default":{"street":"nowhere","zip":"1"}`),
		field("labels", `{"type":"map","values":"string"}`, `"default":{"a":"b"}`))
	return append([]scenario{
		{
			name: "added_defaults", writer: first, reader: defaults, value: v1{"i", 7},
			want: v2{
				ID: "i", N: 7, Text: "t", Flag: true, Number: -5, Rate: 0.5, Raw: []byte{1, 255}, Kind: "PAID",
				List: []string{}, Map: map[string]int64{}, Where: place{"nowhere", "1"}, Labels: map[string]string{"a": "b"},
			},
		},
		{
			name: "added_default_with_null_in_it", writer: first, value: v1{"i", 7},
			reader: record(field("id", `"string"`), field("where", addressType, `"default":{"street":"nowhere","zip":null}`)),
			want: struct {
				ID    string  `avro:"id"`
				Where address `avro:"where"`
			}{"i", address{Street: "nowhere"}},
			hambaCannot: "null in the default of a record: see TestDifferences",
		},
		{
			name:   "removed",
			writer: record(field("id", `"string"`), field("extra", `{"type":"array","items":`+lineType+`}`), field("n", `"int"`)), reader: first,
			value: v1More{"i", []line{{"a", 1, 2}}, 7}, want: v1{"i", 7}, blocks: true,
		},
		{name: "alias_of_field", writer: first, reader: record(field("key", `"string"`, `"aliases":["id"]`), field("n", `"int"`)), value: v1{"i", 7}, want: renamed{"i", 7}},
		{
			name: "alias_of_record", writer: first, value: v1{"i", 7}, want: v1{"i", 7},
			reader: `{"type":"record","name":"New","namespace":"annals.interop","aliases":["Subject"],"fields":[` + field("id", `"string"`) + "," + field("n", `"int"`) + `]}`,
		},
		{name: "reordered", writer: first, reader: record(field("n", `"int"`), field("id", `"string"`)), value: v1{"i", 7}, want: reordered{7, "i"}},
		promote("nested_added_default", `{"type":"record","name":"Address","fields":[{"name":"street","type":"string"}]}`,
			struct {
				Street string `avro:"street"`
			}{street}, addressType, address{Street: street}),
		promote("recursive_added_default", nodeType, node{1, &node{2, nil}}, treeType, tree{1, &tree{2, nil, "none"}, "none"}).
			beyondHamba("it ends the process: see TestHambaDies"),
		promote("array_of_evolved", `{"type":"array","items":`+lineType+`}`, []line{{"a", 2, 1.25}, {"b", 1, 0}},
			`{"type":"array","items":`+lineTypeV2+`}`, []lineV2{{"a", 2, "EUR"}, {"b", 1, "EUR"}}).inBlocks(),
		promote("map_of_evolved", `{"type":"map","values":`+lineType+`}`, map[string]line{"k": {"a", 2, 1.25}},
			`{"type":"map","values":`+lineTypeV2+`}`, map[string]lineV2{"k": {"a", 2, "EUR"}}).inBlocks(),
		promote("array_promoted", `{"type":"array","items":"int"}`, []int32{1, 2}, `{"type":"array","items":"double"}`, []float64{1, 2}).inBlocks(),
		promote("enum_default", statusType, "SENT", withOther, "OTHER"),
		promote("enum_default_unused", statusType, "NEW", withOther, "NEW"),
		promote("enum_more_symbols", statusType, "SENT", moreStatus, "SENT"),
		promote("union_widened_from_type", `"string"`, "x", `["null","string"]`, &text).
			beyondHamba("a type that became optional does not go into a pointer: see TestDifferences"),
		promote[string, any]("union_widened_from_type_into_any", `"string"`, "x", `["null","string"]`, "x"),
		promote[*string, any]("union_widened", `["null","string"]`, &text, `["null","long","string"]`, "x"),
		promote("union_reordered", `["null","string"]`, &text, `["string","null"]`, &text),
	}, promotions()...)
}

// promotions is the table of the specification.
func promotions() []scenario {
	return []scenario{
		promote("int_to_long", `"int"`, int32(-7), `"long"`, int64(-7)),
		promote("int_to_float", `"int"`, int32(-7), `"float"`, float32(-7)),
		promote("int_to_double", `"int"`, int32(-7), `"double"`, float64(-7)),
		promote("long_to_float", `"long"`, int64(1<<20), `"float"`, float32(1<<20)),
		promote("long_to_double", `"long"`, int64(1<<40), `"double"`, float64(1<<40)),
		promote("float_to_double", `"float"`, float32(1.5), `"double"`, 1.5),
		promote("string_to_bytes", `"string"`, "x", `"bytes"`, []byte("x")),
		promote("bytes_to_string", `"bytes"`, []byte("x"), `"string"`, "x"),
	}
}
