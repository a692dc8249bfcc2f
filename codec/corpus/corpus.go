// Package corpus reads stored payloads that are pinned as files, and says which of them
// a program does not read any more. Tests use it through package codectest, deployments
// through annals schema check.
//
// # Usage
//
// A payload is a file named NAME.vSCHEMA[.label].json, or .payload if it is no JSON, such
// as order.placed.v1.json or order.placed.v2.large.json. The file of the same name with
// .want added holds the events that it is today, as a JSON array. Other files are passed
// over. Files are only ever added.
package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/annals-go/annals/event"
)

// Codec is a *codec.Codec of any family.
type Codec interface {
	Covers(name string) bool
	Shapes(yield func(name string, schema int) bool)
	Values(r event.Recorded) ([]any, error)
	ContentType() string
	Reads(contentType string) bool
}

// contentTypeJSON is what files that end in .json are, for codecs that read it. All others
// are what the codec writes.
const contentTypeJSON = "application/json"

// Rule is what a finding is about.
type Rule string

// The rules of a corpus.
const (
	RuleKnown   Rule = "known"   // the name belongs to a codec
	RuleDecodes Rule = "decodes" // the payload decodes
	RuleWant    Rule = "want"    // what it decodes to is what .want says
	RuleWanted  Rule = "wanted"  // there is a .want
	RulePinned  Rule = "pinned"  // there is a file for each shape that a codec reads
)

// Finding is a rule that a file breaks, or that a shape does without a file.
type Finding struct {
	Rule   Rule
	File   string // empty for RulePinned
	Name   string
	Schema int
	Field  string // of RuleWant: path to the first value that differs, such as [0].Cents
	Err    error
}

// Tally is what Check has looked at.
type Tally struct{ Files, Shapes int }

// name takes the longest name in front of the version, so a label may not look like one.
var name = regexp.MustCompile(`^(.+)\.v([1-9][0-9]*)(\.[a-z0-9_-]+)?\.(payload|json)$`)

// Check compares every file of fsys with what the codecs make of it, and looks for a file
// for every shape that they read. Findings are in the order of the files, then of the
// shapes. The error says that the files could not be read.
func Check(fsys fs.FS, codecs ...Codec) ([]Finding, Tally, error) {
	var found []Finding
	var told Tally
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, told, err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		m := name.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		schema, err := strconv.Atoi(m[2])
		if err != nil {
			continue // a number that no schema version is
		}
		told.Files++
		seen[key(m[1], schema)] = true
		f := Finding{File: e.Name(), Name: m[1], Schema: schema}
		if f.Err = f.look(fsys, codecs); f.Err != nil {
			found = append(found, f)
		}
	}
	for _, c := range codecs {
		for name, schema := range c.Shapes {
			if told.Shapes++; !seen[key(name, schema)] {
				found = append(found, Finding{Rule: RulePinned, Name: name, Schema: schema,
					Err: fmt.Errorf("corpus has no file for %s: store one as %s.json", key(name, schema), key(name, schema))})
			}
		}
	}
	return found, told, nil
}

// look returns what is wrong with a file, and sets its rule and field.
func (f *Finding) look(fsys fs.FS, codecs []Codec) error {
	f.Rule = RuleDecodes
	payload, err := fs.ReadFile(fsys, f.File)
	if err != nil {
		return err
	}
	values, err := f.values(codecs, payload)
	if err != nil {
		return err
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	wanted, err := fs.ReadFile(fsys, f.File+".want")
	if errors.Is(err, fs.ErrNotExist) {
		f.Rule = RuleWanted
		return fmt.Errorf("%s.want is missing; today it decodes to %s", f.File, text)
	}
	f.Rule = RuleWant
	if err != nil {
		return err
	}
	want, err := parse(wanted)
	if err != nil {
		return fmt.Errorf("%s.want: %w", f.File, err)
	}
	got, err := parse(text)
	if err != nil {
		return err
	}
	if path, differ := difference("", got, want); differ {
		f.Field = path
		return fmt.Errorf("decodes to %s, want %s", text, bytes.TrimSpace(wanted))
	}
	return nil
}

func (f *Finding) values(codecs []Codec, payload []byte) ([]any, error) {
	for _, c := range codecs {
		if c.Covers(f.Name) {
			contentType := c.ContentType()
			if path.Ext(f.File) == ".json" && c.Reads(contentTypeJSON) {
				contentType = contentTypeJSON
			}
			values, err := c.Values(event.Recorded{Raw: event.Raw{Name: f.Name, Schema: f.Schema, ContentType: contentType, Payload: payload}})
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // without its place in a log, which it has none in
			}
			if values == nil {
				values = []any{} // a drop is [] in .want
			}
			return values, err
		}
	}
	f.Rule = RuleKnown
	return nil, fmt.Errorf("no codec covers %s", f.Name)
}

// difference returns the path to the first place where two values of JSON differ.
func difference(path string, got, want any) (string, bool) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return path, true
		}
		for _, k := range keys(g, w) {
			a, inGot := g[k]
			b, inWant := w[k]
			if inGot != inWant {
				return path + "." + k, true
			}
			if at, differ := difference(path+"."+k, a, b); differ {
				return at, true
			}
		}
		return "", false
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return path, true
		}
		for i := range w {
			if at, differ := difference(fmt.Sprintf("%s[%d]", path, i), g[i], w[i]); differ {
				return at, true
			}
		}
		return "", false
	}
	return path, !reflect.DeepEqual(got, want)
}

// keys returns those of both, sorted.
func keys(a, b map[string]any) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// parse keeps numbers as they are written: a float would round beyond 2^53.
func parse(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func key(name string, schema int) string { return fmt.Sprintf("%s.v%d", name, schema) }
