package projection_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// of returns the delivery as one of a history, for a part.
func of(d worker.Delivery, part string, lineage eventstore.Lineage) worker.Delivery {
	d.Part, d.Lineage = part, lineage.String()
	return d
}

func TestHistoriesOfATopic(t *testing.T) {
	t.Parallel()
	first := eventstore.Lineage{{Incarnation: event.NewID()}}
	second := append(first, eventstore.Generation{Incarnation: event.NewID(), Since: 3})
	for name, c := range map[string]struct {
		script   script
		effects  string
		part     string // that diverged
		from, to event.Position
	}{
		"the new one goes on": {
			script:  script{of(delivery(t, "x", 0, 1, 3), "t/0", first), of(delivery(t, "x", 2, 4, 5), "t/0", second)},
			effects: "1 3 4 5",
		},
		"a slow relay of the lost one": {
			script:  script{of(delivery(t, "x", 0, 1), "t/0", first), of(delivery(t, "x", 1, 4), "t/0", second), of(delivery(t, "x", 2, 2, 3, 4, 5, 6), "t/0", first), of(delivery(t, "x", 7, 5), "t/0", second)},
			effects: "1 4 5",
		},
		"it was given what is lost": {
			script:  script{of(delivery(t, "x", 0, 1, 4), "t/0", first), of(delivery(t, "x", 2, 4, 5), "t/0", second)},
			effects: "1 4", part: "t/0", from: 4, to: 4,
		},
		"another part was given it, and nothing comes there": {
			script:  script{of(delivery(t, "x", 0, 1, 6), "t/0", first), of(delivery(t, "x", 0, 2), "t/1", first), of(delivery(t, "x", 1, 4), "t/1", second)},
			effects: "1 2 6", part: "t/0", from: 4, to: 6,
		},
		"so was a part of another topic, which has a history of its own": {
			script:  script{of(delivery(t, "y", 0, 1, 6), "t/9", first), of(delivery(t, "x", 0, 2), "t/1", first), of(delivery(t, "x", 1, 4), "t/1", second)},
			effects: "1 2 4 6",
		},
		"a message without a history": {
			script:  script{of(delivery(t, "x", 0, 1), "t/0", second), delivery(t, "x", 1, 4, 5), of(delivery(t, "x", 3, 6), "t/0", second)},
			effects: "1 4 5 6",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &ledger{DB: memory.New()}
			err := l.projection("totals").Run(t.Context(), l.DB, silent, projection.From(c.script))
			var d *worker.DivergedError
			switch {
			case c.part == "" && err != nil:
				t.Error(err)
			case c.part != "" && (!errors.As(err, &d) || d.Part != c.part || d.From != c.from || d.To != c.to || d.Name != "projection/totals"):
				t.Errorf("Run = %v, want part %s to diverge at positions %d to %d", err, c.part, c.from, c.to)
			}
			got := map[string]bool{}
			for _, e := range l.effects(t) {
				position, _, _ := strings.Cut(e, "/")
				if got[position] {
					t.Errorf("position %s has taken effect twice", position)
				}
				got[position] = true
			}
			for _, p := range strings.Fields(c.effects) {
				if !got[p] {
					t.Errorf("position %s has not taken effect", p)
				}
				delete(got, p)
			}
			if len(got) > 0 {
				t.Errorf("%v have taken effect, and should not", got)
			}
		})
	}
}
