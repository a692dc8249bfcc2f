package worker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// ids are the incarnations a, b and so on.
var ids = func() (out [16]event.ID) {
	for i := range out {
		out[i] = event.NewID()
	}
	return out
}()

// text is a lineage such as "a", "a b@40" (b shares with a what lies up to 40).
func text(words string) string {
	var l eventstore.Lineage
	for _, w := range strings.Fields(words) {
		var since int
		if len(w) > 1 {
			_, _ = fmt.Sscanf(w[1:], "@%d", &since)
		}
		l = append(l, eventstore.Generation{Incarnation: ids[w[0]-'a'], Since: event.Position(since)})
	}
	return l.String()
}

func TestReceive(t *testing.T) {
	t.Parallel()
	const chain = "a b@40 c@30"
	long := "a"
	for i := range 11 {
		long += fmt.Sprintf(" %c@%d", 'b'+i, 10*(i+1))
	}
	for name, c := range map[string]struct {
		mine     string
		position event.Position
		theirs   string
		events   []event.Recorded

		lineage string // of the next mark; "" if it diverged
		want    []event.Recorded
		from    event.Position // of the difference
	}{
		"the same":                                {mine: "a", position: 60, theirs: "a", events: from(61, 63), lineage: "a", want: from(61, 63)},
		"a new reader":                            {theirs: "a", events: from(61, 63), lineage: "a", want: from(61, 63)},
		"a message that does not say":             {mine: "a", position: 60, events: from(61, 63), lineage: "a", want: from(61, 63)},
		"neither says":                            {events: from(61, 63), want: from(61, 63)},
		"grown, and given nothing that was lost":  {mine: "a", position: 40, theirs: "a b@40", events: from(41, 43), lineage: "a b@40", want: from(41, 43)},
		"grown, and given one more":               {mine: "a", position: 41, theirs: "a b@40", events: from(41, 43), from: 41},
		"grown, and repeated":                     {mine: "a", position: 35, theirs: "a b@40", events: from(31, 43), lineage: "a b@40", want: from(31, 43)},
		"grown twice":                             {mine: "a", position: 30, theirs: chain, events: from(31, 43), lineage: chain, want: from(31, 43)},
		"grown twice, given what the second lost": {mine: "a", position: 35, theirs: chain, events: from(31, 43), from: 31},
		"grown by the second":                     {mine: "a b@40", position: 30, theirs: chain, events: from(31, 43), lineage: chain, want: from(31, 43)},
		"grown by the second, given more":         {mine: "a b@40", position: 50, theirs: chain, events: from(31, 43), from: 31},
		"the second lost more than the first":     {mine: "a", position: 40, theirs: "a b@40 c@90", events: from(41, 43), lineage: "a b@40 c@90", want: from(41, 43)},
		"a relay of the lost history":             {mine: "a b@40", position: 60, theirs: "a", events: from(38, 99), lineage: "a b@40", want: from(38, 40)},
		"a relay of it, all of it lost":           {mine: "a b@40", position: 60, theirs: "a", events: from(61, 99), lineage: "a b@40"},
		"a relay of two histories ago":            {mine: chain, position: 20, theirs: "a", events: from(21, 50), lineage: chain, want: from(21, 30)},
		"a relay of the history before":           {mine: chain, position: 20, theirs: "a b@40", events: from(21, 50), lineage: chain, want: from(21, 30)},
		"another store":                           {mine: "a", position: 60, theirs: "b", events: from(61, 63), from: 1},
		"another store, and given nothing":        {mine: "a", theirs: "b", events: from(61, 63), from: 1},
		"two that have parted":                    {mine: "a b@40", position: 60, theirs: "a c@50", events: from(61, 63), from: 41},
		"two that have parted later":              {mine: "a b@40 d@70", position: 90, theirs: "a b@40 c@60", events: from(61, 63), from: 61},
		"more than a text holds":                  {mine: "l", position: 500, theirs: long, events: from(501, 502), lineage: long, want: from(501, 502)},
		"fewer than a text holds":                 {mine: "f e@60", position: 35, theirs: long, events: from(501, 502), lineage: long, want: from(501, 502)},
		"longer ago than a text holds":            {mine: "a", position: 5, theirs: long, events: from(501, 502), from: 1},
		"a relay of longer ago than it holds":     {mine: long, position: 5, theirs: "a", events: from(1, 2), from: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := worker.Mark{Position: c.position, Lineage: text(c.mine)}
			lineage, events, err := m.Receive("totals", worker.Delivery{Part: "orders/1", Lineage: text(c.theirs), Events: c.events})
			var d *worker.DivergedError
			switch {
			case c.from > 0:
				want := worker.DivergedError{Name: "totals", Part: "orders/1", From: c.from, To: max(c.position, c.from)}
				if !errors.As(err, &d) || *d != want {
					t.Errorf("Receive = %v, want %v", err, &want)
				}
			case err != nil || lineage != text(c.lineage):
				t.Errorf("Receive = %q, %v, want %q", lineage, err, text(c.lineage))
			default:
				if diff := cmp.Diff(c.want, events); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestReceiveGarbage(t *testing.T) {
	t.Parallel()
	a := text("a")
	_, _, err := worker.Mark{Lineage: "x"}.Receive("totals", worker.Delivery{Part: "orders/1", Lineage: a})
	if want := `receive totals: part orders/1: the mark: parse lineage "x": want up to 8 of incarnation@position, joined by commas`; err == nil || err.Error() != want {
		t.Errorf("Receive = %v, want %s", err, want)
	}
	_, _, err = worker.Mark{Lineage: a}.Receive("totals", worker.Delivery{Part: "orders/1", Lineage: "x"})
	if want := `receive totals: part orders/1: parse lineage "x": want up to 8 of incarnation@position, joined by commas`; err == nil || err.Error() != want {
		t.Errorf("Receive = %v, want %s", err, want)
	}
}

func TestRewind(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	models := memory.New()
	log := &history{lineage: servers("b+1", 0), events: many(1, 300)}
	copy(log.events, from(1, 250))
	store := worker.Join(log, worker.Store[*memory.Tx](models))
	save := func(name string, m worker.Mark) worker.Mark {
		t.Helper()
		if err := store.Save(ctx, name, worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}); err != nil {
			t.Fatal(err)
		}
		return read(t, store, name)[""]
	}
	m := save("totals", given("a+1", 7, from(1, 280)...))
	place := m.Common(250)
	if place < 200 || place > 250 {
		t.Fatalf("the newest common waypoint is at %d", place)
	}
	for _, to := range []event.Position{1, 251, 280, 300, m.Trail.Waypoints()[len(m.Trail.Waypoints())-1].Position} {
		err := worker.Rewind(ctx, store, "totals", to, true)
		if want := fmt.Sprintf("rewind totals to position %d: no place that the log shares: want one of 0, 7, ", to); !errors.Is(err, worker.ErrNotCommon) || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), fmt.Sprint(", ", place)) {
			t.Errorf("Rewind = %v, want %s...", err, want)
		}
	}
	if got := read(t, store, "totals")[""]; got != m {
		t.Errorf("a refused rewind has changed the mark to %+v", got)
	}
	if err := worker.Rewind(ctx, store, "totals", place, false); err != nil {
		t.Fatal(err)
	}
	got, err := worker.Resume(ctx, store, "totals", read(t, store, "totals")[""])
	if err != nil || got.Position != place || got.Digest != (worker.Digest{}).Next(from(1, int(place))...) || got.Server != "b+1" {
		t.Errorf("Resume = %+v, %v, want it at %d", got, err, place)
	}
	err = worker.Rewind(ctx, store, "totals", 0, false)
	if want := "rewind totals to position 0: nothing has diverged"; !errors.Is(err, worker.ErrNotDiverged) || err.Error() != want {
		t.Errorf("Rewind = %v, want %s", err, want)
	}
	if err := worker.Rewind(ctx, store, "totals", 0, true); err != nil {
		t.Fatal(err)
	}
	if got := read(t, store, "totals")[""]; got != (worker.Mark{Revision: got.Revision}) {
		t.Errorf("mark %+v, want one that has read nothing", got)
	}
	log.lineage = nil
	if err := worker.Rewind(ctx, store, "totals", 0, true); !errors.Is(err, errAway) {
		t.Errorf("Rewind = %v, want %v", err, errAway)
	}
}

func TestRewindParts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := memory.New()
	marks := worker.Checkpoint{
		"orders/0": {Position: 30, Source: "id", Offset: 9, Of: 2, Lineage: text("a")},
		"orders/1": {Position: 45, Source: "id", Offset: 8, Of: 2, Lineage: text("a")},
	}
	if err := db.Save(ctx, "totals", worker.Term{}, worker.Write{Marks: marks}); err != nil {
		t.Fatal(err)
	}
	err := worker.RewindParts(ctx, db, "totals", text("a"), false)
	if want := "rewind totals to the beginning: nothing has diverged"; !errors.Is(err, worker.ErrNotDiverged) || err.Error() != want {
		t.Errorf("RewindParts = %v, want %s", err, want)
	}
	if err := worker.RewindParts(ctx, db, "totals", text("a b@45"), false); !errors.Is(err, worker.ErrNotDiverged) {
		t.Errorf("RewindParts = %v, want ErrNotDiverged: nothing that it was given is lost", err)
	}
	if err := worker.RewindParts(ctx, db, "totals", "x", true); err == nil || !strings.HasPrefix(err.Error(), `rewind totals to the beginning: parse lineage "x"`) {
		t.Errorf("RewindParts = %v", err)
	}
	if err := worker.RewindParts(ctx, db, "totals", text("a b@40"), false, "orders/2"); err != nil {
		t.Fatal(err)
	}
	zero := worker.Mark{Lineage: text("a b@40")}
	want := worker.Checkpoint{"orders/0": zero, "orders/1": zero, "orders/2": zero}
	got := read(t, db, "totals")
	for part, m := range got {
		m.Revision = 0
		got[part] = m
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checkpoint (-want +got):\n%s", diff)
	}
	_, events, err := got["orders/1"].Receive("totals", worker.Delivery{Part: "orders/1", Lineage: text("a"), Events: from(38, 45)})
	if diff := cmp.Diff(from(38, 40), events); diff != "" || err != nil {
		t.Errorf("what was lost is not left out: %v, (-want +got)\n%s", err, diff)
	}
	if err := worker.RewindParts(ctx, db, "totals", text("a b@40"), true); err != nil {
		t.Errorf("RewindParts = %v, want nil: it was forced", err)
	}
}

func read(t *testing.T, store worker.Checkpoints, name string) worker.Checkpoint {
	t.Helper()
	c, err := store.Checkpoint(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
