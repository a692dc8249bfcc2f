package avrointerop

import (
	"bytes"
	"testing"
)

// readers are what a message may meet: a service of ours, and one on hamba.
func readers(t *testing.T) []library {
	t.Helper()
	return []library{newOffice(t).annals(t), direct(), hambas()}
}

// TestEachReadsTheOther: what one library has written every one reads, with evolution.
func TestEachReadsTheOther(t *testing.T) {
	t.Parallel()
	all := append(readers(t), hambaPlain())
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			written := map[string][]byte{}
			for _, w := range all {
				data, err := w.encode(s.writer, s.value)
				if err != nil {
					t.Errorf("%s does not write it: %v", w.name, err)
					continue
				}
				written[w.name] = data
				for _, r := range all {
					s.reads(t, r, data, w.name)
				}
			}
			if !bytes.Equal(written["twmb"], written["annals"]) {
				t.Errorf("bytes differ:\n%x of twmb\n%x of codec/avro", written["twmb"], written["annals"])
			}
			if !bytes.Equal(written["twmb"], written["hamba without sizes"]) {
				t.Errorf("bytes differ:\n%x of twmb\n%x of hamba without sizes", written["twmb"], written["hamba without sizes"])
			}
			if same := bytes.Equal(written["twmb"], written["hamba"]); same == s.blocks {
				t.Errorf("bytes of hamba without a configuration are the same: %v, want it just if there are arrays or maps", same)
			}
		})
	}
}

// TestBothRefuse: what is no evolution is an error of both before a byte is read.
func TestBothRefuse(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"field without default":    {record(field("id", `"string"`)), record(field("id", `"string"`), field("n", `"long"`))},
		"renamed without alias":    {record(field("id", `"string"`)), record(field("key", `"string"`))},
		"other type":               {record(field("id", `"string"`)), record(field("id", `"long"`))},
		"long to int":              {record(field("n", `"long"`)), record(field("n", `"int"`))},
		"double to float":          {record(field("n", `"double"`)), record(field("n", `"float"`))},
		"double to long":           {record(field("n", `"double"`)), record(field("n", `"long"`))},
		"boolean to int":           {record(field("n", `"boolean"`)), record(field("n", `"int"`))},
		"optional to required":     {record(field("n", `["null","long"]`)), record(field("n", `"long"`))},
		"union without a branch":   {record(field("n", `["null","long","string"]`)), record(field("n", `["null","long"]`))},
		"symbol without default":   {record(field("s", statusType)), record(field("s", `{"type":"enum","name":"Status","symbols":["NEW"]}`))},
		"size of a fixed":          {record(field("t", tokenType)), record(field("t", `{"type":"fixed","name":"Token","size":5}`))},
		"name of a fixed":          {record(field("t", tokenType)), record(field("t", `{"type":"fixed","name":"Other","size":4}`))},
		"items of an array":        {record(field("a", `{"type":"array","items":"string"}`)), record(field("a", `{"type":"array","items":"int"}`))},
		"array to map":             {record(field("a", `{"type":"array","items":"string"}`)), record(field("a", `{"type":"map","values":"string"}`))},
		"field of a nested record": {record(field("w", placeType)), record(field("w", `{"type":"record","name":"Place","fields":[{"name":"city","type":"string"}]}`))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, l := range readers(t) {
				if err := l.resolve(pair[0], pair[1]); err == nil {
					t.Errorf("%s does not refuse it", l.name)
				}
			}
		})
	}
}
