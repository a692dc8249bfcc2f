package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/transfer"
)

// exported is what a test writes into a file: events by turns to so many streams,
// from a version on.
type exported struct {
	events, streams, from int
	category              string
	at                    time.Time
	closes                bool // the last event
}

func (x exported) id(i int) string { return fmt.Sprintf("0197d3a0-%04x-7000-8000-%012d", x.from, i) }

// write makes the file and returns its path.
func (x exported) write(t testing.TB) string {
	t.Helper()
	if x.category == "" {
		x.category = "order"
	}
	if x.from == 0 {
		x.from = 1
	}
	if x.at.IsZero() {
		x.at = time.Date(2026, 1, 31, 9, 0, 0, 123456000, time.UTC)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, sum))
	fmt.Fprintln(w, `{"format":"annals.log","format_version":1}`)
	for i := range x.events {
		last := ""
		if x.closes && i == x.events-1 {
			last = `,"closes":true`
		}
		fmt.Fprintf(w, `{"position":%d,"stream":"%s-%d","version":%d,"id":"%s","name":"order.placed","schema":1,"recorded_time":"%s","metadata":{"actor":"ada"},"content_type":"application/json"%s,"payload":{"n":%d,"text":"%0200d"}}`+"\n",
			i+1, x.category, i%x.streams, x.from+i/x.streams, x.id(i), x.at.Add(time.Duration(i)*time.Microsecond).Format(time.RFC3339Nano), last, i, i)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, `{"events":%d,"last_position":%d,"sha256":"%x"}`+"\n", x.events, x.events, sum.Sum(nil)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func (x exported) checked(t testing.TB) *transfer.Checked {
	t.Helper()
	return checkedFile(t, x.write(t))
}

func checkedFile(t testing.TB, path string) *transfer.Checked {
	t.Helper()
	f, err := transfer.Check(t.Context(), transfer.File(path))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func importAll(t testing.TB, db *postgres.DB, f *transfer.Checked, opts ...postgres.ImportOption) postgres.ImportResult {
	t.Helper()
	res, err := db.Import(t.Context(), f, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func wantImportError(t *testing.T, db *postgres.DB, f *transfer.Checked, want string, opts ...postgres.ImportOption) error {
	t.Helper()
	_, err := db.Import(t.Context(), f, opts...)
	if err == nil || err.Error() != want {
		t.Errorf("Import:\ngot  %v\nwant %s", err, want)
	}
	return err
}

// holdsFile compares the log with the file, whose events are all there is.
func holdsFile(t testing.TB, db *postgres.DB, f *transfer.Checked) {
	t.Helper()
	n := int64(0)
	events := make(chan event.Recorded)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(events)
		for e, err := range eventstore.All(ctx, db, eventstore.LogQuery{}) {
			if err != nil {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	for r, err := range f.Rows(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, ok := <-events
		if !ok || e.Stream != r.Stream || e.Version != r.Version || e.Metadata.ID != r.ID || !bytes.Equal(e.Payload, r.Payload) {
			t.Fatalf("event %d of the log is %s, %v, want line %d of the file: %s@%d", n+1, e, ok, r.Line, r.Stream, r.Version)
		}
		n++
	}
	if e, ok := <-events; ok || n != f.Events {
		t.Fatalf("the log goes on with %s after %d of %d events", e, n, f.Events)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, table string) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM annals.`+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An export that is imported elsewhere and exported again is the same, but for
// the positions.
func TestExportImportExport(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	from, to := postgres.New(pool), postgres.New(postgrestest.Pool(t))
	payloads := [][]byte{
		nil, []byte(`{"n":9007199254740993}`), []byte(" {}"), {0}, {0xff, 0xfe}, []byte(`{"s":"\u0000\ud800"}`), []byte("{\"s\":\"\u202e\u2028\"}"), []byte("1e400"), []byte(`{"a":1,"a":2}`),
		bytes.Repeat([]byte("x"), eventstore.MaxPayloadBytes), bytes.Repeat([]byte{0}, eventstore.MaxPayloadBytes), []byte(strings.Repeat("[", 20000)),
	}
	for i, id := range []string{"o-1", "Zo\u00eb-<b>&\"'\\ /", "\u65e5\u672c", strings.Repeat("x", event.MaxIDBytes), "--"} {
		for n, p := range payloads {
			m := event.Metadata{Actor: "<ada>\x00\u202e", EventTime: time.Date(2026, 1, 2, 3, 4, 5, n, time.FixedZone("", 3600)), Extra: map[string]string{"k\n": "\U0001f600"}}
			if n%3 == 0 {
				m = event.Metadata{}
			}
			_, err := from.Append(t.Context(), event.Stream{Category: "order", ID: id}, eventstore.Any(),
				event.Raw{Name: "order.noted", Schema: n + 1, ContentType: "text/x-odd", Payload: p, Metadata: m, Closes: i == 2 && n == len(payloads)-1})
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := pool.Exec(t.Context(), `SELECT nextval('annals.events_position_seq')`); err != nil { // a hole
			t.Fatal(err)
		}
	}
	var first, second bytes.Buffer
	if _, err := from.Export(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(path, first.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f := checkedFile(t, path)
	if res, want := importAll(t, to, f), (postgres.ImportResult{Stored: 60, Total: 60}); res != want {
		t.Errorf("got %+v, want %+v", res, want)
	}
	if _, err := to.Export(t.Context(), &second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(first.String()), lines(second.String())); diff != "" {
		t.Errorf("%.2000s", diff)
	}
	var store string
	if err := pool.QueryRow(t.Context(), `SELECT incarnation::text FROM annals.lineage ORDER BY generation DESC LIMIT 1`).Scan(&store); err != nil || f.Header.Store != store {
		t.Errorf("the header names store %s, want %s, %v", f.Header.Store, store, err)
	}
}

// lines are the events of a file without their positions.
func lines(s string) (out []string) {
	all := strings.Split(s, "\n")
	for _, l := range all[1 : len(all)-2] {
		_, rest, _ := strings.Cut(l, `,"stream"`)
		out = append(out, rest)
	}
	return out
}

func TestImportIsResumed(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	f := exported{events: 22_000, streams: 70}.checked(t)
	for _, want := range []int64{10_000, 20_000} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := db.Import(ctx, f, postgres.WithImportProgress(func(p postgres.ImportProgress) {
			if p.Events == want {
				cancel()
			}
		}))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Import = %v, want the error of the context", err)
		}
		if n := count(t, pool, "events"); n != want {
			t.Fatalf("%d events, want %d", n, want)
		}
	}
	if got, want := importAll(t, db, f), (postgres.ImportResult{Stored: 2000, Before: 20_000, Total: 22_000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	holdsFile(t, db, f)
	for range 2 { // now there is nothing to do
		if got, want := importAll(t, db, f), (postgres.ImportResult{Before: 22_000, Total: 22_000}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if n := count(t, pool, "imports"); n != 1 {
		t.Errorf("%d rows of imports, want 1", n)
	}
}

func TestImportOfNothing(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	f := exported{streams: 1}.checked(t)
	for range 2 {
		if got := importAll(t, db, f); got != (postgres.ImportResult{}) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestTwoImportsOfOneFile(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	f := exported{events: 42_000, streams: 70}.checked(t)
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() { _, errs[i] = db.Import(t.Context(), f) })
	}
	wg.Wait()
	busy := 0
	for _, err := range errs {
		var exists *postgres.StreamExistsError
		switch {
		case err == nil:
		case errors.Is(err, postgres.ErrImportBusy):
			if busy++; err.Error() != "import: another import of the same file is under way" {
				t.Error(err)
			}
		case errors.As(err, &exists): // it looked for the note before the other's first chunk, and at the streams behind it
		default:
			t.Error(err)
		}
	}
	t.Logf("%d of 3 were overtaken", busy)
	importAll(t, db, f)
	holdsFile(t, db, f)
}
