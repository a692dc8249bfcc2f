package bustest

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// RunContracts runs the conformance suite of bus.Contracts. Open is called once for each
// test and must return an empty store; tests run in parallel.
func RunContracts(t *testing.T, open func(t *testing.T) bus.Contracts) {
	for name, test := range map[string]func(*testing.T, bus.Contracts){
		"nothing is agreed on":                nothingAgreed,
		"what is agreed on comes back":        agreedComesBack,
		"a decision is kept, and goes":        keepsDecision,
		"relays and topics are apart":         relaysApart,
		"P10 only from the revision stored":   onlyFromRevision,
		"P10 of several at once one agrees":   oneAgrees,
		"the store says since when":           saysSince,
		"a context that has ended":            agreeEnded,
		"what is the caller's stays its own":  contractsOwn,
		"P16 texts are kept as they are":      contractTexts,
		"settings that are none are no error": noSettings,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func agreement() bus.Agreed {
	return bus.Agreed{
		Contract: bus.Contract{
			Topic: "shop.order", Partitions: 6, Replication: 3, MinInSync: 2, Retention: 40*24*time.Hour + 1, MaxBytes: 5 << 20,
			Config: map[string]string{"compression.type": "zstd", "segment.ms": "60000"},
			Owner:  "orders", Description: "All that happens to orders.",
		},
		ID: "b0f1",
	}
}

func contracts(t *testing.T, c bus.Contracts, relay string) map[string]bus.Agreed {
	t.Helper()
	got, err := c.Contracts(bounded(t), relay)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func agree(t *testing.T, c bus.Contracts, relay string, a bus.Agreed) {
	t.Helper()
	if err := c.Agree(bounded(t), relay, a); err != nil {
		t.Fatal(err)
	}
}

// wantAgreed compares all but Since.
func wantAgreed(t *testing.T, c bus.Contracts, relay string, want ...bus.Agreed) {
	t.Helper()
	got := contracts(t, c, relay)
	if len(got) != len(want) {
		t.Fatalf("%s has agreed on %d topics, want %d: %+v", relay, len(got), len(want), got)
	}
	for _, w := range want {
		g := got[w.Topic]
		g.Since, w.Since = time.Time{}, time.Time{}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s has agreed on %+v\nwant %+v", relay, g, w)
		}
	}
}

func nothingAgreed(t *testing.T, c bus.Contracts) {
	if got := contracts(t, c, "relay"); got == nil || len(got) != 0 {
		t.Errorf("Contracts = %v, want an empty map", got)
	}
}

func agreedComesBack(t *testing.T, c bus.Contracts) {
	want := agreement()
	agree(t, c, "relay", want)
	want.Revision = 1
	wantAgreed(t, c, "relay", want)
	want.Contract = bus.Contract{Topic: want.Topic, Partitions: 12, Config: map[string]string{"a": "b"}}
	want.ID = "another"
	agree(t, c, "relay", want)
	want.Revision = 2
	wantAgreed(t, c, "relay", want)
}

func keepsDecision(t *testing.T, c bus.Contracts) {
	a := agreement()
	agree(t, c, "relay", a)
	for i, decision := range []bus.Decision{bus.Adopt, bus.Refill, bus.Undecided} {
		a.Revision, a.Decision, a.By = int64(i+1), decision, "ada"
		agree(t, c, "relay", a)
		a.Revision++
		wantAgreed(t, c, "relay", a)
	}
}

func relaysApart(t *testing.T, c bus.Contracts) {
	a, b, other := agreement(), agreement(), agreement()
	b.Topic, other.ID = "shop.Order", "other"
	agree(t, c, "relay", a)
	agree(t, c, "relay", b)
	agree(t, c, "Relay", other)
	a.Revision, b.Revision, other.Revision = 1, 1, 1
	wantAgreed(t, c, "relay", a, b)
	wantAgreed(t, c, "Relay", other)
	other.Owner = "changed"
	agree(t, c, "Relay", other)
	wantAgreed(t, c, "relay", a, b)
}

func onlyFromRevision(t *testing.T, c bus.Contracts) {
	a := agreement()
	refused := func(revision int64) {
		t.Helper()
		before := contracts(t, c, "relay")
		wrong := a
		wrong.Revision, wrong.Owner, wrong.Decision = revision, "changed", bus.Adopt
		if err := c.Agree(bounded(t), "relay", wrong); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Agree from revision %d = %v, want ErrFenced", revision, err)
		}
		if after := contracts(t, c, "relay"); !reflect.DeepEqual(after, before) {
			t.Errorf("Agree from revision %d has changed it to %+v, want %+v", revision, after, before)
		}
	}
	refused(1) // none is stored
	agree(t, c, "relay", a)
	refused(0)
	refused(2)
	a.Revision = 1
	agree(t, c, "relay", a)
	refused(0)
	refused(1)
}

func oneAgrees(t *testing.T, c bus.Contracts) {
	for revision := range int64(5) {
		var (
			wg     sync.WaitGroup
			errs   [8]error
			agreed int
		)
		for i := range errs {
			wg.Go(func() {
				a := agreement()
				a.Revision = revision
				errs[i] = c.Agree(bounded(t), "relay", a)
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err == nil {
				agreed++
			} else if !errors.Is(err, worker.ErrFenced) {
				t.Error(err)
			}
		}
		if got := contracts(t, c, "relay")["shop.order"].Revision; agreed != 1 || got != revision+1 {
			t.Fatalf("from revision %d %d have agreed, and it is at %d", revision, agreed, got)
		}
	}
}

func saysSince(t *testing.T, c bus.Contracts) {
	a := agreement()
	a.Since = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	agree(t, c, "relay", a)
	first := contracts(t, c, "relay")[a.Topic].Since
	if first.Year() < 2000 || first.Location() != time.UTC {
		t.Errorf("agreed on since %s, want the time of the store, in UTC", first)
	}
	a.Revision = 1
	agree(t, c, "relay", a)
	if second := contracts(t, c, "relay")[a.Topic].Since; second.Before(first) || second.Equal(a.Since) {
		t.Errorf("agreed on since %s, and then %s", first, second)
	}
}

func agreeEnded(t *testing.T, c bus.Contracts) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Agree(ctx, "relay", agreement()); !errors.Is(err, context.Canceled) {
		t.Errorf("Agree = %v, want that of the context", err)
	}
	if _, err := c.Contracts(ctx, "relay"); !errors.Is(err, context.Canceled) {
		t.Errorf("Contracts = %v, want that of the context", err)
	}
	wantAgreed(t, c, "relay")
}

func contractsOwn(t *testing.T, c bus.Contracts) {
	want := agreement()
	given := want
	given.Config = maps.Clone(want.Config)
	agree(t, c, "relay", given)
	given.Config["changed"] = "by the caller"
	want.Revision = 1
	for range 2 {
		wantAgreed(t, c, "relay", want)
		got := contracts(t, c, "relay")
		got[want.Topic].Config["changed"] = "by the caller"
		delete(got, want.Topic)
	}
}

func contractTexts(t *testing.T, c bus.Contracts) {
	text := "\"ö\"'\n\u2028$1 {{schema}} \\"
	a := agreement()
	a.Topic, a.ID, a.Owner, a.Description, a.By = text+"t", text+"i", text+"o", text+"d", text+"b"
	a.Config = map[string]string{text: text, "": ""}
	agree(t, c, text, a)
	a.Revision = 1
	wantAgreed(t, c, text, a)
}

func noSettings(t *testing.T, c bus.Contracts) {
	a := bus.Agreed{Contract: bus.Contract{Topic: "t"}}
	agree(t, c, "relay", a)
	a.Revision = 1
	wantAgreed(t, c, "relay", a)
	a.Config = map[string]string{}
	agree(t, c, "relay", a)
	a.Config, a.Revision = nil, 2
	wantAgreed(t, c, "relay", a)
}
