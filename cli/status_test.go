package cli_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/worker"
)

// A reader that lags needs a worker; one that is at the end does not.
func TestStatusOfASilentDeath(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	check(t, run(t, url, []string{"status"}), result{Stdout: "READER  PART  POSITION  LAG  BEHIND  PARKED  HOLDER  STATE\n"})
	for range 3 {
		appendTo(t, db, "order-1", placed("{}"))
	}
	save(t, db, "projection/totals", worker.Write{Marks: worker.Checkpoint{"": {Position: 3}}})
	check(t, run(t, url, []string{"status", "totals"}), result{Stdout: "READER             PART  POSITION  LAG  BEHIND  PARKED  HOLDER  STATE\n" +
		"projection/totals  -     3         0    -       -       -       no worker\n"})
	appendTo(t, db, "order-1", placed("{}"))
	got := run(t, url, []string{"status", "totals"})
	want := "annals: status: projection/totals lags by 1 event and no worker has its term: start one\n"
	if got.Code != 3 || got.Stderr != want || !strings.Contains(got.Stdout, "projection/totals  -     3         1    ") {
		t.Errorf("status = %+v, want %s", got, want)
	}
	got = run(t, url, []string{"doctor"})
	if want := "workers     wrong  projection/totals lags by 1 event and no worker has its term: start one\n"; got.Code != 1 || !strings.Contains(got.Stdout, want) {
		t.Errorf("doctor = %+v, want %s", got, want)
	}
	term, err := db.Claim(t.Context(), worker.Claiming{Name: "projection/totals", Holder: "host/1", Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, url, []string{"status"}); got.Code != 0 || !strings.Contains(got.Stdout, "  host/1  runs, lease until ") {
		t.Errorf("status = %+v, want that it runs", got)
	}
	if err := db.Resign(t.Context(), "projection/totals", "host/1", true, term); err != nil {
		t.Fatal(err)
	}
	if got := run(t, url, []string{"status"}); got.Code != 3 {
		t.Errorf("status = %+v, want 3: its worker has gone", got)
	}
	check(t, run(t, url, []string{"status", "none"}), result{Code: 1, Stderr: "annals: reader none: there is none of that name, there are: projection/totals, no others\n"})
	check(t, run(t, url, []string{"status", "a", "b"}), result{Code: 2, Stderr: "annals: status: arguments: got 2, want at most one NAME, such as projection/totals\n"})
}

func TestStatusOfAPausedReaderWithParkedKeys(t *testing.T) {
	t.Parallel()
	url, db := patient(t)
	term, err := db.Claim(t.Context(), worker.Claiming{Name: "projection/totals", Holder: "host" + hostile, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Renew(t.Context(), worker.Renewal{
		Name: "projection/totals", Holder: "host" + hostile, Lease: time.Hour, Terms: []worker.Term{term},
		Reports: map[string]worker.Report{"": {Paused: "the breaker is open", Error: "no route" + hostile, Time: noon}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, url, []string{"status"})
	want := `annals: status: projection/totals is paused: the breaker is open: mend what it depends on (last error: no route\x1b[2Jred\u202e); projection/totals has 1 key waiting for a decision: see annals parked ls projection/totals` + "\n"
	if got.Code != 3 || got.Stderr != want {
		t.Errorf("status = %+v, want 3 and %s", got, want)
	}
	if want := `paused: the breaker is open, last error: no route\x1b[2Jred\u202e` + "\n"; !strings.HasSuffix(got.Stdout, want) || !strings.Contains(got.Stdout, "  1+1 (5 events, ") || strings.Contains(got.Stdout, "\x1b") {
		t.Errorf("status = %s, want it to end in %s", got.Stdout, want)
	}
	got = run(t, url, []string{"status", "--output", "json"})
	o := objects(t, got.Stdout)
	if len(o) != 1 || strings.Contains(got.Stdout, "\x1b") {
		t.Fatalf("status = %+v", got)
	}
	for key, want := range map[string]string{
		"reader": "projection/totals", "part": "", "position": "3", "head": "5", "lag": "2", "waiting": "1", "retrying": "1", "parked_events": "5",
		"holder": "host" + hostile, "epoch": "1", "live": "true", "paused": "the breaker is open", "error": "no route" + hostile,
		"error_time": "2026-03-01T12:00:00Z", "members": "[host" + hostile + "]",
	} {
		if fmt.Sprint(o[0][key]) != want {
			t.Errorf("%s is %q, want %q", key, o[0][key], want)
		}
	}
	if p, ok := o[0]["problems"].([]any); !ok || len(p) != 2 {
		t.Errorf("problems %v, want two", o[0]["problems"])
	}
	got = run(t, url, []string{"doctor"})
	for _, want := range []string{
		"workers     wrong  projection/totals is paused: the breaker is open: mend",
		"workers     wrong  projection/totals has 1 key waiting",
		"workers     wrong  projection/totals is retrying 1 parked key since ",
	} {
		if !strings.Contains(got.Stdout, want) {
			t.Errorf("doctor = %s, want %s", got.Stdout, want)
		}
	}
}

// A relay works on all its parts under one term.
func TestStatusOfARelay(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	appendTo(t, db, "order-1", placed("{}"))
	if _, err := db.Claim(t.Context(), worker.Claiming{Name: "relay/main", Holder: "host/1", Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	save(t, db, "relay/main", worker.Write{Marks: worker.Checkpoint{"": {}, "order/annals.order": {}}})
	if got := run(t, url, []string{"status"}); got.Code != 0 || strings.Count(got.Stdout, "host/1") != 2 {
		t.Errorf("status = %+v, want both parts to have the worker", got)
	}
}
