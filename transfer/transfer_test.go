package transfer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/transfer"
)

const header = `{"format":"annals.log","format_version":1,"written_time":"2026-01-31T09:00:00Z"}`

// line is a good event.
func line(position int, stream string, version int, more ...string) string {
	text := fmt.Sprintf(`{"position":%d,"stream":%q,"version":%d,"id":"0197d3a0-0000-7000-8000-%012d","name":"order.placed","schema":1,`+
		`"recorded_time":"2026-01-31T08:59:59.123456Z","metadata":{},"content_type":"application/json","payload":{"n":%d}}`, position, stream, version, position, position)
	for i := 0; i+1 < len(more); i += 2 {
		changed := strings.Replace(text, more[i], more[i+1], 1)
		if changed == text {
			panic("no " + more[i] + " in " + text)
		}
		text = changed
	}
	return text
}

// file makes a whole file of lines.
func file(lines ...string) string {
	return trailed(len(lines), len(lines), append([]string{header}, lines...)...)
}

func trailed(events, last int, lines ...string) string {
	text := strings.Join(lines, "\n") + "\n"
	return text + fmt.Sprintf(`{"events":%d,"last_position":%d,"sha256":"%x"}`, events, last, sha256.Sum256([]byte(text))) + "\n"
}

func zipped(texts ...string) string {
	var b bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// text is a source that is given as it is.
func text(s string) transfer.Source {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func ctx(t testing.TB) context.Context { return t.Context() }

func collect(t testing.TB, f *transfer.Checked, after int64) []transfer.Row {
	t.Helper()
	var rows []transfer.Row
	for r, err := range f.Rows(ctx(t), after) {
		if err != nil {
			t.Fatal(err)
		}
		row := *r
		row.Payload, row.Metadata = bytes.Clone(r.Payload), bytes.Clone(r.Metadata)
		rows = append(rows, row)
	}
	return rows
}

// odd are payloads that have been changed on their way through something.
func odd() [][]byte {
	return [][]byte{
		nil, []byte("{}"), []byte(`{"n":9007199254740993}`), []byte(" {}"), []byte("{}\n"), []byte(`{"a":1,"a":2}`), []byte(`"text"`), []byte("1e400"), []byte("null"),
		{0}, []byte("a\x00b"), []byte(`{"s":"\u0000\ud800"}`), {0xff, 0xfe}, []byte("{\"s\":\"\u202e\u2028\x7f\"}"), []byte("<b>&amp;\\\"'/\u00eb\U0001f600"),
		[]byte(strings.Repeat("[", 63) + strings.Repeat("]", 63)), []byte(strings.Repeat("[", 65) + strings.Repeat("]", 65)), []byte(strings.Repeat("[", 20000)),
		bytes.Repeat([]byte{0}, eventstore.MaxPayloadBytes), bytes.Repeat([]byte("x"), eventstore.MaxPayloadBytes), bytes.Repeat([]byte{0xff}, eventstore.MaxPayloadBytes),
		[]byte("\"\xff\""), []byte("{\"\tt\": 1}"), []byte(`"\q"`), []byte("true "), []byte("-0"), []byte("\ufeff{}"), []byte("\ufffd"),
	}
}

func fill(t testing.TB, db eventstore.Store) {
	t.Helper()
	ids := []string{"o-1", "Zo\u00eb-<b>&\"'\\ /", "\u65e5\u672c", strings.Repeat("x", event.MaxIDBytes)}
	for i, payload := range odd() {
		m := event.Metadata{Correlation: "c\x00\u2028\u202e\"\\<", Actor: "ada", EventTime: time.Date(2026, 1, 2, 3, 4, 5, 6007, time.FixedZone("", 3600)), Extra: map[string]string{"k\n": "\U0001f600"}}
		if i%2 == 0 {
			m = event.Metadata{}
		}
		_, err := db.Append(t.Context(), event.Stream{Category: "order", ID: ids[i%len(ids)]}, eventstore.Any(),
			event.Raw{Name: "order.noted", Schema: 1 + i, ContentType: "text/x-odd", Payload: payload, Metadata: m, Closes: i >= len(odd())-2})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteThenCheck(t *testing.T) {
	t.Parallel()
	db := memory.New()
	fill(t, db)
	var out bytes.Buffer
	s, err := transfer.Write(ctx(t), &out, db, transfer.WithStore("5b0c7d0e-7d5a-4b0e-9d3c-0a1b2c3d4e5f"))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range out.String() {
		if r != '\n' && (r < ' ' || r == 0x7f || r == '\u202e' || r == '\u2028') {
			t.Errorf("byte %d is %U, which a terminal could act on", i, r)
		}
	}
	for _, source := range []string{out.String(), zipped(out.String())} {
		f, err := transfer.Check(ctx(t), text(source))
		if err != nil {
			t.Fatal(err)
		}
		if f.Events != s.Events || f.SHA256 != s.SHA256 || f.LastPosition != s.LastPosition || f.Streams != 4 || f.Bytes != s.Bytes || f.Header.Store != "5b0c7d0e-7d5a-4b0e-9d3c-0a1b2c3d4e5f" {
			t.Errorf("checked %+v, written %+v", f, s)
		}
		rows := collect(t, f, 0)
		n := 0
		for e, err := range eventstore.All(ctx(t), db, eventstore.LogQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			prepared, err := eventstore.Prepare(e.Stream, []event.Raw{e.Raw})
			if err != nil {
				t.Fatal(err)
			}
			want := transfer.Row{
				Line: int64(n + 2), Position: e.Position, Stream: e.Stream, Version: e.Version, ID: e.Metadata.ID, Name: e.Name, Schema: e.Schema,
				ContentType: e.ContentType, Payload: bytes.Clone(e.Payload), Metadata: prepared[0].StoredMetadata, Closes: e.Closes, RecordedTime: e.RecordedTime,
				First: n < 4, Checked: n == len(rows)-1 || rows[n].Checked,
			}
			if len(want.Payload) == 0 && len(rows[n].Payload) == 0 {
				want.Payload = rows[n].Payload
			}
			if !cmp.Equal(want, rows[n]) {
				t.Errorf("event %d: got %.300v\nwant %.300v", n+1, rows[n], want)
			}
			n++
		}
		if n != len(rows) || !rows[n-1].Checked {
			t.Errorf("%d rows of %d events", len(rows), n)
		}
		if got := collect(t, f, f.Events-2); len(got) != 2 || got[0].Line != f.Events {
			t.Errorf("the rows behind all but two are %v", got)
		}
	}
}

// TestStoredForm pins the lines: files outlive programs.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	good := strings.Join([]string{
		`{"format":"annals.log","format_version":1,"store":"5b0c7d0e-7d5a-4b0e-9d3c-0a1b2c3d4e5f","written_time":"2026-01-31T09:00:00.000001Z"}`,
		`{"position":7,"stream":"order-o-1","version":1,"id":"0197d3a0-0000-7000-8000-000000000001","name":"order.placed","schema":2,"recorded_time":"2026-01-31T08:59:59.123456Z","metadata":{"actor":"ada","event_time":"2010-12-01T08:26:00+01:00","extra":{"k":"\u202e"}},"content_type":"application/json","payload":{"cents":1250}}`,
		`{"position":9,"stream":"order-o-1","version":2,"id":"0197d3a0-0000-7000-8000-000000000002","name":"order.noted","schema":1,"recorded_time":"2026-01-31T09:00:00Z","metadata":{},"content_type":"text/plain","payload_text":"a\n\u0000\"b"}`,
		`{"position":12,"stream":"order-o-1","version":3,"id":"0197d3a0-0000-7000-8000-000000000003","name":"order.sealed","schema":1,"recorded_time":"2026-01-31T09:00:00Z","metadata":{},"content_type":"application/x-seal","closes":true,"payload_base64":"//4="}`,
	}, "\n") + "\n"
	good += fmt.Sprintf("{\"events\":3,\"last_position\":12,\"sha256\":\"%x\"}\n", sha256.Sum256([]byte(good)))
	f, err := transfer.Check(ctx(t), text(good))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s, err := transfer.Write(ctx(t), &out, &logOf{rows: collect(t, f, 0)}, transfer.WithStore(f.Header.Store))
	if err != nil || s.Events != 3 {
		t.Fatal(s, err)
	}
	_, want, _ := strings.Cut(good, "\n")
	_, got, _ := strings.Cut(out.String(), "\n")
	want, got = want[:strings.LastIndex(want, "sha256")], got[:strings.LastIndex(got, "sha256")]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Other spellings of the same, as other programs write them.
	spelled := trailed(1, 7, `{ "format_version" : 1, "format" : "annals.log" }`,
		`{"payload" : {"cents": 1250} , "closes": false, "content_type":"application\/json", "metadata": {"extra":{}, "actor":"\u0061da"} ,"recorded_time":"2026-01-31T08:59:59.123456Z",`+
			`"schema":2,"name":"order.placed","id":"0197D3A0-0000-7000-8000-000000000001","version":1,"stream":"order-\ud83d\ude00","position":7}`+"\t")
	f, err = transfer.Check(ctx(t), text(spelled))
	if err != nil {
		t.Fatal(err)
	}
	if r := collect(t, f, 0)[0]; string(r.Payload) != `{"cents": 1250}` || string(r.Metadata) != `{"actor":"ada"}` || r.Stream.ID != "\U0001f600" || r.ContentType != "application/json" {
		t.Errorf("row = %+v, payload %s, metadata %s", r, r.Payload, r.Metadata)
	}
}

// logOf is a log of what a file has.
type logOf struct {
	eventstore.Log
	rows []transfer.Row
}

func (l *logOf) Head(context.Context) (event.Position, error) {
	return l.rows[len(l.rows)-1].Position, nil
}

func (l *logOf) ReadLog(_ context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	page := eventstore.Page{After: q.After, Next: l.rows[len(l.rows)-1].Position}
	for _, r := range l.rows {
		e := event.Recorded{
			Raw:    event.Raw{Name: r.Name, Schema: r.Schema, ContentType: r.ContentType, Payload: r.Payload, Closes: r.Closes},
			Stream: r.Stream, Version: r.Version, Position: r.Position, RecordedTime: r.RecordedTime,
		}
		if err := json.Unmarshal(r.Metadata, &e.Metadata); err != nil {
			return page, err
		}
		e.Metadata.ID = r.ID
		page.Events = append(page.Events, e)
	}
	return page, nil
}

func TestCutFilesAreRefused(t *testing.T) {
	t.Parallel()
	whole := file(line(1, "order-1", 1), line(2, "order-1", 2))
	if _, err := transfer.Check(ctx(t), text(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if _, err := transfer.Check(ctx(t), text(whole[:n])); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("%d of %d bytes: %v, want a refusal", n, len(whole), err)
		}
	}
	compressed := zipped(whole)
	for n := range len(compressed) {
		if _, err := transfer.Check(ctx(t), text(compressed[:n])); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("%d of %d compressed bytes: %v, want a refusal", n, len(compressed), err)
		}
	}
	for n := range len(whole) - 1 {
		changed := []byte(whole)
		changed[n] ^= 1
		if _, err := transfer.Check(ctx(t), text(string(changed))); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("byte %d is %q: %v, want a refusal", n, changed[n], err)
		}
	}
}

func TestChangedFiles(t *testing.T) {
	t.Parallel()
	a, b := file(line(1, "order-1", 1), line(2, "order-1", 2)), file(line(1, "order-1", 1), line(2, "order-1", 2, `"n":2`, `"n":3`))
	for name, second := range map[string]string{"other content": b, "shorter": a[:len(a)/2], "empty": "", "gzip of another": zipped(b), "broken gzip": zipped(a)[:30]} {
		opened := 0
		f, err := transfer.Check(ctx(t), func() (io.ReadCloser, error) {
			if opened++; opened > 1 {
				return io.NopCloser(strings.NewReader(second)), nil
			}
			return io.NopCloser(strings.NewReader(a)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for r, err := range f.Rows(ctx(t), 0) {
			if last = err; err == nil && r.Checked {
				t.Errorf("%s: row %d is said to be as it was", name, r.Line)
			}
		}
		if !errors.Is(last, transfer.ErrChanged) {
			t.Errorf("%s: %v, want ErrChanged", name, last)
		}
	}
}

func TestSpilledRecords(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 500 {
		lines = append(lines, line(i+1, fmt.Sprintf("order-%d", i%7), i/7+1))
	}
	dir := t.TempDir()
	f, err := transfer.Check(ctx(t), text(file(lines...)), transfer.WithSorted(16), transfer.WithTempDir(dir))
	if err != nil || f.Streams != 7 {
		t.Fatalf("%+v, %v", f, err)
	}
	lines[490] = line(491, "order-0", 71, "000000000491", "000000000001")
	_, err = transfer.Check(ctx(t), text(file(lines...)), transfer.WithSorted(16), transfer.WithTempDir(dir))
	if want := "check file: file refused: line 492: order-0: id 0197d3a0-0000-7000-8000-000000000001 is that of line 2 too, for other content: an id is used once in a stream"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	_, err = transfer.Check(ctx(t), text(file(lines...)), transfer.WithSorted(16), transfer.WithTempDir(filepath.Join(dir, "none")))
	if err == nil || !strings.HasPrefix(err.Error(), "check file: temporary file: ") {
		t.Errorf("%v, want an error of the temporary file", err)
	}
}

// The first events come from memory while they are few, else from the file.
func TestFirstRows(t *testing.T) {
	t.Parallel()
	firsts := func(content string, after int64) (out []string) {
		f, err := transfer.Check(ctx(t), text(content))
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range f.FirstRows(ctx(t), after) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%d %s@%d %v", r.Line, r.Stream, r.Version, r.First))
		}
		return out
	}
	few := file(line(1, "order-1", 1), line(2, "order-2", 1), line(3, "order-1", 2), line(4, "order-3", 1))
	if diff := cmp.Diff([]string{"2 order-1@1 true", "3 order-2@1 true", "5 order-3@1 true"}, firsts(few, 0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"5 order-3@1 true"}, firsts(few, 2)); diff != "" {
		t.Error(diff)
	}
	later := file(line(1, "order-1", 1), line(2, "order-2", 4), line(3, "order-1", 2), line(4, "order-2", 5))
	if diff := cmp.Diff([]string{"2 order-1@1 true", "3 order-2@4 true", "5 order-2@5 false"}, firsts(later, 0)); diff != "" {
		t.Error(diff)
	}
	var lines []string
	for i := range 40_000 {
		lines = append(lines, line(i+1, fmt.Sprintf("order-%d", i), 1))
	}
	if got := firsts(file(lines...), 0); len(got) != 40_000 || got[39_999] != "40001 order-39999@1 true" {
		t.Errorf("%d first rows", len(got))
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := transfer.Check(ctx(t), text(""), transfer.WithMaxBytes(0)); err == nil || err.Error() != "option WithMaxBytes: 0: want at least 1" {
		t.Error(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "none")
	if _, err := transfer.Check(ctx(t), transfer.File(path)); !errors.Is(err, os.ErrNotExist) || err.Error() != "check file: "+path+": no such file or directory" {
		t.Error(err)
	}
	if _, err := transfer.Check(ctx(t), transfer.File(dir)); err == nil || err.Error() != "check file: "+dir+": not a regular file, and it has to be read more than once" {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := transfer.Check(ended, text(file())); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if f, err := transfer.Check(ctx(t), text(file())); err != nil || f.Events != 0 || len(collect(t, f, 0)) != 0 {
		t.Error(f, err)
	}
}
