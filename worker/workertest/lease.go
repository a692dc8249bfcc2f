package workertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annals-go/annals/worker"
)

func roster[Tx any](t *testing.T, target Target[Tx]) worker.Roster {
	t.Helper()
	r, err := target.Store.Roster(bounded(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func renew[Tx any](t *testing.T, target Target[Tx], holder string, terms ...worker.Term) worker.Roster {
	t.Helper()
	r, err := target.Store.Renew(bounded(t), worker.Renewal{Name: name, Holder: holder, Lease: lease, Terms: terms})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// held are the segments whose lease runs, with their holders.
func held(r worker.Roster) map[worker.Term]string {
	live := map[worker.Term]string{}
	for _, s := range r.Seats {
		if s.Live {
			live[s.Term] = s.Holder
		}
	}
	return live
}

func wantHeld(t *testing.T, r worker.Roster, want map[worker.Term]string) {
	t.Helper()
	got := held(r)
	same := len(got) == len(want)
	for term, holder := range want {
		same = same && got[term] == holder
	}
	if !same {
		t.Errorf("held are %v, want %v", got, want)
	}
}

func wantMembers(t *testing.T, r worker.Roster, want ...string) {
	t.Helper()
	if !slices.Equal(r.Members, want) {
		t.Errorf("members %q, want %q", r.Members, want)
	}
}

func wantTaken[Tx any](t *testing.T, target Target[Tx], epoch int64) {
	t.Helper()
	before := roster(t, target)
	_, err := target.Store.Claim(bounded(t), worker.Claiming{Name: name, Holder: "other", Segment: "a", Lease: lease, Epoch: epoch})
	if !errors.Is(err, worker.ErrTaken) {
		t.Errorf("Claim at epoch %d = %v, want ErrTaken", epoch, err)
	}
	if after := roster(t, target); len(after.Seats) != 1 || after.Seats[0] != before.Seats[0] {
		t.Errorf("seats %+v, want %+v: nothing has changed", after.Seats, before.Seats)
	}
}

func runningLease[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	if r := roster(t, target); len(r.Members) != 0 || len(r.Seats) != 0 {
		t.Errorf("roster %+v, want nobody", r)
	}
	c := worker.Claiming{Name: name, Holder: "first", Segment: "a", Lease: lease}
	term, err := target.Store.Claim(ctx, c)
	if want := (worker.Term{Segment: "a", Epoch: 1}); err != nil || term != want {
		t.Fatalf("Claim = %+v, %v, want %+v", term, err, want)
	}
	wantTaken(t, target, 1)
	wantTaken(t, target, 0)
	wantTaken(t, target, 2)
	target.Pass(lease / 2)
	wantTaken(t, target, 1)
	wantHeld(t, roster(t, target), map[worker.Term]string{term: "first"})
	target.Pass(lease)
	wantHeld(t, roster(t, target), nil)
	wantTaken(t, target, 0)
	wantTaken(t, target, 2)
	c.Holder, c.Epoch = "second", 1
	term, err = target.Store.Claim(ctx, c)
	if want := (worker.Term{Segment: "a", Epoch: 2}); err != nil || term != want {
		t.Fatalf("Claim = %+v, %v, want %+v", term, err, want)
	}
	wantHeld(t, roster(t, target), map[worker.Term]string{term: "second"})
	wantTaken(t, target, 1)
}

func resigned[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	term := claim(t, target, "first", "a")
	renew(t, target, "first", term)
	if err := target.Store.Resign(ctx, name, "first", false, term); err != nil {
		t.Fatal(err)
	}
	r := renew(t, target, "first", term) // one that was under way
	wantHeld(t, r, nil)
	wantMembers(t, r, "first")
	if len(r.Seats) != 1 || r.Seats[0].Term != term {
		t.Errorf("seats %+v, want that of %+v", r.Seats, term)
	}
	next, err := target.Store.Claim(ctx, worker.Claiming{Name: name, Holder: "second", Segment: "a", Lease: lease, Epoch: term.Epoch})
	if err != nil || next.Epoch != 2 {
		t.Errorf("Claim = %+v, %v, want epoch 2", next, err)
	}
	if err := target.Store.Resign(ctx, name, "first", true); err != nil {
		t.Fatal(err)
	}
	wantMembers(t, roster(t, target))
	wantHeld(t, roster(t, target), map[worker.Term]string{next: "second"})
}

func resignsOwn[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	before := claim(t, target, "me", "a")
	mine, other := claim(t, target, "me", "a"), claim(t, target, "other", "b")
	renew(t, target, "me", mine)
	renew(t, target, "other", other)
	want := map[worker.Term]string{mine: "me", other: "other"}
	for what, terms := range map[string][]worker.Term{
		"of another":          {other},
		"of before":           {before},
		"one that is not yet": {{Segment: "a", Epoch: 3}},
		"unknown":             {{Segment: "x", Epoch: 1}, {}},
		"none":                nil,
	} {
		t.Log(what)
		if err := target.Store.Resign(ctx, name, "me", false, terms...); err != nil {
			t.Fatal(err)
		}
		wantHeld(t, roster(t, target), want)
	}
	if err := target.Store.Resign(ctx, "another", "me", true, mine); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, roster(t, target), want)
	wantMembers(t, roster(t, target), "me", "other")
	if err := target.Store.Resign(ctx, name, "me", true, mine, other); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, roster(t, target), map[worker.Term]string{other: "other"})
	wantMembers(t, roster(t, target), "other")
}

func seized[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	for i, epoch := range []int64{0, 0, 2, 99} {
		term, err := target.Store.Claim(ctx, worker.Claiming{Name: name, Holder: "w", Segment: "a", Lease: lease, Epoch: epoch, Seize: true})
		if want := (worker.Term{Segment: "a", Epoch: int64(i + 1)}); err != nil || term != want {
			t.Errorf("Claim = %+v, %v, want %+v", term, err, want)
		}
		wantHeld(t, roster(t, target), map[worker.Term]string{term: "w"})
	}
}

func renews[Tx any](t *testing.T, target Target[Tx]) {
	// In the order of bytes.
	none, upper, lower := claim(t, target, "w", ""), claim(t, target, "w", "B"), claim(t, target, "w", "a")
	claim(t, target, "w", "gone")
	r := renew(t, target, "w", none, upper, lower)
	wantMembers(t, r, "w")
	if len(r.Seats) != 4 || r.Seats[0].Term != none || r.Seats[1].Term != upper || r.Seats[2].Term != lower {
		t.Errorf("seats %+v, want them in order", r.Seats)
	}
	if until := r.Seats[0].Until; until.IsZero() || !r.Seats[0].Live {
		t.Errorf("seat %+v, want the end of its lease", r.Seats[0])
	}
	target.Pass(lease * 3 / 4)
	renew(t, target, "w", none, upper, lower)
	target.Pass(lease * 3 / 4)
	want := map[worker.Term]string{none: "w", upper: "w", lower: "w"}
	wantHeld(t, roster(t, target), want)
	r = renew(t, target, "X")
	wantHeld(t, r, want)
	wantMembers(t, r, "X", "w")
	target.Pass(2 * lease)
	wantHeld(t, roster(t, target), nil)
	delete(want, lower)
	r = renew(t, target, "w", none, upper) // nobody has claimed them
	wantHeld(t, r, want)
	if again := roster(t, target); !slices.Equal(again.Seats, r.Seats) || !slices.Equal(again.Members, r.Members) {
		t.Errorf("Roster = %+v, want what Renew has told: %+v", again, r)
	}
}

func renewsOwn[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	before, lost := claim(t, target, "me", "a"), claim(t, target, "me", "b")
	mine, other := claim(t, target, "me", "a"), claim(t, target, "other", "b")
	for _, r := range []worker.Renewal{
		{Name: name, Holder: "me", Terms: []worker.Term{before, lost, other, {Segment: "a", Epoch: 3}, {Segment: "x", Epoch: 1}, {}}},
		{Name: name, Holder: "stranger", Terms: []worker.Term{mine, other}},
		{Name: "another", Holder: "me", Terms: []worker.Term{mine}},
	} {
		r.Lease = 10 * lease
		if _, err := target.Store.Renew(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	r := roster(t, target)
	wantHeld(t, r, map[worker.Term]string{mine: "me", other: "other"})
	if len(r.Seats) != 2 {
		t.Errorf("seats %+v, want 2: a renewal makes none", r.Seats)
	}
	target.Pass(2 * lease)
	wantHeld(t, roster(t, target), nil)
}

func memberGone[Tx any](t *testing.T, target Target[Tx]) {
	renew(t, target, "a")
	target.Pass(lease / 2)
	wantMembers(t, renew(t, target, "b"), "a", "b")
	target.Pass(lease * 3 / 4)
	wantMembers(t, roster(t, target), "b")
	wantMembers(t, renew(t, target, "c"), "b", "c")
	wantMembers(t, renew(t, target, "a"), "a", "b", "c")
}

func keepsReports[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	a, b := claim(t, target, "w", "a"), claim(t, target, "w", "b")
	first := worker.Report{Error: "relation \"x\"\n\tdoes not exist", Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)}
	second := worker.Report{Paused: "the breaker is open", Error: "refused", Time: first.Time.Add(time.Second)}
	for _, step := range []struct {
		holder  string
		reports map[string]worker.Report
		want    [2]worker.Report
	}{
		{"w", map[string]worker.Report{"a": first}, [2]worker.Report{first, {}}},
		{"w", nil, [2]worker.Report{first, {}}},
		{"stranger", map[string]worker.Report{"a": second, "b": second, "x": second}, [2]worker.Report{first, {}}},
		{"w", map[string]worker.Report{"a": second, "b": first, "x": first}, [2]worker.Report{second, first}},
		{"w", map[string]worker.Report{"a": {}}, [2]worker.Report{{}, first}},
	} {
		told, err := target.Store.Renew(ctx, worker.Renewal{Name: name, Holder: step.holder, Lease: lease, Terms: []worker.Term{a, b}, Reports: step.reports})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []worker.Roster{told, roster(t, target)} {
			if len(r.Seats) != 2 {
				t.Fatalf("seats %+v, want 2", r.Seats)
			}
			for i, s := range r.Seats {
				if want := step.want[i]; s.Report.Error != want.Error || s.Report.Paused != want.Paused || !s.Report.Time.Equal(want.Time) {
					t.Errorf("report of %q: %+v, want %+v", s.Segment, s.Report, want)
				}
			}
		}
	}
}
