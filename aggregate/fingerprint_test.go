package aggregate_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/upcast"
)

// Account with a field renamed, with one more, and with other shapes of events.
type (
	renamed struct {
		Opened  bool
		Balance int64
	}
	tagged struct {
		Open    bool `json:"open"`
		Balance int64
	}
	larger struct {
		Open    bool
		Balance int64
		Count   int
	}
	other struct {
		Open    bool
		Balance int32
	}
)

func (s renamed) Evolve(e Event) renamed {
	a := s.account().Evolve(e)
	return renamed{a.Open, a.Balance}
}
func (s tagged) Evolve(e Event) tagged { return tagged(Account(s).Evolve(e)) }
func (s larger) Evolve(e Event) larger {
	a := Account{s.Open, s.Balance}.Evolve(e)
	return larger{a.Open, a.Balance, s.Count + 1}
}

func (s other) Evolve(e Event) other {
	a := Account{s.Open, int64(s.Balance)}.Evolve(e)
	return other{a.Open, int32(a.Balance)}
}
func (s renamed) account() Account { return Account{s.Opened, s.Balance} }

// The next release of a program has another state, or another edition: it does
// not use the snapshots of the one before, and does not touch them.
func TestOtherProgramsHaveOtherFingerprints(t *testing.T) {
	t.Parallel()
	db := memory.New()
	pay(t, db, "a", amounts(30)...)
	fingerprints := map[eventstore.Fingerprint]string{}
	try := func(name string, f eventstore.Fingerprint, saw *seen, again func()) {
		t.Helper()
		if twin, twice := fingerprints[f]; twice {
			t.Errorf("%s and %s have the same fingerprint", name, twin)
		}
		fingerprints[f] = name
		again()
		stale := min(1, len(fingerprints)-1)
		if saw.ignored[aggregate.Stale] != stale || saw.loaded != 1 || len(saw.ignored) != stale {
			t.Errorf("%s: ignored %v, %d loads from snapshots, want %d stale and 1", name, saw.ignored, saw.loaded, stale)
		}
	}
	release[Account](t, db, Codec, "account", "", try)
	release[Account](t, db, Codec, "other edition", "2", try)
	release[renamed](t, db, Codec, "renamed field", "", try)
	release[tagged](t, db, Codec, "tagged field", "", try)
	release[larger](t, db, Codec, "one more field", "", try)
	release[other](t, db, Codec, "another type of field", "", try)
	release[Account](t, db, codec.JSON(codec.Types[Event]{"account.opened": Opened{}, "account.paid": Paid{}},
		upcast.Step("account.paid", 1, func(paidV1) paidV2 { return paidV2{} }),
		upcast.Step("account.paid", 2, func(v paidV2) Paid { return Paid(v) })), "one more step", "", try)
	release[Account](t, db, codec.JSON(codec.Types[Event]{"account.opened": Opened{}, "account.paid": Paid{}, "account.closed": Closed{}},
		upcast.Step("account.paid", 1, func(v paidV1) Paid { return Paid{Cents: v.Euros * 100} })), "one more event", "", try)
	release[Account](t, db, codec.JSON(codec.Types[Event]{"account.opened": Opened{}, "account.paid": paidTo{}},
		upcast.Step("account.paid", 1, func(v paidV1) paidTo { return paidTo{Cents: v.Euros * 100} })), "an event with one more field", "", try)
	ruled := func(rule upcast.Rule) *codec.Codec[Event] {
		return codec.JSON(codec.Types[Event]{"account.opened": Opened{}, "account.paid": Paid{}}, rule,
			upcast.Step("account.paid", 1, func(v paidV1) Paid { return Paid{Cents: v.Euros * 100} }))
	}
	release[Account](t, db, ruled(upcast.Drop("account.begun")), "an event that is dropped", "", try)
	release[Account](t, db, ruled(upcast.Rename("account.begun", "account.opened")), "an event that is renamed", "", try)
	release[Account](t, db, ruled(upcast.Rename("account.begun", "account.paid")), "an event that is renamed to another one", "", try)
	n, err := db.DeleteSnapshots(t.Context(), eventstore.SnapshotQuery{Except: slices.Collect(maps.Keys(fingerprints))})
	if err != nil || n != 0 {
		t.Errorf("%d snapshots have other fingerprints, %v", n, err)
	}
	if n, err = db.DeleteSnapshots(t.Context(), eventstore.SnapshotQuery{}); err != nil || n != len(fingerprints) {
		t.Errorf("%d snapshots, %v, want one for each of %d programs", n, err, len(fingerprints))
	}
}

type (
	paidV2 struct{ Cents int64 }
	Closed struct{}
	paidTo struct {
		Cents int64
		To    string
	}
)

func (Closed) isAccount() {}
func (paidTo) isAccount() {}

// release is a program with a state and a codec. It loads, so that a snapshot is
// made, and loads again.
func release[S aggregate.State[S, Event]](t *testing.T, db *memory.DB, c *codec.Codec[Event], name, edition string, try func(string, eventstore.Fingerprint, *seen, func())) {
	t.Helper()
	var saw seen
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[S](), saw.hooks(), aggregate.WithEdition(edition), aggregate.WithEvery(20))
	repository := aggregate.New[S](db, "account", c).WithSnapshots(s)
	try(name, repository.Fingerprint(), &saw, func() {
		want, err := aggregate.New[S](db, "account", c).Load(t.Context(), "a")
		for range 2 {
			stop := running(t, s)
			got, loadErr := repository.Load(t.Context(), "a")
			stop()
			if diff := cmp.Diff(fmt.Sprint(want, err), fmt.Sprint(got, loadErr)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

// A fingerprint is the same in every process and on every machine: it is stored.
func TestFingerprintIsPinned(t *testing.T) {
	t.Parallel()
	s := aggregate.NewSnapshotter(memory.New(), aggregate.JSONState[Ledger](), aggregate.WithEdition("1"))
	accounts := aggregate.New[Ledger](memory.New(), "account", Codec)
	if f := accounts.Fingerprint(); f != (eventstore.Fingerprint{}) {
		t.Errorf("without snapshots the fingerprint is %s", f)
	}
	const want = "bfbd1b727bacd911eb12d2119f5eea93d6faa6dbf90dfd51bce7f9e2fa5df61a"
	if got := accounts.WithSnapshots(s).Fingerprint().String(); got != want {
		t.Errorf("fingerprint %s, want %s: all snapshots of before are stale", got, want)
	}
}
