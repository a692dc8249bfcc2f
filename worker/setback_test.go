package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func TestRewindRefusesAReaderThatRuns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	db := memory.New(memory.WithClock(func() time.Time { return now }))
	if _, err := db.Claim(t.Context(), worker.Claiming{Name: "reader", Holder: "host/1", Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	const why = `reader runs: host/1 holds segment "" until 2026-03-01T12:01:00Z: stop it, or force it if you know that it has ended`
	l, err := db.Lineage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for want, rewind := range map[string]func(force bool) error{
		"rewind reader to position 0: " + why: func(force bool) error {
			return worker.Rewind(t.Context(), db, "reader", 0, force)
		},
		"rewind reader to the beginning: " + why: func(force bool) error {
			return worker.RewindParts(t.Context(), db, "reader", l.String(), force, "orders/0")
		},
	} {
		before := read(t, db, "reader")
		err := rewind(false)
		var running *worker.RunningError
		if !errors.Is(err, worker.ErrRunning) || !errors.As(err, &running) || running.Seat.Holder != "host/1" || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if diff := cmp.Diff(before, read(t, db, "reader")); diff != "" {
			t.Errorf("a refused rewind has changed the checkpoint (-want +got):\n%s", diff)
		}
		if err := rewind(true); err != nil {
			t.Errorf("forced: %v", err)
		}
	}
	now = now.Add(time.Hour)
	if err := worker.Rewind(t.Context(), db, "reader", 0, false); !errors.Is(err, worker.ErrNotDiverged) {
		t.Errorf("Rewind = %v, want ErrNotDiverged once the lease is over", err)
	}
}

// What was parked behind the place is read again, and other events may have its
// positions by now.
func TestRewindForgetsWhatWasParkedBehind(t *testing.T) {
	t.Parallel()
	for to, want := range map[event.Position]map[string][]int64{
		0: {},
		4: {"both": {3}, "before": {1}},
		7: {"both": {3, 5}, "before": {1}, "behind": {6}},
	} {
		db := filled(t, 7)
		l, err := db.Lineage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := worker.Mark{Server: l.Now().Server, Lineage: l.String()}.Reached(4, nil)
		m.Trail = worker.Mark{}.Reached(4, noted(4)).Trail
		m = m.Reached(7, noted(5, 6, 7))
		if err := db.Save(t.Context(), "reader", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}); err != nil {
			t.Fatal(err)
		}
		parkedKeys(t, db, worker.Waiting, []int64{3, 5}, "both")
		parkedKeys(t, db, worker.Waiting, []int64{6}, "behind")
		parkedKeys(t, db, worker.Waiting, []int64{1}, "before")
		revision := read(t, db, "reader")[""].Revision
		if err := worker.Rewind(t.Context(), db, "reader", to, true); err != nil {
			t.Fatal(err)
		}
		got := map[string][]int64{}
		for _, p := range allParked(t, db) {
			items, err := db.Items(t.Context(), "reader", p.Key, -1, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range items {
				got[p.Key.Key] = append(got[p.Key.Key], i.Seq)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("to %d (-want +got):\n%s", to, diff)
		}
		if m := read(t, db, "reader")[""]; m.Position != to || m.Revision != revision+1 {
			t.Errorf("the mark is %+v, want it at %d, by one write", m, to)
		}
	}
}

func noted(positions ...event.Position) (out []event.Recorded) {
	for _, p := range positions {
		out = append(out, event.Recorded{Position: p})
	}
	return out
}

// damaged is a store of which some marks were changed by other means, until they are
// written again.
type damaged struct {
	*memory.DB
	parts map[string]bool
}

func (d *damaged) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	c, err := d.DB.Checkpoint(ctx, name)
	for part := range d.parts {
		if err == nil {
			err = &worker.AlteredError{Name: name, Part: part, Mark: c[part]}
		}
	}
	return c, err
}

func (d *damaged) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	err := d.DB.Save(ctx, name, term, w)
	for part := range w.Marks {
		if err == nil {
			delete(d.parts, part)
		}
	}
	return err
}

func TestRewindMendsMarksThatWereAltered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := filled(t, 7)
	save := func(marks worker.Checkpoint) *damaged {
		t.Helper()
		d := &damaged{DB: db, parts: map[string]bool{}}
		now := read(t, db, "reader")
		for part, m := range marks {
			m.Revision = now[part].Revision
			marks[part], d.parts[part] = m, true
		}
		if err := db.Save(ctx, "reader", worker.Term{}, worker.Write{Marks: marks}); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := save(worker.Checkpoint{"0of2": {Position: 7}, "1of2": {Position: 6}})
	for _, c := range []struct {
		to    event.Position
		force bool
	}{{0, false}, {6, true}, {6, false}} {
		if err := worker.Rewind(ctx, d, "reader", c.to, c.force); !errors.Is(err, worker.ErrAltered) {
			t.Errorf("Rewind to %d (force %v) = %v, want ErrAltered", c.to, c.force, err)
		}
	}
	if err := worker.Rewind(ctx, d, "reader", 0, true); err != nil {
		t.Fatal(err)
	}
	c, err := d.Checkpoint(ctx, "reader")
	if err != nil || len(c) != 2 || c["0of2"].Position != 0 || c["1of2"].Position != 0 {
		t.Errorf("checkpoint %+v, %v, want both segments at 0", c, err)
	}
	lineage := eventstore.Lineage{{Incarnation: event.NewID()}}.String()
	d = save(worker.Checkpoint{"0of2": {Position: 7}, "orders/0": {Position: 6, Source: "id", Offset: 9}})
	if err := worker.RewindParts(ctx, d, "reader", lineage, false); !errors.Is(err, worker.ErrAltered) {
		t.Errorf("RewindParts = %v, want ErrAltered", err)
	}
	if err := worker.RewindParts(ctx, d, "reader", lineage, true); err != nil {
		t.Fatal(err)
	}
	for part, m := range read(t, db, "reader") {
		if m != (worker.Mark{Lineage: lineage, Revision: m.Revision}) {
			t.Errorf("part %s: %+v, want it at the beginning", part, m)
		}
	}
}

func TestRewindOfSegments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := filled(t, 7)
	l, err := db.Lineage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	here := worker.Mark{Server: l.Now().Server}
	marks := worker.Checkpoint{"0of2": here.Reached(7, noted(7)), "1of2": here.Reached(5, noted(5))}
	if err := db.Save(ctx, "reader", worker.Term{}, worker.Write{Marks: marks}); err != nil {
		t.Fatal(err)
	}
	if err := worker.Rewind(ctx, db, "reader", 5, true); !errors.Is(err, worker.ErrNotCommon) {
		t.Errorf("Rewind = %v, want ErrNotCommon: one segment was never there", err)
	}
	if err := worker.Rewind(ctx, db, "reader", 0, true); err != nil {
		t.Fatal(err)
	}
	got := read(t, db, "reader")
	if len(got) != 2 || got["0of2"].Position != 0 || got["1of2"].Position != 0 {
		t.Errorf("checkpoint %+v, want both segments at 0", got)
	}
}

func TestOfLog(t *testing.T) {
	t.Parallel()
	for part, want := range map[string]bool{
		"": true, "0of2": true, "1of2": true, "255of256": true,
		"2of2": false, "-1of2": false, "0of1": false, "00of2": false, "0of2x": false, "annals.order/0": false, "order/": false,
	} {
		if got := worker.OfLog(part); got != want {
			t.Errorf("OfLog(%q) = %v, want %v", part, got, want)
		}
	}
}
