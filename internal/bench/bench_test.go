package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/internal/devenv"
)

// server is shared by the tests of the process. It ends with the process:
// devenv promises that.
var server = sync.OnceValues(func() (*devenv.Server, error) {
	return devenv.Postgres(context.Background(), devenv.WithoutFsync())
})

// testLab is as small as a lab can be. Its databases have the names of
// postgrestest, which drops those that a killed test has left.
func testLab(t *testing.T) *lab {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(s.URL)
	l.prefix = fmt.Sprintf("annals_test_%d_%s_", time.Now().Unix(), strings.ToLower(rand.Text()[:10]))
	l.conns, l.events, l.inOne, l.inTwelve = 6, 2_000, 50, 10
	return l
}

// TestWorkloads: each one runs, and finds in the tables what it has written.
// How fast it is, is not asked.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	runAll(t, slices.DeleteFunc(workloads(), func(w workload) bool { return w.apart }))
}

func TestApacheOwnWorkloads(t *testing.T) {
	t.Parallel()
	runAll(t, slices.DeleteFunc(workloads(), func(w workload) bool { return !w.apart }))
}

func runAll(t *testing.T, all []workload) {
	t.Helper()
	l := testLab(t)
	var out, progress bytes.Buffer
	r := report{Rounds: 2, Time: 20 * time.Millisecond}
	var err error
	if r.Machine, err = describe(t.Context(), l.url, "", "c0ffee"); err != nil {
		t.Fatal(err)
	}
	r.header(&out)
	r.measure(t.Context(), l, all, plan{rounds: r.Rounds, time: r.Time}, &progress)
	file := filepath.Join(t.TempDir(), "result.json")
	if err := r.finish(file, &out); err != nil {
		t.Errorf("%v\n%s", err, &progress)
	}
	t.Logf("\n%s", &out)

	var got report
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, line := range got.Results {
		measured[line.Workload] = true
		if line.Ratio == nil || line.Ratio.Median <= 0 || line.Annals.Median <= 0 {
			t.Errorf("%s: got annals %v, ratio %v, want figures", line.Workload, line.Annals, line.Ratio)
		}
	}
	for _, w := range all {
		if !measured[w.name] {
			t.Errorf("%s is not in the JSON", w.name)
		}
	}
	for _, want := range []string{"c0ffee", "shared_buffers", "synchronous_commit", all[0].name} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q", want)
		}
	}
}

func TestWorkloadNamesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, w := range workloads() {
		if seen[w.name] {
			t.Errorf("two workloads are named %s", w.name)
		}
		seen[w.name] = true
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-rounds", "0"}, "option -rounds or -time: want more than 0"},
		{[]string{"-time", "0s"}, "option -rounds or -time: want more than 0"},
		{[]string{"-filter", "("}, "option -filter: error parsing regexp: missing closing ): `(`"},
		{[]string{"-filter", "nothing"}, `option -filter: no workload matches "nothing"; -list names them`},
		{[]string{"append"}, `unknown argument "append"`},
	} {
		var out, progress bytes.Buffer
		err := run(t.Context(), c.args, &out, &progress)
		if err == nil || err.Error() != c.want {
			t.Errorf("run(%q) = %v, want %s", c.args, err, c.want)
		}
	}
}

func TestListNamesWorkloadsAndBars(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-list", "-filter", "16-callers"}, &out, &progress); err != nil {
		t.Fatal(err)
	}
	want := "append/1-event/16-callers            events/s   >= 1.20\nappend/10-events/16-callers          events/s   >= 0.85\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
