package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	db := postgres.New(postgrestest.Service(t, s.pool, postgres.RoleRead))
	status := func() worker.Status {
		t.Helper()
		got, err := db.Status(s.ctx, "totals")
		s.end(err)
		if got.Time.IsZero() || time.Since(got.Time).Abs() > time.Hour {
			t.Errorf("time %v, want that of the server", got.Time)
		}
		return got
	}
	opts := cmp.Options{cmpopts.IgnoreFields(worker.Status{}, "Time"), cmpopts.IgnoreFields(worker.PartStatus{}, "Mark", "Updated", "Behind", "Oldest"), cmpopts.IgnoreFields(worker.Seat{}, "Until")}
	check := func(want worker.Status) worker.Status {
		t.Helper()
		got := status()
		if diff := cmp.Diff(want, got, opts); diff != "" {
			t.Errorf("Status (-want +got):\n%s", diff)
		}
		return got
	}
	check(worker.Status{Name: "totals"})

	_, err := s.db.Append(s.ctx, order("s"), eventstore.Any(), note("1"), note("2"), note("3"))
	s.end(err)
	s.exec(`UPDATE annals.events SET recorded_at = recorded_at - interval '1 hour'`)
	s.end(s.db.Save(s.ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": {Position: 1}, "topic/0": {Position: 3, Offset: 12}}}))
	term, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "w", Segment: "", Lease: time.Hour})
	s.end(err)
	_, err = s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "w", Segment: "unread", Lease: time.Hour})
	s.end(err)
	_, err = s.db.Renew(s.ctx, worker.Renewal{Name: "totals", Holder: "w", Lease: time.Hour, Terms: []worker.Term{term}, Reports: map[string]worker.Report{"": {Paused: "breaker", Error: "refused"}}})
	s.end(err)
	a, b := worker.Key{Key: "a"}, worker.Key{Key: "b"}
	s.end(s.db.Save(s.ctx, "totals", term, worker.Write{
		Marks: worker.Checkpoint{"": {Position: 1, Revision: 1}},
		Park:  []worker.Parked{{Key: a, State: worker.Retrying, Since: time.Now().Add(-2 * time.Hour)}, {Key: b, State: worker.Waiting, Since: time.Now()}},
		Items: []worker.Item{{Key: a, Seq: 1}, {Key: a, Seq: 2}, {Key: b, Seq: 3}},
	}))
	got := check(worker.Status{Name: "totals", Head: 3, Members: []string{"w"}, Parts: []worker.PartStatus{
		{Part: "", Lag: 2, Retrying: 1, Waiting: 1, Parked: 3, Seat: &worker.Seat{Term: term, Holder: "w", Live: true, Report: worker.Report{Paused: "breaker", Error: "refused"}}},
		{Part: "topic/0"},
		{Part: "unread", Lag: 3, Seat: &worker.Seat{Term: worker.Term{Segment: "unread", Epoch: 1}, Holder: "w", Live: true}},
	}})
	p := got.Parts[0]
	if p.Mark.Position != 1 || p.Mark.Epoch != 1 || p.Mark.Revision != 2 || p.Updated.IsZero() || p.Behind < time.Hour || p.Behind > 2*time.Hour || p.Oldest < 2*time.Hour || p.Oldest > 3*time.Hour {
		t.Errorf("part %+v", p)
	}
	if p := got.Parts[1]; p.Mark.Offset != 12 || p.Behind != 0 || p.Oldest != 0 {
		t.Errorf("part %+v, want it at the end", p)
	}
	if p := got.Parts[2]; p.Mark != (worker.Mark{}) || !p.Updated.IsZero() {
		t.Errorf("part %+v, want the zero mark", p)
	}

	s.exec(`UPDATE annals.checkpoints SET position = 2 WHERE part = ''`)
	if p := status().Parts[0]; p.Altered == nil || p.Lag != 1 || p.Altered.Error() != `checkpoint totals: part "": the mark at position 2 was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force` {
		t.Errorf("part %+v, want it altered", p)
	}

	s.end(s.db.Save(s.ctx, "another", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": {}}}))
	_, err = s.db.Claim(s.ctx, worker.Claiming{Name: "seat only", Holder: "w", Segment: "", Lease: time.Hour})
	s.end(err)
	if names, err := db.Readers(s.ctx); err != nil || !slices.Equal(names, []string{"another", "seat only", "totals"}) {
		t.Errorf("Readers = %q, %v", names, err)
	}
}

// The lag is counted up to a bound, and what is read has that bound too, on a table
// that was empty when the statement was first planned.
func TestStatusReadsABoundedNumberOfEvents(t *testing.T) {
	t.Parallel()
	s := planScript(t)
	s.exec(`ALTER TABLE annals.events SET (autovacuum_enabled = false)`)
	status := func() worker.Status {
		got, err := s.db.Status(s.ctx, "totals")
		s.end(err)
		return got
	}
	s.end(s.db.Save(s.ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"far": {Position: 1}, "near": {Position: 59_000}, "edge": {Position: 50_000}, "here": {Position: 60_000}}}))
	for range 10 {
		status()
	}
	s.exec(fmt.Sprintf(fillSQL, 1, 60_000))
	for _, prepare := range []string{`SELECT 'old statistics'`, `ANALYZE annals.events`, `VACUUM annals.events`} {
		s.exec(prepare)
		status()
		var got worker.Status
		w := s.touched(func() { got = status() })
		if w.scans > 0 || w.entries > 22_000 {
			t.Errorf("%s: it touches %+v, want no scan and 21,000 entries", prepare, w)
		}
		lags := map[string]string{}
		for _, p := range got.Parts {
			lags[p.Part] = fmt.Sprint(p.Lag, p.Estimated)
		}
		if diff := cmp.Diff(map[string]string{"far": "59999 true", "near": "1000 false", "edge": "10000 false", "here": "0 false"}, lags); diff != "" {
			t.Errorf("lags (-want +got):\n%s", diff)
		}
	}
}
