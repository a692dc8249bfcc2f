package projection_test

import (
	"testing"
	"testing/synctest"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// A late event that was discarded, because it took effect before, and that comes once more
// while later ones of its key are parked, does not take effect: it waits again.
func TestALateEventThatComesAgainWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{DB: memory.New()}
		p := l.projection("totals")
		late := func(first int64, positions ...int) worker.Delivery {
			d := delivery(t, "x", first, positions...)
			d.Late = true
			return d
		}
		run := func(s script) {
			t.Helper()
			if err := p.Run(t.Context(), l.DB, silent, projection.From(s)); err != nil {
				t.Fatal(err)
			}
		}
		run(script{delivery(t, "x", 0, 1, 2, 3), late(3, 1, 2)})
		all, err := l.Parked(t.Context(), worker.ParkedQuery{Name: p.Name()})
		if err != nil || len(all) != 1 || all[0].First != 1 || all[0].Events != 2 {
			t.Fatalf("parked %+v, %v", all, err)
		}
		if err := (worker.Amender{Store: l.DB, Name: p.Name(), Actor: "me"}).DiscardParked(t.Context(), all[0].Key, 1, "it took effect"); err != nil {
			t.Fatal(err)
		}
		run(script{late(5, 1)})
		if got := l.effects(t); len(got) != 3 {
			t.Errorf("effects %v, want each of three events once", got)
		}
		all, err = l.Parked(t.Context(), worker.ParkedQuery{Name: p.Name()})
		t.Logf("%v first %d events %d", err, all[0].First, all[0].Events)
	})
}
