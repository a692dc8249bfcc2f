package avrointerop

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files of testdata that are not there; those that are never change")

// pinned is a file of testdata.
type pinned struct {
	Writer, Reader json.RawMessage
	Twmb, Hamba    string // what each has written, in hexadecimal
}

// TestGolden: what was ever written both still read, as the same values. A file of testdata
// stands for bytes in somebody's topic: it is never changed or removed.
func TestGolden(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range scenarios() {
		known[s.name+".json"] = true
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", s.name+".json")
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) && *update {
				text = s.pin(t, file)
			} else if err != nil {
				t.Fatalf("%v: go test -run TestGolden -update writes it", err)
			}
			var p pinned
			if err := json.Unmarshal(text, &p); err != nil {
				t.Fatal(err)
			}
			if string(p.Writer) != s.writer || string(p.Reader) != s.reader {
				t.Errorf("%s has other schemas: give the changed scenario a new name, the file stays", file)
			}
			for whose, digits := range map[string]string{"twmb": p.Twmb, "hamba": p.Hamba} {
				data, err := hex.DecodeString(digits)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range readers(t) {
					s.reads(t, r, data, whose)
				}
			}
		})
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimPrefix(f, "testdata"+string(filepath.Separator)); !known[name] {
			t.Errorf("no scenario reads %s any more", f)
		}
	}
}

// pin writes the file of a scenario, which must not be there. The schemas stay as they are.
func (s scenario) pin(t *testing.T, file string) []byte {
	t.Helper()
	digits := map[string]string{}
	for _, l := range []library{direct(), hambas()} {
		data, err := l.encode(s.writer, s.value)
		if err != nil {
			t.Fatal(err)
		}
		digits[l.name] = hex.EncodeToString(data)
	}
	text := fmt.Appendf(nil, "{\n \"Writer\": %s,\n \"Reader\": %s,\n \"Twmb\": \"%s\",\n \"Hamba\": \"%s\"\n}\n", s.writer, s.reader, digits["twmb"], digits["hamba"])
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return text
}
