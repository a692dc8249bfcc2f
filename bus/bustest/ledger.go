package bustest

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// LedgerTarget is a broker under test that has ledgers.
type LedgerTarget struct {
	// New returns a ledger that is not open, as another process would have it.
	New func() bus.Ledger
	// Source returns a consumer of the topics, the only member of its group, that is
	// shown what is committed.
	Source func(group string, topics ...string) bus.Source
}

// RunLedger runs the suite of ledgers. Open is called once for each test and must return
// a broker without topics and ledgers; tests run in parallel.
func RunLedger(t *testing.T, open func(t *testing.T) LedgerTarget) {
	for name, test := range map[string]func(*testing.T, LedgerTarget){
		"the cursor of nothing is nil":                  noCursor,
		"P7 what is committed is there, in order":       committed,
		"P10 whoever opens ends the one before":         fenced,
		"whoever was ended can open again":              reopened,
		"a commit is all or nothing":                    allOrNothing,
		"a commit without an open ledger":               notOpen,
		"ledgers of two relays know nothing of another": apart,
		"the newest are those that are committed":       newestCommitted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func openLedger(t *testing.T, l bus.Ledger, relay, want string) {
	t.Helper()
	got, err := l.Open(bounded(t), relay)
	if err != nil || string(got) != want {
		t.Fatalf("Open = %q, %v, want %q", got, err, want)
	}
}

// page returns messages of a topic that is there, the first at the given position.
func page(t *testing.T, l bus.Ledger, topic string, first, n int) []bus.Message {
	t.Helper()
	if err := l.Create(bounded(t), bus.Contract{Topic: topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	return messagesOf(t, topic, first, n)
}

func messagesOf(t *testing.T, topic string, first, n int) []bus.Message {
	t.Helper()
	var out []bus.Message
	for _, e := range events(first, n) {
		m, err := bus.MessageOf(topic, e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func commit(t *testing.T, l bus.Ledger, messages []bus.Message, cursor string) {
	t.Helper()
	if err := l.Commit(bounded(t), messages, []byte(cursor)); err != nil {
		t.Fatal(err)
	}
}

// wantEvents wants the topic to have those events, each once, and each key in order.
func wantEvents(t *testing.T, target LedgerTarget, topic string, positions ...int) {
	t.Helper()
	want := map[event.Position]int{}
	for _, p := range positions {
		want[event.Position(p)] = 1
	}
	got, last := map[event.Position]int{}, map[string]event.Version{}
	for _, e := range consume(t, Target{Source: target.Source}, topic, worker.Checkpoint{}, len(positions)) {
		got[e.Position]++
		if e.Version <= last[e.Stream.ID] {
			t.Errorf("%s comes after version %d", e, last[e.Stream.ID])
		}
		last[e.Stream.ID] = e.Version
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s has %v, want each of %v once", topic, got, positions)
	}
}

func upTo(first, n int) (out []int) {
	for i := range n {
		out = append(out, first+i)
	}
	return out
}

func noCursor(t *testing.T, target LedgerTarget) {
	for range 2 {
		if got, err := target.New().Open(bounded(t), "main"); got != nil || err != nil {
			t.Errorf("Open = %q, %v, want nil", got, err)
		}
	}
}

func committed(t *testing.T, target LedgerTarget) {
	l := target.New()
	openLedger(t, l, "main", "")
	const n = 20
	for i := range 5 {
		commit(t, l, page(t, l, "shop.order", 17+i*n, n), strings.Repeat("x", i+1))
	}
	commit(t, l, nil, "the cursor alone")
	openLedger(t, l, "main", "the cursor alone")
	openLedger(t, target.New(), "main", "the cursor alone")
	wantEvents(t, target, "shop.order", upTo(17, 5*n)...)
}

func fenced(t *testing.T, target LedgerTarget) {
	first, second := target.New(), target.New()
	openLedger(t, first, "main", "")
	commit(t, first, page(t, first, "shop.order", 17, 5), "one")
	openLedger(t, second, "main", "one")
	if err := first.Commit(bounded(t), messagesOf(t, "shop.order", 22, 5), []byte("two")); !errors.Is(err, worker.ErrFenced) || worker.IsPermanent(err) {
		t.Errorf("Commit = %v, want ErrFenced", err)
	}
	if err := first.Commit(bounded(t), messagesOf(t, "shop.order", 22, 5), []byte("two")); !errors.Is(err, bus.ErrNotOpen) {
		t.Errorf("Commit = %v, want ErrNotOpen", err)
	}
	commit(t, second, messagesOf(t, "shop.order", 27, 5), "three")
	openLedger(t, target.New(), "main", "three")
	wantEvents(t, target, "shop.order", append(upTo(17, 5), upTo(27, 5)...)...)
}

func reopened(t *testing.T, target LedgerTarget) {
	first, second := target.New(), target.New()
	openLedger(t, first, "main", "")
	openLedger(t, second, "main", "")
	commit(t, second, page(t, second, "shop.order", 17, 5), "one")
	openLedger(t, first, "main", "one")
	if err := second.Commit(bounded(t), messagesOf(t, "shop.order", 22, 5), []byte("two")); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("Commit = %v, want ErrFenced", err)
	}
	commit(t, first, messagesOf(t, "shop.order", 22, 5), "three")
	openLedger(t, second, "main", "three")
	wantEvents(t, target, "shop.order", upTo(17, 10)...)
}

func allOrNothing(t *testing.T, target LedgerTarget) {
	l := target.New()
	openLedger(t, l, "main", "")
	commit(t, l, page(t, l, "shop.order", 17, 5), "one")
	bad := append(messagesOf(t, "shop.order", 22, 5), messagesOf(t, "shop.nothing", 27, 1)...)
	err := l.Commit(bounded(t), bad, []byte("two"))
	if err == nil || !strings.Contains(err.Error(), "shop.nothing") || worker.IsPermanent(err) {
		t.Errorf("Commit = %v, want an error that names the topic, and is not that of the message", err)
	}
	openLedger(t, l, "main", "one")
	commit(t, l, messagesOf(t, "shop.order", 22, 5), "three")
	wantEvents(t, target, "shop.order", upTo(17, 10)...)
}

func notOpen(t *testing.T, target LedgerTarget) {
	if err := target.New().Commit(bounded(t), nil, []byte("one")); !errors.Is(err, bus.ErrNotOpen) {
		t.Errorf("Commit = %v, want ErrNotOpen", err)
	}
}

func apart(t *testing.T, target LedgerTarget) {
	a, b := target.New(), target.New()
	openLedger(t, a, "a", "")
	openLedger(t, b, "b", "")
	commit(t, a, page(t, a, "shop.order", 17, 5), "one")
	commit(t, b, page(t, b, "shop.return", 17, 5), "two")
	openLedger(t, a, "a", "one")
	commit(t, b, messagesOf(t, "shop.return", 22, 5), "three")
	openLedger(t, b, "b", "three")
}

func newestCommitted(t *testing.T, target LedgerTarget) {
	l := target.New()
	openLedger(t, l, "main", "")
	commit(t, l, page(t, l, "shop.order", 17, 5), "one")
	bad := append(messagesOf(t, "shop.order", 22, 40), messagesOf(t, "shop.nothing", 27, 1)...)
	if err := l.Commit(bounded(t), bad, []byte("two")); err == nil {
		t.Error("Commit to a topic that is not there = nil")
	}
	openLedger(t, l, "main", "one")
	seen := map[event.Position]bool{}
	for _, ps := range newest(t, Target{Publisher: l}, "shop.order", func(int32, int) bool { return true }) {
		for _, p := range ps {
			seen[p] = true
		}
	}
	if want := map[event.Position]bool{17: true, 18: true, 19: true, 20: true, 21: true}; !reflect.DeepEqual(seen, want) {
		t.Errorf("the newest are %v, want %v", seen, want)
	}
}
