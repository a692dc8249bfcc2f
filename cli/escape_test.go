package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/event"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain Zo\u00eb \u65e5\u672c \U0001f600": "plain Zo\u00eb \u65e5\u672c \U0001f600",
		"a\x1b[31m\x1b]0;title\x07":              `a\x1b[31m\x1b]0;title\x07`,
		"a\r\nb\tc\x00\x7f":                      `a\r\nb\tc\x00\x7f`,
		"a\u202eb\u2066\u200b\u2028\u009b":       `a\u202eb\u2066\u200b\u2028\u009b`,
		"\xff\xc3":                               `\xff\xc3`,
		"\U000e0041":                             `\U000e0041`,
		`C:\new`:                                 `C:\new`,
	} {
		if got := cli.Escape(in); got != want {
			t.Errorf("Escape(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab\u2026"}, {"\u65e5\u672c\u8a9e\u6587", 3, "\u65e5\u672c\u2026"}, {"ab", 1, "\u2026"}, {"", 1, ""}} {
		if got := cli.Cut(c.in, c.most); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.most, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb\n\tc\na":                             "a; b; c",
		"dial postgres://u:p w@h/d?x=1 refused":    "dial postgres://xxxxx refused",
		`bad "PostgreSQL://u:p@h" here`:            `bad "postgres://xxxxx" here`,
		"host=h password = 'a b' user=u":           "host=h password=xxxxx user=u",
		"sslpassword=abc x":                        "sslpassword=xxxxx x",
		`password authentication failed for "app"`: `password authentication failed for "app"`,
	} {
		if got := cli.Clean(in); got != want {
			t.Errorf("Clean(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestDataIsNoTerminalControl stores everything that a producer can, and looks
// at each byte of the output.
func TestDataIsNoTerminalControl(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	hostile := "\x1b]52;c;AAAA\x07\x1b[2J\r\n\u202e\u2066\u009b31m\u2028\x00\x7f\u200b"
	inJSON, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	rawJSON := "{\"raw\":\"\u202e\u009b31m\x7f\",\"escaped\":" + string(inJSON) + "}"
	appendTo(t, db, "order-1",
		event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(rawJSON), Metadata: event.Metadata{
			Actor: hostile, Tenant: hostile, Correlation: hostile, Extra: map[string]string{hostile: hostile},
		}},
		placed(hostile),
		event.Raw{Name: "order.placed", Schema: 1, ContentType: "text/plain", Payload: []byte(hostile)},
	)
	for _, args := range [][]string{{"stream", "show", "order-1"}, {"log"}, {"stream", "ls"}} {
		for _, width := range []int{0, 40, 120} {
			for _, output := range []string{"table", "json"} {
				got := run(t, url, append(args, "--output", output), cli.WithWidth(width))
				if got.Code != 0 {
					t.Fatalf("%q = %+v", args, got)
				}
				for i, r := range got.Stdout {
					if r != '\n' && !unicode.IsGraphic(r) || r == utf8.RuneError {
						t.Errorf("%q %s: %U at byte %d:\n%q", args, output, r, i, got.Stdout)
						break
					}
				}
				events := 3
				if args[len(args)-1] == "ls" {
					events = 1
				}
				if output == "table" {
					events++ // the header
				}
				if n := strings.Count(got.Stdout, "\n"); n != events {
					t.Errorf("%q %s: %d lines, want %d", args, output, n, events)
				}
			}
		}
	}
	got := objects(t, run(t, url, []string{"log", "--limit", "1", "--output", "json"}).Stdout)[0]
	if payload := got["payload"].(map[string]any); payload["escaped"] != hostile || payload["raw"] != "\u202e\u009b31m\x7f" {
		t.Errorf("JSON mode changed the payload: %q", payload)
	}
	if metadata := got["metadata"].(map[string]any); metadata["actor"] != hostile {
		t.Errorf("JSON mode changed the metadata: %q", metadata)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b\u202e\xff\U000e0041")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range cli.Escape(s) {
			if !unicode.IsGraphic(r) {
				t.Fatalf("Escape(%q) holds %U", s, r)
			}
		}
		if !utf8.ValidString(s) {
			return
		}
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(cli.EscapeJSON(string(quoted))), &back); err != nil || back != s {
			t.Fatalf("EscapeJSON changed %q to %q: %v", s, back, err)
		}
	})
}
