package cli_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/postgres"
)

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"log", "--limit", "0"}, `invalid argument "0" for "--limit" flag: want a whole number from 1 to 1000000`},
		{[]string{"log", "--limit", "many"}, `invalid argument "many" for "--limit" flag: want a whole number from 1 to 1000000`},
		{[]string{"log", "--after", "-1"}, `invalid argument "-1" for "--after" flag: want a whole number from 0 to 281474976710655`},
		{[]string{"log", "--after", "281474976710656"}, `invalid argument "281474976710656" for "--after" flag: want a whole number from 0 to 281474976710655`},
		{[]string{"log", "--timeout", "0s"}, `invalid argument "0s" for "--timeout" flag: want a duration of at least 1ms, such as 30s`},
		{[]string{"log", "--timeout", "30"}, `invalid argument "30" for "--timeout" flag: want a duration of at least 1ms, such as 30s`},
		{[]string{"log", "--output", "xml"}, `invalid argument "xml" for "--output" flag: want table or json`},
		{[]string{"log", "--schema", "a;b"}, `invalid argument "a;b" for "--schema" flag: want lower-case letters, digits and underscores, at most 40`},
		{[]string{"log", "--schema", "a\x1b\u202e"}, `invalid argument "a\x1b\u202e" for "--schema" flag: want lower-case letters, digits and underscores, at most 40`},
		{[]string{"log", "--output"}, `flag needs an argument: --output`},
		{[]string{"log", "--nosuch"}, `unknown flag: --nosuch`},
		{[]string{"log", "--no\x1b[2J"}, `unknown flag: --no\x1b[2J`},
		{[]string{"log", "extra"}, `log: arguments: got 1, want none`},
		{[]string{"migrate", "extra"}, `migrate: arguments: got 1, want none`},
		{[]string{"version", "extra"}, `version: arguments: got 1, want none`},
		{[]string{"stream", "ls", "--after", "order"}, `invalid argument "order" for "--after" flag: invalid stream "order": want category-id, such as order-o-1`},
		{[]string{"stream", "ls", "a", "b"}, `stream ls: arguments: got 2, want at most one PREFIX, such as order-`},
		{[]string{"stream", "show"}, `stream show: arguments: got 0, want one STREAM, such as order-o-1`},
		{[]string{"stream", "show", "order"}, `show stream: invalid stream "order": want category-id, such as order-o-1`},
		{[]string{"stream", "show", "order-\u202e"}, `show stream: invalid stream id "\u202e": character U+202E is not printable`},
		{[]string{"stream", "show", "order-1", "--from", "0"}, `invalid argument "0" for "--from" flag: want a whole number from 1 to 9223372036854775807`},
		{[]string{"migrat"}, `unknown command "migrat", did you mean migrate`},
		{[]string{"stream", "list"}, `stream: unknown command "list", did you mean ls`},
		{[]string{"stream", "xyz\x1b"}, `stream: unknown command "xyz\x1b"`},
		{[]string{"log"}, `no database, set --database-url or the environment variable DATABASE_URL to postgres://user:password@host:port/database`},
	} {
		got := run(t, "", c.args)
		if got.Code != 2 || got.Stderr != "annals: "+c.want+"\n" || got.Stdout != "" {
			t.Errorf("%q = %+v\nwant %s", c.args, got, c.want)
		}
	}
	url, _ := database(t)
	check(t, run(t, url, []string{"stream", "ls", "order-\xff"}),
		result{Code: 2, Stderr: `annals: list streams: invalid prefix "order-\xff": not valid UTF-8` + "\n"})
}

// canary is a password, or a part of one, that must never be seen.
const canary = "c4n4ry"

func TestPasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	closed := closedAddress(t)
	unreadable := "annals: connection string cannot be read (it is not shown, because of its password), want postgres://user:password@host:port/database\n"
	ambiguous := "annals: connection string is ambiguous (it is not shown, because of its password), write @ / ? in user and password as %40 %2F %3F\n"
	for _, c := range []struct {
		url  string
		want string
	}{
		{"postgres://app:" + canary + "@db:nan/shop", unreadable},
		{"postgres://app:" + canary + "@db:99999999/shop", unreadable},
		{"postgres://app:a:" + canary, unreadable},
		{"postgres://app:%zz" + canary + "@db/shop", unreadable},
		{"postgres://app@db/shop?password=" + canary + "&sslmode=nosuch", unreadable},
		{"postgres://app:" + canary + "@db/shop?pool_max_conns=x", unreadable},
		{"host=db password=" + canary + " oops", unreadable},
		{"host=db password='" + canary, unreadable},
		{"password=my " + canary + " host=" + closed, unreadable},
		{"mysql://app:" + canary + "@db/shop", unreadable},
		{canary, unreadable},
		{"postgres://app:12/" + canary + "@" + closed + "/shop", ambiguous},
		{"postgres://app:my@" + canary + "@" + closed + "/shop", ambiguous},
		{"postgres://app:my@" + closed + "/" + canary + "@db/shop", ambiguous},
		{"postgres://app:my?" + canary + "=1@" + closed + "/shop", ambiguous},
		{"postgres://app:" + canary + "@" + closed + "/shop?sslmode=disable", "annals: connect to database: "},
		{"postgres://app:" + canary + "@" + closed + "/shop", "annals: connect to database: "},
		{"host=127.0.0.1 port=1 user=app password=" + canary, "annals: connect to database: "},
	} {
		for _, viaFlag := range []bool{false, true} {
			for _, args := range [][]string{{"log"}, {"log", "--follow"}, {"stream", "ls"}, {"migrate"}} {
				env := c.url
				if viaFlag {
					env, args = "", append(args, "--database-url", c.url)
				}
				got := run(t, env, args)
				code := 2
				if strings.HasPrefix(c.want, "annals: connect to ") {
					code = 1
				}
				if got.Code != code || !strings.HasPrefix(got.Stderr, c.want) || strings.Count(got.Stderr, "\n") != 1 || strings.Contains(got.Stderr+got.Stdout, canary) {
					t.Errorf("%s: %q = %+v\nwant %s", c.url, args, got, c.want)
				}
			}
		}
	}
}

func TestPasswordIsNotShownByTheServersAnswer(t *testing.T) {
	t.Parallel()
	url, _ := database(t)
	// A user that does not exist is refused also by a server that trusts everybody.
	url = withQuery(t, withQuery(t, url, "user", "nobody_of_this_name"), "password", canary+canary)
	got := run(t, url, []string{"log"})
	if got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: connect to database: ") || !strings.Contains(got.Stderr, "SQLSTATE 28") || strings.Contains(got.Stderr, canary) {
		t.Errorf("log = %+v, want a refusal by the server", got)
	}
}

func TestURLInTheWrongPlace(t *testing.T) {
	t.Parallel()
	url := "postgres://app:" + canary + "@db/shop"
	for _, args := range [][]string{
		{url},
		{"migrate", url},
		{"stream", "show", url},
		{"stream", "ls", "--after", url},
		{"log", "--schema", url},
		{"log", "--schema", "host=db password=" + canary},
		{"log", "--after", "postgres://app:with " + canary + "@db/shop"},
	} {
		if got := run(t, "", args); got.Code != 2 || strings.Contains(got.Stderr, canary) || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("%q = %+v, want a usage error without the password", args, got)
		}
	}
}

func TestPoolOfTheCallerFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		open func(context.Context) (*pgxpool.Pool, error)
		want string
	}{
		{func(context.Context) (*pgxpool.Pool, error) { return nil, errors.New("no vault\x1b[2J") }, `annals: open pool: no vault\x1b[2J` + "\n"},
		{func(ctx context.Context) (*pgxpool.Pool, error) {
			return pgxpool.New(ctx, "postgres://app:"+canary+"@db:nan/shop")
		}, "annals: open pool: connection string cannot be read (it is not shown, because of its password), want postgres://user:password@host:port/database\n"},
		{func(ctx context.Context) (*pgxpool.Pool, error) {
			return pgxpool.New(ctx, "postgres://app:12/"+canary+"@db/shop")
		}, "annals: open pool: connection string is ambiguous (it is not shown, because of its password), write @ / ? in user and password as %40 %2F %3F\n"},
		{func(ctx context.Context) (*pgxpool.Pool, error) {
			return pgxpool.New(ctx, "postgres://app:"+canary+"@"+closedAddress(t)+"/shop?sslmode=disable")
		}, "annals: connect to database: "},
	} {
		got := run(t, "", []string{"log"}, cli.WithPool(c.open))
		if got.Code != 1 || !strings.HasPrefix(got.Stderr, c.want) || strings.Contains(got.Stderr, canary) || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("log = %+v\nwant %s", got, c.want)
		}
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	// A server that takes connections and never answers.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	url := "postgres://app:" + canary + "@" + silent.Addr().String() + "/shop?sslmode=disable"
	for _, args := range [][]string{{"log"}, {"log", "--follow"}, {"stream", "ls"}, {"stream", "show", "order-1"}, {"migrate"}} {
		got := run(t, url, append(args, "--timeout", "20ms"))
		if got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: connect to database: ") || !strings.HasSuffix(got.Stderr, " (--timeout is 20ms)\n") || strings.Count(got.Stderr, "--timeout") != 1 {
			t.Errorf("%q = %+v, want the flag named once", args, got)
		}
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	t.Parallel()
	url, _ := database(t)
	cmd := cli.New(cli.WithEnv(map[string]string{"DATABASE_URL": url}))
	cmd.SetArgs([]string{"log", "--schema", "elsewhere"})
	cmd.SilenceErrors = true
	err := cmd.ExecuteContext(t.Context())
	if !errors.Is(err, postgres.ErrNotMigrated) || cli.ExitCode(err) != 1 {
		t.Errorf("Execute = %v, want ErrNotMigrated and exit code 1", err)
	}
}

func TestUnknownCommandOfAService(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	root := &cobra.Command{Use: "shop", SilenceUsage: true}
	root.AddCommand(cli.New())
	root.SetErr(&stderr)
	root.SetArgs([]string{"nosuch"})
	if code := cli.Execute(t.Context(), root); code != 2 || stderr.String() != `shop: unknown command "nosuch" for "shop"`+"\n" {
		t.Errorf("exit code %d %q, want 2", code, stderr.String())
	}
}

// closedAddress returns an address on this machine where nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
