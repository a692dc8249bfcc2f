package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/transfer"
)

// TestImportChild is the process that TestFaultImportIsResumed kills. By itself
// it does nothing.
func TestImportChild(t *testing.T) {
	t.Parallel()
	url, isChild := os.LookupEnv("ANNALS_TEST_IMPORT_URL")
	if !isChild {
		return
	}
	path, _ := os.LookupEnv("ANNALS_TEST_IMPORT_FILE")
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	importAll(t, postgres.New(pool, postgres.WithoutNotify()), checkedFile(t, path), postgres.WithImportProgress(func(p postgres.ImportProgress) {
		fmt.Printf("import at %d\n", p.Events)
	}))
}

// An import whose process is killed, again and again, ends with each event once:
// before a commit, after one, and wherever it happens to be.
func TestFaultImportIsResumed(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "import.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "crashpoints", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build with crash points: %v\n%s", err, out)
	}
	url := postgrestest.URL(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := postgres.New(pool)
	path := exported{events: 78_000, streams: 300}.write(t)
	f := checkedFile(t, path)
	points := []string{"postgres.import.copied:1", "postgres.import.committed:1", "", "postgres.import.copied:2"}
	kills, noted := 0, int64(0)
	for ; noted < f.Events && kills < 100; kills++ {
		child := exec.CommandContext(t.Context(), binary, "-test.run=^TestImportChild$", "-test.v")
		child.Env = append(os.Environ(), "ANNALS_TEST_IMPORT_URL="+url+"&application_name=import_child", "ANNALS_TEST_IMPORT_FILE="+path,
			"ANNALS_CRASH="+points[kills%len(points)])
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		told := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "import at ") {
				told++
			}
			if told == 2 && points[kills%len(points)] == "" {
				_ = child.Process.Kill() // in the middle of the second chunk
			}
		}
		_ = child.Wait()
		for busy := true; busy; { // its server process may still be at it
			if err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'import_child' AND datname = current_database())`).Scan(&busy); err != nil {
				t.Fatal(err)
			}
		}
		if err := pool.QueryRow(t.Context(), `SELECT coalesce(max(events), 0) FROM annals.imports`).Scan(&noted); err != nil {
			t.Fatal(err)
		}
		if n := count(t, pool, "events"); n != noted {
			t.Fatalf("after %d kills: %d events, the note says %d", kills+1, n, noted)
		}
	}
	t.Logf("killed %d times", kills)
	importAll(t, db, f)
	holdsFile(t, db, f)
	if kills < 6 {
		t.Errorf("killed %d times only: the import is too short to be interrupted", kills)
	}
}

// Readers that follow the log beside an import and appends see every event
// once, and nothing behind their cursor.
func TestFaultImportBesideReaders(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	f := exported{events: 40_000, streams: 300, category: "imported"}.checked(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var writers, readers sync.WaitGroup
	var imported atomic.Bool
	for n := range 4 {
		writers.Go(func() {
			for i := 0; !imported.Load(); i++ {
				_, err := db.Append(ctx, event.Stream{Category: "live", ID: fmt.Sprint(n)}, eventstore.Exactly(event.Version(i)), event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var end atomic.Int64
	end.Store(1 << 48)
	seen := make([][]event.Position, 3)
	for n := range seen {
		readers.Go(func() {
			reader := postgres.New(pool)
			q := eventstore.LogQuery{}
			if n == 2 {
				q.Categories = []string{"imported", "live"}
			}
			versions := map[event.Stream]event.Version{}
			for int64(q.After) < end.Load() {
				page, err := reader.ReadLog(ctx, q)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range page.Events {
					seen[n] = append(seen[n], e.Position)
					if versions[e.Stream]++; versions[e.Stream] != e.Version {
						t.Errorf("reader %d: %s follows version %d", n, e, versions[e.Stream]-1)
						return
					}
				}
				if page.Next == q.After {
					if err := reader.Wait(ctx, q.After); err != nil {
						t.Error(err)
						return
					}
				}
				q.After = page.Next
			}
		})
	}
	if res, err := db.Import(ctx, f, postgres.WithNewTimes()); err != nil || res.Stored != f.Events {
		t.Errorf("%+v, %v", res, err)
	}
	imported.Store(true)
	writers.Wait()
	head, err := db.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	end.Store(int64(head))
	readers.Wait()
	total := count(t, pool, "events")
	for n, positions := range seen {
		if int64(len(positions)) != total {
			t.Errorf("reader %d saw %d events of %d", n, len(positions), total)
		}
	}
	if total <= f.Events+10 {
		t.Errorf("%d events: hardly an append came in between", total)
	}
}

// What checking and importing hold does not grow with the file.
func TestFaultImportInBoundedMemory(t *testing.T) { // alone: it measures the process
	const events, most = 300_000, 128 << 20
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	path := exported{events: events, streams: 100_000}.write(t)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := int64(0)
	watch := func() {
		runtime.ReadMemStats(&now)
		peak = max(peak, int64(now.HeapInuse)-int64(before.HeapInuse))
	}
	began := time.Now()
	f, err := transfer.Check(t.Context(), transfer.File(path), transfer.WithCheckProgress(func(transfer.Progress) { watch() }))
	if err != nil {
		t.Fatal(err)
	}
	watch()
	t.Logf("checked %d events, %d MiB, in %v; at most %d MiB", f.Events, f.Bytes>>20, time.Since(began), peak>>20)
	if peak > most {
		t.Errorf("%d MiB to check, want at most %d", peak>>20, most>>20)
	}
	peak, began = 0, time.Now()
	importAll(t, db, f, postgres.WithImportProgress(func(postgres.ImportProgress) { watch() }))
	t.Logf("imported in %v; at most %d MiB", time.Since(began), peak>>20)
	if peak > most {
		t.Errorf("%d MiB to import, want at most %d", peak>>20, most>>20)
	}
}
