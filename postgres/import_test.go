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
	"github.com/jackc/pgx/v5"
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

func TestImportRefusesStreamsThatExist(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	first := exported{events: 30, streams: 10}
	importAll(t, db, first.checked(t))
	const nothing = ": nothing was stored: "
	again := exported{events: 40, streams: 10, at: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}.checked(t)
	err := wantImportError(t, db, again, "import: stream order-0 exists up to version 3, the file has it from 1 (10 in all)"+nothing+
		"skip stored events if they are the same (--skip-stored), or import into another store")
	var exists *postgres.StreamExistsError
	if !errors.As(err, &exists) || !errors.Is(err, postgres.ErrStreamExists) || !errors.Is(err, eventstore.ErrConflict) || exists.Found != 10 || exists.Version != 3 {
		t.Errorf("%+v", exists)
	}
	wantImportError(t, db, again, err.Error(), postgres.WithContinuedStreams())

	next := exported{events: 20, streams: 10, from: 4, closes: true}.checked(t)
	wantImportError(t, db, next, "import: stream order-0 is at version 3, the file goes on at 4 (10 in all)"+nothing+"allow continued streams (--continue)")
	wantImportError(t, db, exported{events: 10, streams: 10, from: 5}.checked(t), "import: stream order-0 is at version 3, the file goes on at 5 (10 in all)"+nothing+
		"import the file with the versions between first", postgres.WithContinuedStreams())
	wantImportError(t, db, exported{events: 1, streams: 1, from: 2, category: "other"}.checked(t), "import: stream other-0 is at version 0, the file goes on at 2 (1 in all)"+nothing+
		"import the file with the versions between first", postgres.WithContinuedStreams())

	// The id of an event that the stream has, in an event that goes on.
	text, readErr := os.ReadFile(exported{events: 10, streams: 10, from: 4}.write(t))
	if readErr != nil {
		t.Fatal(readErr)
	}
	reused := signed(t, strings.Replace(string(text), exported{from: 4}.id(7), exported{from: 1}.id(17), 1))
	wantImportError(t, db, reused, "import: stream order-7 has event id "+exported{from: 1}.id(17)+" of version 4 at version 2 (1 in all)"+nothing+
		"the histories differ, import into another store", postgres.WithContinuedStreams())
	if n, rows := count(t, pool, "events"), count(t, pool, "imports"); n != 30 || rows != 1 {
		t.Errorf("%d events, %d rows of imports: something was stored", n, rows)
	}

	importAll(t, db, next, postgres.WithContinuedStreams())
	wantImportError(t, db, exported{events: 10, streams: 10, from: 6}.checked(t), "import: stream order-9 was closed at version 5, the file goes on at 6 (1 in all)"+nothing+
		"the histories differ, import into another store", postgres.WithContinuedStreams())
}

// signed writes a changed file with a new trailer.
func signed(t *testing.T, text string) *transfer.Checked {
	t.Helper()
	end := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	head, _, _ := strings.Cut(text[end:], `"sha256"`)
	text = text[:end] + head + fmt.Sprintf(`"sha256":"%x"}`, sha256.Sum256([]byte(text[:end]))) + "\n"
	path := filepath.Join(t.TempDir(), "signed.ndjson")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return checkedFile(t, path)
}

func TestImportSkipsWhatIsStored(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	importAll(t, db, exported{events: 6_005, streams: 10}.checked(t))
	longer := exported{events: 12_000, streams: 10}.checked(t)
	wantImportError(t, db, longer, "import: stream order-0 exists up to version 601, the file has it from 1 (10 in all): nothing was stored: "+
		"skip stored events if they are the same (--skip-stored), or import into another store")
	got := importAll(t, db, longer, postgres.WithSkippedStored()) // with its times: those that are skipped do not count
	if want := (postgres.ImportResult{Stored: 5_995, Skipped: 6_005, Total: 12_000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	holdsFile(t, db, longer)

	text, err := os.ReadFile(exported{events: 13_000, streams: 10}.write(t))
	if err != nil {
		t.Fatal(err)
	}
	changed := signed(t, strings.Replace(string(text), `{"n":11999,`, `{"n":11998,`, 1))
	wantImportError(t, db, changed, "import: stream order-9 has another event at version 1200 (1 in all): nothing was stored: the histories differ, import into another store", postgres.WithSkippedStored())
	if n := count(t, pool, "events"); n != 12_000 {
		t.Errorf("%d events: something was stored", n)
	}
}

// An append to a stream that is being imported: the unique key is the referee,
// and what was stored stays.
func TestImportIsOvertakenByAnAppend(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	f := exported{events: 22_000, streams: 10}.checked(t)
	_, err := db.Import(t.Context(), f, postgres.WithNewTimes(), postgres.WithImportProgress(func(p postgres.ImportProgress) {
		if p.Events == 10_000 {
			if _, err := db.Append(t.Context(), order("3"), eventstore.Exactly(1000), event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"}); err != nil {
				t.Error(err)
			}
		}
	}))
	want := "import: stream order-3 has another event at version 1001: somebody appended to it meanwhile, 10000 events of the file are in and stay"
	if err == nil || err.Error() != want || !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if n := count(t, pool, "events"); n != 10_001 {
		t.Errorf("%d events, want the first chunk and the append", n)
	}
	var events int64
	if err := pool.QueryRow(t.Context(), `SELECT events FROM annals.imports WHERE finished_at IS NULL`).Scan(&events); err != nil || events != 10_000 {
		t.Errorf("the note says %d events, %v, want 10000", events, err)
	}
	wantImportError(t, db, f, want, postgres.WithNewTimes())
}

func TestImportTimes(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	const remedy = ": give the events new times (--times new), or import into an empty store"
	old := exported{events: 3, streams: 3, category: "old"}.checked(t)
	importAll(t, db, old)
	before, err := db.PositionBefore(t.Context(), old.FirstTime.Add(time.Microsecond))
	if err != nil || before != 1 {
		t.Errorf("PositionBefore = %d, %v, want 1: the times are those of the file", before, err)
	}
	older := exported{events: 3, streams: 3, category: "older", at: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}.checked(t)
	err = wantImportError(t, db, older, "import: recorded time 2025-01-01T00:00:00Z is before that of the newest event of the store, 2026-01-31T09:00:00.123458Z"+remedy)
	if !errors.Is(err, postgres.ErrImportTime) {
		t.Error(err)
	}
	ahead := exported{events: 3, streams: 3, category: "ahead", at: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}.checked(t)
	_, err = db.Import(t.Context(), ahead)
	if !errors.Is(err, postgres.ErrImportTime) || !strings.HasPrefix(err.Error(), "import: recorded time 2999-01-01T00:00:00.000002Z is ahead of the server's clock, 20") {
		t.Error(err)
	}
	text, err := os.ReadFile(exported{events: 3, streams: 3, category: "back"}.write(t))
	if err != nil {
		t.Fatal(err)
	}
	back := signed(t, strings.Replace(string(text), "2026-01-31T09:00:00.123458Z", "2026-01-31T08:59:59.123456Z", 1))
	wantImportError(t, db, back, "import: line 4: its recorded time goes back from one before"+remedy)
	slack := signed(t, strings.Replace(string(text), "2026-01-31T09:00:00.123458Z", "2026-01-31T08:59:59.2Z", 1))
	importAll(t, db, slack)
	if n := count(t, pool, "events"); n != 6 {
		t.Errorf("%d events, want 6", n)
	}
	began := time.Now().Add(-time.Hour)
	for _, f := range []*transfer.Checked{older, ahead, back} {
		if f == back {
			continue // the streams of slack
		}
		importAll(t, db, f, postgres.WithNewTimes())
	}
	for e, err := range eventstore.All(t.Context(), db, eventstore.LogQuery{After: 6}) {
		if err != nil || e.RecordedTime.Before(began) {
			t.Errorf("%s is of %s, %v, want the time of its import", e, e.RecordedTime, err)
		}
	}
	// An append in between has a later time than the rest of the file.
	f := exported{events: 11_000, streams: 10, category: "busy"}.checked(t)
	empty := postgres.New(postgrestest.Pool(t))
	_, err = empty.Import(t.Context(), f, postgres.WithImportProgress(func(p postgres.ImportProgress) {
		if p.Events == 10_000 {
			if _, err := empty.Append(t.Context(), order("1"), eventstore.None(), event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"}); err != nil {
				t.Error(err)
			}
		}
	}))
	if err == nil || !errors.Is(err, postgres.ErrImportTime) || !strings.Contains(err.Error(), ", 10000 events of the file are in: give") {
		t.Error(err)
	}
	if got, want := importAll(t, empty, f, postgres.WithNewTimes()), (postgres.ImportResult{Stored: 1000, Before: 10_000, Total: 11_000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A file that changes while it is imported: nothing of the change is stored.
func TestImportOfAFileThatChanges(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	path := exported{events: 22_000, streams: 10}.write(t)
	f := checkedFile(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(`{"n":17000,`), []byte(`{"n":17001,`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	err = wantImportError(t, db, f, "import: read file: file changed since it was checked")
	if !errors.Is(err, transfer.ErrChanged) {
		t.Error(err)
	}
	if n := count(t, pool, "events"); n%10_000 != 0 || n > 10_000 {
		t.Errorf("%d events are stored, want none of the changed chunk", n)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	importAll(t, db, f)
	holdsFile(t, db, f)
}

func TestImportOptions(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	f := exported{events: 1, streams: 1}.checked(t)
	wantImportError(t, db, f, "option WithChunkTimeout: 0s: want at least 1ms", postgres.WithChunkTimeout(0))
	missing := postgres.New(postgrestest.Pool(t), postgres.WithSchema("elsewhere"))
	if _, err := missing.Import(t.Context(), f); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Error(err)
	}
	if _, err := missing.Export(t.Context(), io.Discard); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Error(err)
	}
}

// COPY, and what is around it, does not depend on how pgx asks for types.
func TestImportInEveryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config, err := pgxpool.ParseConfig(postgrestest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		config.ConnConfig.DefaultQueryExecMode = mode
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		db := postgres.New(pool)
		importAll(t, db, exported{events: 50, streams: 5}.checked(t))
		importAll(t, db, exported{events: 50, streams: 5, from: 11}.checked(t), postgres.WithContinuedStreams(), postgres.WithNewTimes())
		longer := exported{events: 150, streams: 5}.checked(t)
		if _, err := db.Import(t.Context(), longer, postgres.WithSkippedStored()); !errors.Is(err, postgres.ErrStreamExists) { // the ids differ
			t.Errorf("%v: %v", mode, err)
		}
		if n := count(t, pool, "events"); n != 100 {
			t.Errorf("%v: %d events, want 100", mode, n)
		}
	}
}

// The rights of the role are enough.
func TestImportNeedsFewRights(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Service(t, postgrestest.Pool(t), postgres.RoleImport)
	db := postgres.New(pool)
	for _, opts := range [][]postgres.ImportOption{nil, {postgres.WithContinuedStreams()}, {postgres.WithSkippedStored(), postgres.WithNewTimes()}} {
		f := exported{events: 6000, streams: 5, category: fmt.Sprintf("c%d", len(opts))}.checked(t)
		if got := importAll(t, db, f, opts...); got.Stored != 6000 {
			t.Errorf("got %+v", got)
		}
	}
}
