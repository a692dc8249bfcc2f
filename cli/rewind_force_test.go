package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

func TestRewindOfAReaderThatRuns(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	save(t, db, "projection/totals", worker.Write{Marks: worker.Checkpoint{"": {Position: 1}}})
	if _, err := db.Claim(t.Context(), worker.Claiming{Name: "projection/totals", Holder: "host/1", Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	got := run(t, url, []string{"rewind", "totals", "--to", "0"})
	if got.Code != 1 || !strings.HasPrefix(got.Stderr, `annals: rewind projection/totals to position 0: projection/totals runs: host/1 holds segment "" until `) || !strings.HasSuffix(got.Stderr, ": stop it, or force it if you know that it has ended (--force)\n") {
		t.Errorf("rewind = %+v", got)
	}
	check(t, run(t, url, []string{"rewind", "totals", "--to", "0", "--force"}), result{Stderr: "projection/totals goes on behind position 0\n"})
}

// What the error of an altered mark says to do works.
func TestRewindOfMarksThatWereAltered(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	save(t, l.db, "projection/topics", worker.Write{Marks: worker.Checkpoint{"annals.order/0": {Position: 3, Source: "x", Offset: 3, Of: 1}}})
	save(t, l.db, "projection/here", worker.Write{Marks: worker.Checkpoint{"": {Position: 3}}})
	pool, err := pgxpool.New(t.Context(), l.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), `UPDATE annals.checkpoints SET position = position + 1`); err != nil {
		t.Fatal(err)
	}
	got := run(t, l.url, []string{"doctor"})
	for _, want := range []string{
		`readers     wrong  checkpoint projection/here: part "": the mark at position 4 was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force` + "\n",
		`readers     wrong  checkpoint projection/topics: part "annals.order/0": the mark at position 4 was not written by a worker: `,
		`readers     wrong  checkpoint relay/main: part "": the mark at position 6 was not written by a worker: `,
	} {
		if got.Code != 1 || !strings.Contains(got.Stdout, want) {
			t.Errorf("doctor = %+v, want %s", got, want)
		}
	}
	if got := run(t, l.url, []string{"status"}); got.Code != 3 || !strings.Contains(got.Stderr, "was not written by a worker") {
		t.Errorf("status = %+v", got)
	}
	got = run(t, l.url, []string{"rewind", "here", "--to", "0"})
	if got.Code != 1 || !strings.Contains(got.Stderr, "was not written by a worker") {
		t.Errorf("rewind without force = %+v", got)
	}
	check(t, run(t, l.url, []string{"rewind", "here", "--to", "0", "--force"}), result{Stderr: "projection/here goes on behind position 0\n"})
	check(t, run(t, l.url, []string{"rewind", "relay/main", "--brokers", l.brokers, "--force"}), result{Stderr: "relay/main goes on at the beginning of the log, and sends its topics what they lack\n"})
	l.catchUp(t)
	check(t, run(t, l.url, []string{"rewind", "topics", "--force"}), result{Stderr: "projection/topics goes on at the beginning of its topics\n"})
	for name, part := range map[string]string{"projection/here": "", "projection/topics": "annals.order/0"} {
		if c, err := postgres.New(pool).Checkpoint(t.Context(), name); err != nil || c[part].Position != 0 {
			t.Errorf("%s is at %+v, %v", name, c, err)
		}
	}
	if got := run(t, l.url, []string{"doctor"}); strings.Contains(got.Stdout, "was not written by a worker") {
		t.Errorf("doctor = %+v", got)
	}
}
