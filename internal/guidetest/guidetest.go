// Package guidetest keeps the code in guides the code that is compiled and run.
package guidetest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between returns what a text has behind the first begin and before the first end from there.
func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// Fenced wants a guide to show parts of a source file as they are there: in the file between
// the lines "// [part]" and "// [/part]", in the guide behind the line "<!-- part -->".
func Fenced(t testing.TB, guide, source string, parts ...string) {
	t.Helper()
	text, code := read(t, guide), read(t, source)
	for _, part := range parts {
		want := between(code, "// ["+part+"]\n", "\n// [/"+part+"]")
		shown := between(text, "<!-- "+part+" -->\n```go\n", "```\n")
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(shown)); diff != "" || want == "" {
			t.Errorf("%s differs from %s in %s (-code +guide):\n%s", guide, source, part, diff)
		}
	}
}

// Indented wants a guide to show, indented by four spaces, what a function in a source file
// has between the lines "// +guide" and "// -guide".
func Indented(t testing.TB, guide, source string) {
	t.Helper()
	part := between(read(t, source), "// +guide\n", "\t// -guide")
	var want strings.Builder
	for line := range strings.Lines(part) {
		want.WriteString("    " + strings.TrimPrefix(line, "\t"))
	}
	if part == "" || !strings.Contains(read(t, guide), want.String()) {
		t.Errorf("%s does not show:\n%s", guide, want.String())
	}
}
