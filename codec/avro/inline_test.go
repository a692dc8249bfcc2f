package avro_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec/avro"
)

// inlineRecord is the text of a record whose fields are written name:type.
func inlineRecord(name string, fields ...string) string {
	var all []string
	for _, f := range fields {
		field, typ, _ := strings.Cut(f, ":")
		if !strings.ContainsAny(typ, `{["`) {
			typ = `"` + typ + `"`
		}
		all = append(all, `{"name":"`+field+`","type":`+typ+`}`)
	}
	return `{"type":"record","name":"` + name + `","fields":[` + strings.Join(all, ",") + `]}`
}

func TestInline(t *testing.T) {
	t.Parallel()
	address := inlineRecord("order.Address", "city:string")
	where := `{"type":"record","name":"order.Address","doc":"where","fields":[{"name":"city","doc":"its name","type":"string"}]}`
	for name, tt := range map[string]struct{ texts, want []string }{
		"nothing to do": {[]string{" " + address, inlineRecord("order.Gone", "at:order.Nowhere")}, nil},
		"in the first place, by its short and its full name": {
			[]string{inlineRecord("order.Moved", "from:Address", `to:["null","order.Address"]`), address},
			[]string{inlineRecord("order.Moved", "from:"+address, `to:["null","order.Address"]`), address},
		},
		"through another one, arrays and maps": {
			[]string{address, inlineRecord("Trip", `stops:{"type":"map","values":{"type":"array","items":"order.Stop"}}`), inlineRecord("order.Stop", "at:Address")},
			[]string{
				address,
				inlineRecord("Trip", `stops:{"type":"map","values":{"type":"array","items":`+inlineRecord("order.Stop", "at:"+address)+`}}`),
				inlineRecord("order.Stop", "at:"+address),
			},
		},
		"out of the middle of a file": {
			[]string{inlineRecord("a.R", `k:{"type":"enum","name":"K","symbols":["x"]}`), inlineRecord("b.S", "k:a.K")},
			[]string{inlineRecord("a.R", `k:{"type":"enum","name":"K","symbols":["x"]}`), inlineRecord("b.S", `k:{"type":"enum","name":"a.K","symbols":["x"]}`)},
		},
		"in a circle": {
			[]string{inlineRecord("a.R", `s:["null","S"]`), inlineRecord("a.S", `r:["null","R"]`)},
			[]string{inlineRecord("a.R", `s:["null",`+inlineRecord("a.S", `r:["null","a.R"]`)+`]`), inlineRecord("a.S", `r:["null",`+inlineRecord("a.R", `s:["null","a.S"]`)+`]`)},
		},
		"without a namespace stays so": {
			[]string{inlineRecord("a.R", "s:S"), inlineRecord("S", "t:T"), inlineRecord("T", "v:int")},
			[]string{
				inlineRecord("a.R", `s:{"type":"record","name":"S","namespace":"","fields":[{"name":"t","type":`+inlineRecord("T", "v:int")+`}]}`),
				inlineRecord("S", "t:"+inlineRecord("T", "v:int")),
				inlineRecord("T", "v:int"),
			},
		},
		"a file that needs no other means what it always did": {
			[]string{`{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"record","name":"order.S","fields":[{"name":"r","type":["null","R"]}]}}]}`, inlineRecord("order.R", "v:int")},
			nil,
		},
		"nor where a third one uses what it defines": {
			[]string{
				`{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"record","name":"order.S","fields":[{"name":"r","type":["null","R"]}]}}]}`, inlineRecord("order.R", "v:int"),
				inlineRecord("z.U", "s:order.S"),
			},
			[]string{
				`{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"record","name":"order.S","fields":[{"name":"r","type":["null","R"]}]}}]}`, inlineRecord("order.R", "v:int"),
				inlineRecord("z.U", "s:"+inlineRecord("order.S", `r:["null",{"type":"record","name":"R","namespace":"","fields":[{"name":"x","type":"order.S"}]}]`)),
			},
		},
		"the same definition in two files": {
			[]string{address, inlineRecord("order.A", "at:"+where), inlineRecord("order.B", "a:order.A", "at:Address")},
			[]string{
				address, inlineRecord("order.A", "at:"+where),
				inlineRecord("order.B", "a:"+inlineRecord("order.A", "at:"+where), "at:order.Address"),
			},
		},
		"versions of what nobody else uses": {[]string{inlineRecord("a.R", "v:int"), inlineRecord("a.R", "v:long")}, nil},
		"primitives are no names":           {[]string{inlineRecord("a.int", "v:string"), inlineRecord("a.R", "v:int", "w:b.S"), inlineRecord("b.S")}, []string{inlineRecord("a.int", "v:string"), inlineRecord("a.R", "v:int", "w:"+inlineRecord("b.S")), inlineRecord("b.S")}},
	} {
		var files []avro.File
		for i, text := range tt.texts {
			files = append(files, avro.File{Name: string(rune('0'+i)) + ".avsc", Text: text})
		}
		if tt.want == nil {
			tt.want = tt.texts
		}
		got, err := avro.Inline(files...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range got {
			want := tt.want[i]
			if want != tt.texts[i] {
				if want, err = avro.Normal(avro.Schema{Text: want}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if got[i].Name != files[i].Name || got[i].Text != want {
				t.Errorf("%s: %s is\n%s\nwant\n%s", name, got[i].Name, got[i].Text, want)
			}
		}
	}
}

func TestInlineSaysWhatIsDefined(t *testing.T) {
	t.Parallel()
	got, err := avro.Inline(avro.File{Text: inlineRecord("a.R", "s:T", "u:"+inlineRecord("U"))}, avro.File{Text: inlineRecord("a.T")}, avro.File{Text: `["null","int"]`})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{got[0].Defines, got[1].Defines, got[2].Defines}, [][]string{{"a.R", "a.U"}, {"a.T"}, nil}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func TestInlineErrors(t *testing.T) {
	t.Parallel()
	one, two := inlineRecord("a.T", "v:int"), inlineRecord("a.T", "v:long")
	for _, tt := range []struct {
		texts []string
		want  string
	}{
		{[]string{inlineRecord("a.R", "t:T"), one, two}, "0.avsc: uses a.T, which 1.avsc and 2.avsc define, and not the same: define it in 0.avsc itself"},
		{[]string{inlineRecord("a.R", "s:S", "t:T"), inlineRecord("a.S", "t:"+two), one}, "0.avsc: uses a.T, which 1.avsc and 2.avsc define, and not the same: define it in 0.avsc itself"},
		{[]string{inlineRecord("a.R", "s:S", "t:"+one), inlineRecord("a.S", "t:"+two)}, "0.avsc: comes to use the a.T of 1.avsc and that of 0.avsc, which are not the same: make them the same"},
		{[]string{one, "{"}, "1.avsc: not an Avro schema: unexpected EOF"},
		{[]string{strings.Repeat(" ", 300<<10)}, "0.avsc: text of schema has 307200 bytes, more than the limit of 262144"},
		{[]string{strings.Repeat(`{"type":"array","items":`, 70) + `"int"` + strings.Repeat("}", 70)}, "0.avsc: types of schema are nested deeper than the limit"},
	} {
		var files []avro.File
		for i, text := range tt.texts {
			files = append(files, avro.File{Name: string(rune('0'+i)) + ".avsc", Text: text})
		}
		if got, err := avro.Inline(files...); err == nil || err.Error() != tt.want {
			t.Errorf("Inline = %v, %v\nwant %s", got, err, tt.want)
		}
	}
}

// Files of a program may use each other, and one that is for the others alone.
func TestWithSchemasThatUseEachOther(t *testing.T) {
	t.Parallel()
	type Place struct {
		City string `avro:"city"`
	}
	type Moved struct {
		To Place `avro:"to"`
	}
	files := fstest.MapFS{
		"order.moved.v1.avsc": {Data: []byte(inlineRecord("order.Moved", "to:Place"))},
		"order.lost.v1.avsc":  {Data: []byte(inlineRecord("order.Lost", "at:Nowhere"))},
		"order.Place.avsc":    {Data: []byte(inlineRecord("order.Place", "city:string"))},
		"README.md":           {Data: []byte("{")},
	}
	f := avro.New(&registry{}, avro.WithRegistration(), avro.WithSchemas(files))
	if err := f.Declare("order.moved", 1, reflect.TypeFor[Moved](), true); err != nil {
		t.Fatal(err)
	}
	want := `{"type":"record","name":"order.Moved","fields":[{"type":{"type":"record","name":"order.Place","fields":[{"type":"string","name":"city"}]},"name":"to"}]}`
	if got := f.Declared()[0].Schema.Text; got != want {
		t.Errorf("schema is %s\nwant %s", got, want)
	}
	data, err := f.Marshal("order.moved", 1, Moved{Place{"Rome"}})
	if err != nil {
		t.Fatal(err)
	}
	var got Moved
	if err := f.Unmarshal("order.moved", 1, data, &got); err != nil || got.To.City != "Rome" {
		t.Errorf("Unmarshal = %v, %v", got, err)
	}
	want = `order.lost schema 1: not an Avro schema: unknown type "Nowhere"`
	if err := f.Declare("order.lost", 1, reflect.TypeFor[Moved](), true); err == nil || err.Error() != want {
		t.Errorf("Declare = %v\nwant %s", err, want)
	}
	files["other.avsc"] = &fstest.MapFile{Data: []byte(inlineRecord("order.Place", "city:bytes"))}
	want = "order.moved schema 1: order.moved.v1.avsc: uses order.Place, which order.Place.avsc and other.avsc define, and not the same: define it in order.moved.v1.avsc itself"
	if err := avro.New(&registry{}, avro.WithSchemas(files)).Declare("order.moved", 1, reflect.TypeFor[Moved](), true); err == nil || err.Error() != want {
		t.Errorf("Declare = %v\nwant %s", err, want)
	}
}
