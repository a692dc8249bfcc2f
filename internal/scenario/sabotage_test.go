package scenario_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// sabotages are stores that are broken on purpose: what the scenarios and the
// oracle have to find.
var sabotages = map[string]string{
	"appends leave no mark": `DROP TRIGGER events_mark_append ON annals.events`,
	"the bound is the last position drawn": `
CREATE OR REPLACE FUNCTION annals.log_bound_v1(OUT bound bigint, OUT server timestamptz)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	server := pg_postmaster_start_time();
	bound := coalesce(pg_sequence_last_value('annals.events_position_seq'), 0);
END
$$`,
}

func checks(findings []oracle.Finding) []oracle.Check {
	var out []oracle.Check
	for _, f := range findings {
		out = append(out, f.Check)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A reader that looks while an earlier append is open: it waits in the store as
// it is, and skips in each broken one. The oracle tells them apart.
func TestOracleSeesASkip(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, statements ...string) []oracle.Check {
		t.Helper()
		pool := postgrestest.Pool(t)
		run(t, pool, statements...)
		db, h, r := postgres.New(pool), oracle.New(), random(1, 0)
		write := func(id string) eventstore.Write {
			return eventstore.Write{Stream: event.Stream{Category: "order", ID: id}, Events: []event.Raw{note(r, "order.noted", []byte(id))}}
		}
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first, second := write("first"), write("second")
		open := h.Begin()
		res, err := db.Tx(tx).Append(t.Context(), first.Stream, first.Expect, first.Events...)
		if err != nil {
			t.Fatal(err)
		}
		open.Wrote(first, res, nil)
		a := h.Begin(second)
		res, err = db.Append(t.Context(), second.Stream, second.Expect, second.Events...)
		a.End([]eventstore.Result{res}, err)

		all := follower{log: db, reader: h.Reader("of all", eventstore.LogQuery{})}
		named := follower{log: db, reader: h.Reader("by name", eventstore.LogQuery{Names: []string{"order.noted"}})}
		for _, f := range []*follower{&all, &named} {
			if _, err := f.page(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		open.End(nil, tx.Commit(t.Context()))
		for _, f := range []*follower{&all, &named} {
			if err := f.toHead(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return checks(h.Check(committed(t, pool)))
	}
	if got := play(t); len(got) != 0 {
		t.Errorf("the store as it is: %v, want nothing", got)
	}
	for what, sql := range sabotages {
		if got, want := play(t, sql), []oracle.Check{oracle.Missed}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}

func summarize(t *testing.T, findings []oracle.Finding) {
	t.Helper()
	for _, f := range findings {
		if strings.HasPrefix(f.Text, "and ") {
			t.Log(f)
		}
	}
}

// The scenario of the out-of-order commits finds both, within seconds; that of
// the concurrent appends finds that nobody judges between two rivals.
func TestFaultSabotageIsSeen(t *testing.T) {
	t.Parallel()
	for what, sql := range sabotages {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			const d = 2 * time.Second
			pool := connect(t, postgrestest.URL(t, disturbance, sql), 24)
			h := oracle.New()
			stir(t, bounded(t, d), h, pool, seed(t), d)
			found := h.Check(committed(t, pool))
			if !slices.Contains(checks(found), oracle.Missed) {
				t.Errorf("found %v, want events that were missed", found)
			}
			summarize(t, found)
		})
	}
	t.Run("versions are not unique", func(t *testing.T) {
		t.Parallel()
		const d = time.Second
		url, h := postgrestest.URL(t, `
ALTER TABLE annals.events DROP CONSTRAINT events_version_key;
CREATE INDEX ON annals.events (category, stream_id, version)`), oracle.New()
		contend(t, bounded(t, d), h, processes(t, url), random(seed(t), 0), d)
		found := h.Check(committed(t, connect(t, url, 4)))
		if got := checks(found); !slices.Contains(got, oracle.Dense) || !slices.Contains(got, oracle.Order) {
			t.Errorf("found %v, want versions that are there twice", found)
		}
		summarize(t, found)
	})
}
