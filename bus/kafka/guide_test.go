package kafka_test

import (
	"os"
	"strings"
	"testing"
)

// TestGuideToSecurity: what docs/security.md shows is what is compiled here.
func TestGuideToSecurity(t *testing.T) {
	t.Parallel()
	code, err := os.ReadFile("example_secure_test.go")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(code), "// +guide\n")
	part, _, _ = strings.Cut(part, "\t// -guide")
	var want strings.Builder
	for line := range strings.Lines(part) {
		want.WriteString("    " + strings.TrimPrefix(line, "\t"))
	}
	if part == "" || !strings.Contains(string(guide), want.String()) {
		t.Errorf("docs/security.md does not show:\n%s", want.String())
	}
}
