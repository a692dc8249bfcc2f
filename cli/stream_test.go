package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestStreamList(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	for _, s := range []string{"order-1", "order-2", "order-2", "order-53", "order-530", "order_item-1", "payment-1"} {
		appendTo(t, db, s, placed("{}"))
	}
	for _, c := range []struct {
		args   []string
		want   []string
		stderr string
	}{
		{nil, []string{"order-1", "order-2", "order-53", "order-530", "order_item-1", "payment-1"}, ""},
		{[]string{"order"}, []string{"order-1", "order-2", "order-53", "order-530", "order_item-1"}, ""},
		{[]string{"order-"}, []string{"order-1", "order-2", "order-53", "order-530"}, ""},
		{[]string{"order-53"}, []string{"order-53", "order-530"}, ""},
		{[]string{"order-%"}, nil, ""},
		{[]string{"--after", "order-2", "--limit", "2"}, []string{"order-53", "order-530"}, "stopped at --limit 2, continue with --after and the last stream above\n"},
		{[]string{"order-", "--after", "order-53"}, []string{"order-530"}, ""},
	} {
		got := run(t, url, append([]string{"stream", "ls"}, c.args...))
		if diff := cmp.Diff(c.want, column(t, got.Stdout)); got.Code != 0 || got.Stderr != c.stderr || diff != "" {
			t.Errorf("stream ls %q: %d %q (-want +got):\n%s", c.args, got.Code, got.Stderr, diff)
		}
	}
	got := objects(t, run(t, url, []string{"stream", "ls", "order-2", "--output", "json", "--limit", "1"}).Stdout)
	if len(got) != 1 {
		t.Fatalf("stream ls --output json = %v, want one object", got)
	}
	if _, err := time.Parse(time.RFC3339Nano, got[0]["recorded_time"].(string)); err != nil {
		t.Error(err)
	}
	delete(got[0], "recorded_time")
	want := map[string]any{"stream": "order-2", "version": json.Number("2"), "position": json.Number("3")}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStreamListPagesBehindTheScenes(t *testing.T) {
	t.Parallel()
	url := postgrestest.URL(t)
	const n = 510 // more than one page of the store
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', to_char(i, 'FM0000'), 1, gen_random_uuid(), 'order.placed', 1, 'application/json', '{}', '{}'
FROM generate_series(0, $1 - 1) i`, n)
	if err != nil {
		t.Fatal(err)
	}
	got := column(t, run(t, url, []string{"stream", "ls", "--limit", "1000"}).Stdout)
	if len(got) != n || got[0] != "order-0000" || got[n-1] != "order-0509" {
		t.Errorf("stream ls listed %d streams, want %d in order", len(got), n)
	}
}

func TestStreamShow(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	for i := range 5 {
		appendTo(t, db, "order-o-1", placed(fmt.Sprintf(`{ "n": %d }`, i+1)))
	}
	for _, c := range []struct {
		args   []string
		want   []string
		stderr string
	}{
		{nil, []string{"1", "2", "3", "4", "5"}, ""},
		{[]string{"--from", "4"}, []string{"4", "5"}, ""},
		{[]string{"--from", "6"}, nil, ""},
		{[]string{"--backward", "--limit", "2"}, []string{"5", "4"}, "stopped at --limit 2, continue with --from 3\n"},
		{[]string{"--backward", "--from", "2", "--limit", "2"}, []string{"2", "1"}, ""},
		{[]string{"--from", "2", "--limit", "1"}, []string{"2"}, "stopped at --limit 1, continue with --from 3\n"},
	} {
		got := run(t, url, append([]string{"stream", "show", "order-o-1"}, c.args...))
		if diff := cmp.Diff(c.want, column(t, got.Stdout)); got.Code != 0 || got.Stderr != c.stderr || diff != "" {
			t.Errorf("stream show %q: %d %q (-want +got):\n%s", c.args, got.Code, got.Stderr, diff)
		}
	}
	check(t, run(t, url, []string{"stream", "show", "order-none"}),
		result{Code: 1, Stderr: "annals: show stream order-none: it has no events\n"})
}

func TestStreamShowTable(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	raw := placed("{\n  \"text\": \"" + strings.Repeat("ab", 100) + "\"\n}")
	raw.Metadata.Actor = "ada"
	raw.Metadata.Extra = map[string]string{"why": strings.Repeat("x", 60)}
	appendTo(t, db, "order-1", raw)
	appendTo(t, db, "order-1", event.Raw{Name: "order.scanned", Schema: 1, ContentType: "avro/binary", Payload: []byte("\x1b[31m\x00")})

	full := run(t, url, []string{"stream", "show", "order-1"}).Stdout
	if !strings.Contains(full, `  {"text":"`+strings.Repeat("ab", 100)+"\"}\n") || !strings.Contains(full, `"actor":"ada"`) || strings.Contains(full, "\u2026") {
		t.Errorf("elsewhere than on a terminal nothing is cut:\n%s", full)
	}
	if !strings.Contains(full, "(6 bytes of avro/binary)\n") {
		t.Errorf("a payload that is no JSON is counted:\n%s", full)
	}
	narrow := strings.Split(run(t, url, []string{"stream", "show", "order-1"}, cli.WithWidth(150)).Stdout, "\n")
	if line := []rune(narrow[1]); len(line) != 150 || line[149] != '\u2026' || !strings.Contains(narrow[1], "\u2026  {\"text\"") {
		t.Errorf("line of %d characters, want 150, metadata and payload cut with a mark:\n%s", len(line), narrow[1])
	}
	tiny := strings.Split(run(t, url, []string{"stream", "show", "order-1"}, cli.WithWidth(10)).Stdout, "\n")
	if !strings.HasSuffix(tiny[1], `  {"text":"abababababa`[:21]+"\u2026") {
		t.Errorf("the last column keeps 20 characters:\n%s", tiny[1])
	}
}

func TestStreamShowJSON(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	payloads := []event.Raw{
		placed(` { "big": 12345678901234567890.10, "html": "<b>&", "twice": 1, "twice": 2 } `),
		placed("{\"bidi\":\"a\u202eb\",\"csi\":\"\u009b31m\",\"del\":\"\x7f\",\"tag\":\"\U000e0041\"}"),
		placed("{broken"),
		placed("\"\xff\""),
		{Name: "order.scanned", Schema: 2, ContentType: "avro/binary", Payload: []byte{0, 1, 2}},
		{Name: "order.emptied", Schema: 1, ContentType: "avro/binary"},
		placed("null"),
	}
	payloads[0].Metadata = event.Metadata{ID: event.NewID(), Actor: "ada\x1b[2J\u202e"}
	appendTo(t, db, "order-1", payloads...)
	got := run(t, url, []string{"stream", "show", "order-1", "--output", "json"}, cli.WithWidth(20))
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	if got.Code != 0 || len(lines) != len(payloads) {
		t.Fatalf("stream show = %+v", got)
	}
	for i, want := range []string{
		`"payload":{"big":12345678901234567890.10,"html":"<b>&","twice":1,"twice":2}}`,
		`"payload":{"bidi":"a\u202eb","csi":"\u009b31m","del":"\u007f","tag":"\udb40\udc41"}}`,
		`"payload_base64":"e2Jyb2tlbg=="}`,
		`"payload_base64":"Iv8i"}`,
		`"content_type":"avro/binary","payload_base64":"AAEC"}`,
		`"content_type":"avro/binary","payload_base64":""}`,
		`"payload":null}`,
	} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d = %s\nwant the end %s", i+1, lines[i], want)
		}
	}
	first := objects(t, got.Stdout)[0]
	delete(first, "recorded_time")
	delete(first, "payload")
	want := map[string]any{
		"position": json.Number("1"), "stream": "order-1", "version": json.Number("1"), "id": payloads[0].Metadata.ID.String(),
		"name": "order.placed", "schema": json.Number("1"), "content_type": "application/json",
		"metadata": map[string]any{"actor": "ada\x1b[2J\u202e"},
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
