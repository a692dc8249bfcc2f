package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const hostile = "\x1b[2Jred\u202e"

// patient is a store with five events, of which projection/totals has parked some: of
// order-1 from position 1 on, waiting, and one of another store, retrying.
func patient(t *testing.T) (string, *postgres.DB) {
	t.Helper()
	url, db := database(t)
	for i := range 5 {
		appendTo(t, db, fmt.Sprintf("order-%d", 1+i%2), placed("{}"))
	}
	key, other := worker.Key{Key: "order-1"}, worker.Key{Key: "order-9"}
	save(t, db, "projection/totals", worker.Write{
		Marks: worker.Checkpoint{"": {Position: 3}},
		Park: []worker.Parked{
			{
				Key: key, State: worker.Waiting, Since: noon, Attempts: 10, Error: "refused " + hostile, Stack: "goroutine 1\n\tmain.go:7\n" + hostile,
				Version: "v1", History: []worker.Attempt{{Time: noon, Error: "refused " + hostile, Version: "v1"}}, Owner: "ada" + hostile, Note: "seen" + hostile,
			},
			{Key: other, State: worker.Retrying, Since: noon.Add(time.Hour), Next: noon.Add(2 * time.Hour), Attempts: 3, Error: "late"},
		},
		Items: []worker.Item{
			{Key: key, Seq: 1}, {Key: key, Seq: 3}, {Key: key, Seq: 77},
			{Key: other, Seq: 4, Data: []byte(`{"category":"order","stream_id":"9","version":4,"name":"order.placed"}`)}, {Key: other, Seq: 5, Data: []byte("?")},
		},
	})
	return url, db
}

func save(t *testing.T, db *postgres.DB, name string, w worker.Write) {
	t.Helper()
	if err := db.Save(t.Context(), name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
}

func parkedKey(t *testing.T, db *postgres.DB, key string) worker.Parked {
	t.Helper()
	page, err := db.Parked(t.Context(), worker.ParkedQuery{Name: "projection/totals", Key: key})
	if err != nil || len(page) != 1 {
		t.Fatalf("parked %+v, %v, want one", page, err)
	}
	return page[0]
}

func TestParkedList(t *testing.T) {
	t.Parallel()
	url, _ := patient(t)
	const first = `projection/totals  -     order-1  waiting   3       1      2026-03-01T12:00:00.000Z  10        ada\x1b[2Jred\u202e  refused \x1b[2Jred\u202e` + "\n"
	const second = `projection/totals  -     order-9  retrying  2       4      2026-03-01T13:00:00.000Z  3         -                    late` + "\n"
	const header = "READER             PART  KEY      STATE     EVENTS  FIRST  SINCE                     ATTEMPTS  OWNER                ERROR\n"
	for _, args := range [][]string{{}, {"totals"}, {"projection/totals"}, {"totals", "--part", ""}} {
		check(t, run(t, url, append([]string{"parked", "ls"}, args...)), result{Stdout: header + first + second})
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--state", "waiting"}, []string{"order-1"}},
		{[]string{"--state", "retrying"}, []string{"order-9"}},
		{[]string{"--key", "order-9"}, []string{"order-9"}},
		{[]string{"--part", "p"}, nil},
		{[]string{"--limit", "1"}, []string{"order-1"}},
	} {
		got := run(t, url, append([]string{"parked", "ls", "--output", "json"}, c.args...))
		var keys []string
		for _, o := range objects(t, got.Stdout) {
			keys = append(keys, fmt.Sprint(o["key"]))
		}
		if got.Code != 0 || fmt.Sprint(keys) != fmt.Sprint(c.want) {
			t.Errorf("%q: %q, want %q: %+v", c.args, keys, c.want, got)
		}
	}
	got := run(t, url, []string{"parked", "ls", "--limit", "1"})
	if want := "stopped at --limit 1, continue with a greater one, --part or --key\n"; got.Stderr != want {
		t.Errorf("%q, want %q", got.Stderr, want)
	}
}

func TestParkedShow(t *testing.T) {
	t.Parallel()
	url, db := patient(t)
	check(t, run(t, url, []string{"parked", "show", "totals", "order-1"}), result{Stdout: `reader     projection/totals
key        order-1
state      waiting
since      2026-03-01T12:00:00.000Z
attempts   10
owner      ada\x1b[2Jred\u202e
note       seen\x1b[2Jred\u202e
version    v1
error      refused \x1b[2Jred\u202e
stack
  goroutine 1
    main.go:7
  \x1b[2Jred\u202e
attempts, oldest first
  2026-03-01T12:00:00.000Z  v1  refused \x1b[2Jred\u202e
events, in order (3)
  1  order-1  version 1  order.placed
  3  order-1  version 2  order.placed
  77  (not in the log any more)
`})
	check(t, run(t, url, []string{"parked", "show", "totals", "order-9", "--output", "json"}), result{Stdout: `{"reader":"projection/totals","part":"","key":"order-9","state":"retrying","events":2,"first":4,"since":"2026-03-01T13:00:00Z","next":"2026-03-01T14:00:00Z","attempts":3,"error":"late","items":[{"seq":4,"stream":"order-9","version":4,"name":"order.placed","bytes":70},{"seq":5,"bytes":1}]}
`})
	check(t, run(t, url, []string{"parked", "show", "totals", "none"}), result{Code: 1, Stderr: "annals: parked key \"none\" of projection/totals: not parked\n"})
	check(t, run(t, url, []string{"parked", "show", "nobody", "none"}), result{Code: 1, Stderr: "annals: reader nobody: there is none of that name, there are: projection/totals, no others\n"})
	save(t, db, "relay/totals", worker.Write{Marks: worker.Checkpoint{"": {}}})
	check(t, run(t, url, []string{"parked", "show", "totals", "none"}), result{Code: 2, Stderr: "annals: reader totals: there are several: projection/totals, relay/totals\n"})
	save(t, db, "projection/totals", worker.Write{
		Marks: worker.Checkpoint{"t/0": {}},
		Park:  []worker.Parked{{Key: worker.Key{Part: "t/0", Key: "order-1"}, State: worker.Waiting, Since: noon}},
	})
	check(t, run(t, url, []string{"parked", "note", "projection/totals", "order-1", "x"}), result{Code: 2, Stderr: `annals: parked key "order-1" of projection/totals: it is parked in several parts, name one with --part: "", "t/0"` + "\n"})
	check(t, run(t, url, []string{"parked", "note", "projection/totals", "order-1", "x", "--part", ""}), result{Stderr: "projection/totals: key order-1 has the note\n"})
}

func TestParkedIsAmendedAndAudited(t *testing.T) {
	t.Parallel()
	url, db := patient(t)
	check(t, run(t, url, []string{"parked", "assign", "totals", "order-1", "bob", "--actor", "eve"}), result{Stderr: "projection/totals: key order-1 is assigned\n"})
	check(t, run(t, url, []string{"parked", "note", "totals", "order-1", "see " + hostile, "--actor", "eve"}), result{Stderr: "projection/totals: key order-1 has the note\n"})
	if p := parkedKey(t, db, "order-1"); p.Owner != "bob" || p.Note != "see "+hostile || p.State != worker.Waiting {
		t.Errorf("parked %+v", p)
	}
	check(t, run(t, url, []string{"parked", "retry", "totals", "order-1", "order-9", "--actor", "eve", "--rate", "1"}), result{Stderr: "projection/totals: 2 keys will be tried again\n"})
	one, two := parkedKey(t, db, "order-1"), parkedKey(t, db, "order-9")
	if one.State != worker.Retrying || one.Attempts != 0 || two.Next.Sub(one.Next) != time.Second {
		t.Errorf("parked %+v and %+v, want the second due one second later", one, two)
	}
	check(t, run(t, url, []string{"parked", "discard", "totals", "order-1", "--seq", "1", "--why", "spam", "--yes"}), result{Stderr: "projection/totals: key order-1 has lost its first event\n"})
	if p := parkedKey(t, db, "order-1"); p.First != 3 || p.Events != 2 {
		t.Errorf("parked %+v, want 3 first", p)
	}
	check(t, run(t, url, []string{"parked", "discard", "totals", "order-1", "--seq", "1", "--why", "spam", "--yes"}), result{Code: 1, Stderr: `annals: discard parked key "order-1" of projection/totals: its first event is 3, not 1: not parked` + "\n"})

	got := run(t, url, []string{"parked", "audit", "totals", "--output", "json"})
	var said []string
	for _, o := range objects(t, got.Stdout) {
		who := fmt.Sprint(o["actor"])
		if who != "eve" && strings.Contains(who, "@") {
			who = "the user"
		}
		said = append(said, fmt.Sprintln(who, o["action"], o["key"], o["seq"], o["detail"]))
	}
	want := "the user discard order-1 1 spam\n" + "eve retry order-9 <nil> <nil>\n" + "eve retry order-1 <nil> <nil>\n" + "eve note order-1 <nil> see " + hostile + "\n" + "eve assign order-1 <nil> bob\n"
	if strings.Join(said, "") != want || strings.ContainsAny(got.Stdout, hostile[:1]) {
		t.Errorf("audit = %q, want %q", said, want)
	}
	got = run(t, url, []string{"parked", "audit", "totals", "--limit", "4"})
	if lines := strings.Split(got.Stdout, "\n"); len(lines) != 6 || !strings.HasSuffix(lines[4], `see \x1b[2Jred\u202e`) {
		t.Errorf("audit = %s", got.Stdout)
	}
}

func TestParkedRetryAll(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	w := worker.Write{Marks: worker.Checkpoint{"": {Position: 1}}}
	for i := range 7 {
		key := worker.Key{Key: fmt.Sprint("order-", i)}
		w.Park = append(w.Park, worker.Parked{Key: key, State: worker.Waiting, Since: noon})
		w.Items = append(w.Items, worker.Item{Key: key, Seq: 1})
	}
	save(t, db, "projection/totals", w)
	check(t, run(t, url, []string{"parked", "retry", "totals", "--all", "--rate", "1000"}), result{Stderr: "projection/totals: 7 keys will be tried again\n"})
	if page, err := db.Parked(t.Context(), worker.ParkedQuery{Name: "projection/totals", State: worker.Waiting}); err != nil || len(page) != 0 {
		t.Errorf("%d keys wait, %v", len(page), err)
	}
	check(t, run(t, url, []string{"parked", "retry", "totals", "--all"}), result{Stderr: "projection/totals: 0 keys will be tried again\n"})
}

func TestParkedRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"ls a b", `parked ls: arguments: got 2, want at most one NAME, such as projection/totals`},
		{"ls --state new", `invalid argument "new" for "--state" flag: want waiting or retrying`},
		{"show totals", `parked show: arguments: got 1, want NAME and KEY, such as projection/totals order-o-1`},
		{"retry", `parked retry: arguments: got 0, want NAME and KEY, or NAME and --all`},
		{"retry totals", `parked retry: want either keys or --all`},
		{"retry totals order-1 --all", `parked retry: want either keys or --all`},
		{"retry totals --all --rate 0", `invalid argument "0" for "--rate" flag: want a whole number from 1 to 1000`},
		{"discard totals order-1", `parked discard: say with --seq which event: annals parked show prints it`},
		{"discard totals order-1 --seq 1", `parked discard: say with --why what for`},
		{"discard totals order-1 --seq 1 --why x", `parked discard: event 1 of key order-1 would never take effect in totals: confirm with --yes`},
		{"assign totals order-1", `parked assign: arguments: got 2, want NAME, KEY and OWNER, such as projection/totals order-o-1 ada; "" for nobody`},
		{"note totals order-1", `parked note: arguments: got 2, want NAME, KEY and TEXT, such as projection/totals order-o-1 'see ticket 7'`},
		{"audit", `parked audit: arguments: got 0, want one NAME, such as projection/totals`},
	} {
		check(t, run(t, "postgres://nowhere.invalid/x", append([]string{"parked"}, strings.Fields(c.args)...)), result{Code: 2, Stderr: "annals: " + c.want + "\n"})
	}
}

// A message that a consumer has parked is shown as it came, and nothing of it reaches the
// terminal but text.
func TestParkedShowsMessages(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	broker := memory.NewBroker(1)
	if err := broker.Create(t.Context(), bus.Contract{Topic: "shop.order"}); err != nil {
		t.Fatal(err)
	}
	err := broker.Publish(t.Context(), []bus.Message{
		{Topic: "shop.order", Key: []byte("k"), Value: []byte("{\"note\":\"" + hostile + "\"}"), Headers: []bus.Header{{Key: "from" + hostile, Value: []byte("legacy" + hostile)}, {Key: "empty"}}},
		{Topic: "shop.order", Key: []byte("k"), Value: []byte{0xff, 0}, Headers: []bus.Header{{Key: bus.HeaderName, Value: []byte("order.placed")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	refuse := bus.OnMessage(bus.InTopic("shop.order"), func(context.Context, pgx.Tx, bus.Received) error { return worker.Permanent(errors.New("refused")) })
	parked := bus.WithHooks(worker.Hooks{Parked: func(worker.KeyParked) { cancel() }})
	if err := bus.NewConsumer("billing", refuse).Run(ctx, db, broker.Source("shop.order"), bus.WithVersion("v1"), parked, bus.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		t.Fatal(err)
	}
	got := run(t, url, []string{"parked", "show", "billing", "foreign/shop.order-k"})
	times := regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	const want = `reader     consumer/billing
part       shop.order/0
key        foreign/shop.order-k
state      waiting
since      TIME
attempts   1
version    v1
error      handle shop.order/0 offset 0: refused
attempts, oldest first
  TIME  v1  handle shop.order/0 offset 0: refused
events, in order (2)
  0  shop.order/0  offset 0  -
     time    TIME
     key     k
     header  from\x1b[2Jred\u202e: legacy\x1b[2Jred\u202e
     header  empty: 
     value   {"note":"\x1b[2Jred\u202e"}
  1  shop.order/0  offset 1  order.placed
     time    TIME
     key     k
     header  annals-name: order.placed
     value   (base64) /wA=
`
	if diff := cmp.Diff(want, times.ReplaceAllString(got.Stdout, "TIME")); diff != "" || got.Code != 0 {
		t.Errorf("code %d: %s %s", got.Code, got.Stderr, diff)
	}
	got = run(t, url, []string{"parked", "show", "billing", "foreign/shop.order-k", "--output", "json"})
	const item = `"message":{"topic":"shop.order","partition":0,"offset":1,"time":"TIME","key":{"text":"k"},"headers":[{"key":"annals-name","text":"order.placed"}],"value":{"base64":"/wA="}}}`
	if text := times.ReplaceAllString(got.Stdout, "TIME"); !strings.Contains(text, item) || strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("%+v lacks %s, or is not escaped", got, item)
	}
}
