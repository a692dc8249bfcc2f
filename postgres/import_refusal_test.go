package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/transfer"
)

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
