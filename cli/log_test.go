package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/event"
)

func TestLog(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	const n = 230 // more than two pages
	for i := range n / 46 {
		appendTo(t, db, fmt.Sprintf("order-%d", i), slices.Repeat([]event.Raw{placed("{}")}, 46)...)
	}
	got := run(t, url, []string{"log", "--limit", "1000"})
	if lines := column(t, got.Stdout); got.Code != 0 || got.Stderr != "" || len(lines) != n || lines[0] != "1" || lines[n-1] != "230" {
		t.Errorf("log = %d %q with %d lines, want %d in order", got.Code, got.Stderr, len(lines), n)
	}
	got = run(t, url, []string{"log", "--after", "100", "--limit", "2"})
	if diff := cmp.Diff([]string{"101", "102"}, column(t, got.Stdout)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := "stopped at --limit 2, continue with --after 102\n"; got.Stderr != want {
		t.Errorf("stderr = %q, want %q", got.Stderr, want)
	}
	got = run(t, url, []string{"log", "--after", "228", "--output", "json"})
	if o := objects(t, got.Stdout); len(o) != 2 || fmt.Sprint(o[1]["position"]) != "230" || o[1]["stream"] != "order-4" {
		t.Errorf("log --output json = %+v", got)
	}
	got = run(t, url, []string{"log", "--follow", "--limit", "3", "--after", "10"})
	if diff := cmp.Diff([]string{"11", "12", "13"}, column(t, got.Stdout)); got.Code != 0 || diff != "" {
		t.Errorf("log --follow --limit: %d (-want +got):\n%s", got.Code, diff)
	}
}

func TestLogSelects(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	paid := placed("{}")
	paid.Name = "payment.paid"
	appendTo(t, db, "order-1", placed("{}"), placed("{}"))
	appendTo(t, db, "payment-1", paid)
	appendTo(t, db, "order-2", paid, placed("{}"))
	for args, want := range map[string][]string{
		"--name payment.paid":                     {"3", "4"},
		"--category payment":                      {"3"},
		"--category order --name payment.paid":    {"4"},
		"--category order,payment --after 2":      {"3", "4", "5"},
		"--name payment.paid --name order.placed": {"1", "2", "3", "4", "5"},
		"--name order.unknown":                    nil,
		"--since 2000-01-01T00:00:00Z --limit 5":  {"1", "2", "3", "4", "5"},
		"--since 2999-01-01T00:00:00+02:00":       nil,
	} {
		got := run(t, url, append([]string{"log"}, strings.Fields(args)...))
		if diff := cmp.Diff(want, column(t, got.Stdout), cmpopts.EquateEmpty()); got.Code != 0 || diff != "" {
			t.Errorf("log %s: %d %s (-want +got):\n%s", args, got.Code, got.Stderr, diff)
		}
	}
	for args, want := range map[string]string{
		"--name paid":                            `invalid argument "paid" for "--name" flag: invalid event name "paid": want family.fact, such as order.placed`,
		"--category my-order":                    `invalid argument "my-order" for "--category" flag: invalid category "my-order": want letters, digits and underscores, beginning with a letter`,
		"--since yesterday":                      `invalid argument "yesterday" for "--since" flag: want a time such as 2026-01-31T09:00:00Z`,
		"--since 2000-01-01T00:00:00Z --after 3": `--after and --since: want one of them`,
	} {
		if got := run(t, url, append([]string{"log"}, strings.Fields(args)...)); got.Code != 2 || !strings.Contains(got.Stderr, want) {
			t.Errorf("log %s: %d %s, want 2 %s", args, got.Code, got.Stderr, want)
		}
	}
}

func TestLogFollow(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	appendTo(t, db, "order-1", placed(`{"n":1}`))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, w := io.Pipe()
	var stderr bytes.Buffer
	cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": url}))
	cmd.SetArgs([]string{"log", "--follow", "--output", "json"})
	cmd.SetOut(w)
	cmd.SetErr(&stderr)
	ended := make(chan int, 1)
	go func() {
		code := cli.Execute(ctx, cmd)
		_ = w.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(out)
	for i := 1; i <= 3; i++ {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"payload":{"n":%d}`, i)) {
			t.Fatalf("line %d = %q", i, lines.Text())
		}
		appendTo(t, db, "order-2", placed(fmt.Sprintf(`{"n":%d}`, i+1))) // by another process, as far as annals knows
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // the fourth may be printed or not
	interrupt()
	select {
	case code := <-ended:
		if code != 0 || stderr.String() != "" {
			t.Errorf("log --follow ended with %d %q, want 0 and no word", code, stderr.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("log --follow goes on after its context has ended")
	}
}

// closedPipe is what a writer to head is, once head has ended.
type closedPipe struct{ err error }

func (p closedPipe) Write([]byte) (int, error) { return 0, p.err }

func TestClosedPipeIsNoError(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	appendTo(t, db, "order-1", placed("{}"))
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{syscall.EPIPE, 0, ""},
		{io.ErrClosedPipe, 0, ""},
		{syscall.ENOSPC, 1, "annals: " + syscall.ENOSPC.Error() + "\n"},
	} {
		for _, args := range [][]string{{"log"}, {"log", "--follow"}, {"stream", "ls"}, {"stream", "show", "order-1"}, {"migrate"}, {"migrate", "--print"}, {"version"}} {
			var stderr bytes.Buffer
			cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": url}))
			cmd.SetArgs(args)
			cmd.SetOut(closedPipe{c.err})
			cmd.SetErr(&stderr)
			if code := cli.Execute(t.Context(), cmd); code != c.code || stderr.String() != c.want {
				t.Errorf("%q, %v: exit code %d %q, want %d %q", args, c.err, code, stderr.String(), c.code, c.want)
			}
		}
	}
}
