package aggregate_test

import (
	"errors"
	"testing"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/memory"
)

func TestVerifySnapshot(t *testing.T) {
	t.Parallel()
	db := memory.New()
	s := aggregate.NewSnapshotter(db, aggregate.JSONState[Ledger](), aggregate.WithEvery(10), quiet)
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	if found, err := ledgers.VerifySnapshot(t.Context(), "none"); found || err != nil {
		t.Errorf("VerifySnapshot without one = %v, %v", found, err)
	}
	snap := sound(t, db, ledgers, s)
	save := func() {
		t.Helper()
		snap.Checksum = snap.Sum()
		if ok, err := db.SaveSnapshot(t.Context(), snap); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	save()
	pay(t, db, "a", 1, 2, 3) // behind the snapshot
	if found, err := ledgers.VerifySnapshot(t.Context(), "a"); !found || err != nil {
		t.Errorf("VerifySnapshot = %v, %v", found, err)
	}
	// What an older Evolve made, of which nobody has told.
	if _, err := db.DropSnapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	other, err := aggregate.JSONState[Ledger]().Encode(Ledger{Sum: 1})
	if err != nil {
		t.Fatal(err)
	}
	snap.State = other
	save()
	found, err := ledgers.VerifySnapshot(t.Context(), "a")
	want := "verify snapshot of account-a at version 30: it is not the fold of its events: Evolve has changed without a new WithEdition, or is not pure"
	if found || !errors.Is(err, aggregate.ErrSnapshotDiffers) || err.Error() != want {
		t.Errorf("VerifySnapshot = %v, %v, want %s", found, err, want)
	}
}
