package avro_test

import (
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro"
)

type (
	Base   struct{ ID, Name string }
	Hash   [4]byte
	Nested struct {
		Up    *Nested `avro:"up"`
		Count int16
	}
	All struct {
		Base
		Name string `avro:"Name,alias=[title,label]"`
		B    bool
		I    int
		I8   int8
		U    uint64
		U16  uint16 `avro:",default=7"`
		F    float32
		D    float64
		S    string `avro:"s,default=a, b (c"`
		X    []byte
		H    Hash
		H2   Hash
		P    *string
		L    []*Nested `avro:"l,type-alias=Knot"`
		M    map[string][]int32
		At   time.Time `avro:"at,timestamp-nanos"`
		Day  time.Time `avro:",date"`
		R    *big.Rat  `avro:",decimal(9,3)"`
		U1   string    `avro:",uuid"`
		V    [16]byte  `avro:",uuid"`
		W    [16]byte
		Y    [16]byte `avro:",uuid"`
		N    int64    `avro:",timestamp-millis"`
		In   Inlined  `avro:",inline"`
		IP   netip.Addr
		Not  chan int `avro:"-"`
	}
	Inlined     struct{ Deep string }
	page[T any] struct{ Items []T }
	stamp       struct {
		time.Time
		By string
	}
	Times struct {
		At   time.Time
		Took time.Duration
	}
)

func declared(t *testing.T, name string, schema int, typ reflect.Type, opts ...avro.Option) (string, error) {
	t.Helper()
	f := avro.New(&registry{}, opts...)
	if err := f.Declare(name, schema, typ, true); err != nil {
		return "", err
	}
	return f.Declared()[0].Schema.Text, nil
}

// The schema of a type is that of the library, but for times, and for the name.
func TestDerivesLikeTheLibrary(t *testing.T) {
	t.Parallel()
	text, err := declared(t, "order.line-added", 2, reflect.TypeFor[All]())
	if err != nil {
		t.Fatal(err)
	}
	want := avrolib.MustSchemaFor[All](avrolib.WithNamespace("order"), avrolib.WithName("LineAddedV2")).String()
	a, err := avro.Normal(avro.Schema{Text: text})
	b, err2 := avro.Normal(avro.Schema{Text: want})
	if err != nil || err2 != nil || a != b {
		t.Errorf("derived %v\n%s\nthe library %v\n%s", err, a, err2, b)
	}
	text, err = declared(t, "order.timed", 1, reflect.TypeFor[Times]())
	if want := `{"type":"record","name":"Timed","namespace":"order","fields":[{"name":"At","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"Took","type":"long"}]}`; err != nil || text != want {
		t.Errorf("derived %s, %v\nwant %s", text, err, want)
	}
}

// A default of a union is of its first branch: that of other libraries has to be.
func TestDefaultOfAPointer(t *testing.T) {
	t.Parallel()
	type order struct {
		Currency *string `avro:"currency,default=EUR"`
		Note     *string `avro:"note,default=null"`
		Home     *Base   `avro:"home,type-alias=Place,default={\"ID\":\"a\",\"Name\":\"\"}"`
	}
	text, err := declared(t, "order.placed", 1, reflect.TypeFor[order]())
	want := `{"type":"record","name":"Placed","namespace":"order","fields":[{"name":"currency","type":["string","null"],"default":"EUR"},{"name":"note","type":["null","string"],"default":null},{"name":"home","type":[{"type":"record","name":"Base","aliases":["Place"],"fields":[{"name":"ID","type":"string"},{"name":"Name","type":"string"}]},"null"],"default":{"ID":"a","Name":""}}]}`
	if err != nil || text != want {
		t.Errorf("derived %s, %v\nwant %s", text, err, want)
	}
	f := avro.New(&registry{}, avro.WithRegistration())
	if err := f.Declare("order.placed", 1, reflect.TypeFor[order](), true); err != nil {
		t.Fatal(err)
	}
	eur := "EUR"
	for _, want := range []order{{}, {Currency: &eur, Note: &eur, Home: &Base{"a", "b"}}} {
		data, err := f.Marshal("order.placed", 1, want)
		var got order
		if err == nil {
			err = f.Unmarshal("order.placed", 1, data, &got)
		}
		if diff := cmp.Diff(got, want); diff != "" || err != nil {
			t.Errorf("%v, -got +want:\n%s", err, diff)
		}
	}
}

func TestDeriveRefuses(t *testing.T) {
	t.Parallel()
	type loop []loop
	for want, v := range map[string]any{
		"field F: chan int: has no schema":                                struct{ F chan int }{},
		"field F: func(): has no schema":                                  struct{ F func() }{},
		"field F: interface {}: has no schema":                            struct{ F any }{},
		"field F: complex128: has no schema":                              struct{ F []complex128 }{},
		"field F: map[int]string: a map has keys of text in Avro":         struct{ F map[int]string }{},
		"field F: **int: a pointer to a pointer has no schema of its own": struct{ F **int }{},
		"field F: big.Rat: want the tag decimal(precision,scale)":         struct{ F *big.Rat }{},
		"field F: a struct without a name has no schema: name the type":   struct{ F struct{ G int } }{},
		"a type of itself has no schema, unless a struct is in between":   struct{ F loop }{},
		"field F: string: decimal wants *big.Rat": struct {
			F string `avro:",decimal(4,2)"`
		}{},
		"field F: int: uuid wants string, [16]byte or a type that is text": struct {
			F int `avro:",uuid"`
		}{},
		"field F: int64: date wants time.Time, or an integer that is int": struct {
			F int64 `avro:",date"`
		}{},
		`field F: tag ",nope": unknown option "nope"`: struct {
			F int `avro:",nope"`
		}{},
		`field F: tag "-,omitzero": "-" leaves the field out only if nothing follows it`: struct {
			F int `avro:"-,omitzero"`
		}{},
		`field F: tag ",decimal(4,2x)": want decimal(precision,scale), such as decimal(10,2), got decimal(4,2x)`: struct {
			F *big.Rat `avro:",decimal(4,2x)"`
		}{},
		`are both "x": rename one by its avro tag`: struct {
			F int `avro:"x"`
			G int `avro:"x"`
		}{},
		`field F: tag ",omitzero,default=7": omitzero would store the default in place of zero: leave it out`: struct {
			F int `avro:",omitzero,default=7"`
		}{},
		"field F: default 300 does not fit int8": struct {
			F int8 `avro:",default=300"`
		}{},
		"int: want a struct, whose fields are those of the record": 0,
		"field F: default 1e3 does not fit int8: field f: cannot use int8 with Avro type int: value 1000 overflows int8": struct {
			F int8 `avro:",default=1e3"`
		}{},
		"field F: default [300] does not fit []int8: field f: cannot use int8 with Avro type int: value 300 overflows int8": struct {
			F []int8 `avro:",default=[300]"`
		}{},
		`field F: default "x" does not fit string: field f: want a UUID of 36 characters, got 1: "x"`: struct {
			F string `avro:",uuid,default=x"`
		}{},
		`field f: tag "f": a field that is not exported is never written: export it, or leave the tag out`: struct {
			f int `avro:"f"`
		}{},
		`field F: "page[int]" is no name in Avro (letters of ASCII, digits, underscores): declare a type of avro_test.page[int] with such a name`: struct{ F page[int] }{},
		"field Größe: is no name in Avro (letters of ASCII, digits, underscores): give it one in its tag":                                         struct{ Größe int }{},
		"field a-b: is no name in Avro (letters of ASCII, digits, underscores): give it one in its tag": struct {
			F int `avro:"a-b"`
		}{},
		"field Base: *avro_test.Base is inlined, so nil would come back as a struct: embed avro_test.Base, or name the field in its tag": struct{ *Base }{},
		"field Time: time.Time is one value and lends no fields: name the field in its tag":                                              struct{ time.Time }{},
		"field At: time.Time is one value and lends no fields: name the field in its tag": struct {
			At time.Time `avro:",inline"`
		}{},
		"field F: avro_test.stamp: its text is that of the embedded time.Time alone: make that a field with a name": struct{ F []stamp }{},
	} {
		_, err := declared(t, "order.placed", 1, reflect.TypeOf(v))
		if err == nil || !strings.HasPrefix(err.Error(), "order.placed schema 1: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Declare = %v\nwant ... %s", err, want)
		}
	}
}

func TestFilesAndTypes(t *testing.T) {
	t.Parallel()
	type order struct {
		ID    string  `avro:"id"`
		Note  *string `avro:"note"`
		Cents int64   `avro:"cents"`
	}
	file := func(fields string) string {
		return `{"type":"record","name":"com.example.Order","fields":[` + fields + `]}`
	}
	id, note, cents := `{"name":"id","type":"string"}`, `{"name":"note","type":["null","string"]}`, `{"name":"cents","type":"long"}`
	for want, text := range map[string]string{
		"": file(id + "," + note + "," + cents),
		"field cents of avro_test.order is not in record com.example.Order: add it there, or tag it avro:\"-\"":               file(id + "," + note),
		"avro_test.order has no field for more of record com.example.Order: add one, by this name or with it in the avro tag": file(id + "," + note + "," + cents + `,{"name":"more","type":"int"}`),
		"field cents: double wants float64, got int64":                                                                        file(id + "," + note + `,{"name":"cents","type":"double"}`),
		"field id: null has no place in string: use *string":                                                                  file(`{"name":"id","type":["null","string"]},` + note + "," + cents),
		"field note: int wants an integer, or the type of its logical type, got string":                                       file(id + `,{"name":"note","type":["null","int"]},` + cents),
		"order.placed.v1.avsc: want a record, got string":                                                                     `"string"`,
		"not an Avro schema: EOF": " ",
	} {
		_, err := declared(t, "order.placed", 1, reflect.TypeFor[order](), avro.WithSchemas(fstest.MapFS{"order.placed.v1.avsc": {Data: []byte(text)}}))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "order.placed schema 1: ") || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("Declare = %v\nwant ... %s", err, want)
		}
	}
	f := avro.New(&registry{}, avro.WithSubject(func(name, record string) string { return "shop.order-" + record }))
	for range 2 {
		if err := f.Declare("order.placed", 1, reflect.TypeFor[order](), false); err != nil {
			t.Error(err)
		}
	}
	if got := f.Declared(); len(got) != 1 || got[0].Subject != "shop.order-order.Placed" || got[0].Written {
		t.Errorf("declared %+v", got)
	}
	if err := f.Declare("order.Placed", 1, reflect.TypeFor[order](), true); err != nil {
		t.Errorf("the same record: %v", err)
	}
	if err := f.Declare("order.placed-v2", 1, reflect.TypeFor[Times](), true); err != nil {
		t.Error(err)
	}
	taken := "order.placed schema 2: its record is order.PlacedV2, as that of order.placed-v2 schema 1: rename the event, or give it a file"
	if err := f.Declare("order.placed", 2, reflect.TypeFor[order](), true); err == nil || err.Error() != taken {
		t.Errorf("Declare = %v, want %s", err, taken)
	}
	want := "order.placed schema 1: is avro_test.order in one codec and avro_test.Times in another: give each a Format of its own"
	if err := f.Declare("order.placed", 1, reflect.TypeFor[Times](), true); err == nil || err.Error() != want {
		t.Errorf("Declare = %v, want %s", err, want)
	}
}
