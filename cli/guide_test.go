package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
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

// The commands that the guides name are there, with their flags.
func TestGuidesNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	commands := regexp.MustCompile("(?m)(?:`|^    )annals ([a-z][^`\n]*)")
	for file, least := range map[string]int{"workers.md": 12, "restore.md": 5, "guarantees.md": 3, "bus.md": 5, "avro.md": 3, "security.md": 1} {
		guide, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := commands.FindAllStringSubmatch(string(guide), -1)
		if len(found) < least {
			t.Errorf("%s names %d commands, want at least %d", file, len(found), least)
		}
		for _, m := range found {
			cmd, rest, err := cli.New().Find(strings.Fields(m[1]))
			if err != nil || !cmd.HasParent() {
				t.Errorf("%s: annals %s: there is no such command: %v", file, m[1], err)
				continue
			}
			for _, word := range rest {
				flag, is := strings.CutPrefix(word, "--")
				if is && cmd.Flags().Lookup(flag) == nil && cmd.InheritedFlags().Lookup(flag) == nil {
					t.Errorf("%s: annals %s: there is no flag %s", file, m[1], word)
				}
			}
		}
	}
}
