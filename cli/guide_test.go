package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/cli"
)

// TestGuideToImport runs the commands of docs/import.md, in their order.
func TestGuideToImport(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/import.md")
	if err != nil {
		t.Fatal(err)
	}
	from, db := database(t)
	to, _ := database(t)
	appendTo(t, db, "order-o-1", placed("{}"), placed("{}"))
	appendTo(t, db, "order-2", placed("{}"))
	dir, ran := t.TempDir(), 0
	for line := range strings.Lines(string(guide)) {
		if !strings.HasPrefix(line, "    $") {
			continue
		}
		if strings.Contains(line, "export rest.ndjson.gz") {
			appendTo(t, db, "order-o-1", placed("{}"))
			appendTo(t, db, "order-3", placed("{}"))
		}
		var out bytes.Buffer
		for command := range strings.SplitSeq(line, "|") {
			words := strings.Fields(command)
			for i, w := range words {
				if strings.HasSuffix(w, ".gz") {
					words[i] = filepath.Join(dir, w)
				}
			}
			cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": map[string]string{"$OLD": from, "$NEW": to}[words[0]]}))
			cmd.SetArgs(words[2:])
			cmd.SetIn(bytes.NewReader(bytes.Clone(out.Bytes())))
			out.Reset()
			cmd.SetOut(&out)
			if code := cli.Execute(t.Context(), cmd); code != 0 || words[1] != "annals" {
				t.Fatalf("%s: exit code %d", line, code)
			}
			ran++
		}
	}
	if got, want := log(t, to), log(t, from); ran != 11 || len(got) != 5 || len(want) != 5 {
		t.Errorf("%d commands left %d events of %d", ran, len(got), len(want))
	}
}
