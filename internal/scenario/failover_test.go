package scenario_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/worker"
)

// replicating are the settings of a server that standbys follow.
var replicating = []devenv.Option{devenv.WithSetting("wal_level", "replica"), devenv.WithSetting("max_wal_senders", "4")}

// promote ends the server, and has the standby take its place.
func (w *world) promote(standby *devenv.Server) {
	w.Helper()
	w.address.to("")
	if err := w.server.Close(); err != nil {
		w.Error(err)
	}
	pool := connect(w.T, standby.URL, 2)
	run(w.T, pool, `SELECT pg_promote()`)
	w.server = standby
}

// reached sends the clients to the server.
func (w *world) reached() { w.address.to(hostOf(w.T, w.server.URL)) }

// A standby takes over. If it has everything, nobody notices. If it lacks what
// was acknowledged, positions are used again: readers in the same database were
// set back with it and go on, and all others stop, before they take anything of
// the new history, and go on once they were set back too.
func TestFaultLaggingFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, startServer(t, replicating...))
	w.start()
	w.append(60)
	w.caughtUp("at first")

	second := startServer(t, append(replicating, devenv.WithPrimary(w.server.URL))...)
	w.append(30)
	w.caughtUp("before the switchover")
	replayed(t, connect(t, w.server.URL, 1), connect(t, second.URL, 1))
	w.promote(second)
	w.append(30) // before any reader has seen the new server
	w.reached()
	w.append(30)
	w.caughtUp("after a switchover that lost nothing")

	third := startServer(t, append(replicating, devenv.WithPrimary(w.server.URL))...)
	standby := connect(t, third.URL, 1)
	replayed(t, connect(t, w.server.URL, 1), standby)
	run(t, standby, `ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`)
	eventually(t, "the standby has stopped to follow", func() bool {
		var n int
		err := standby.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&n)
		return err == nil && n == 0
	})
	w.append(60)
	w.caughtUp("before the failover")
	old := w.stored()
	w.promote(third)
	kept := w.stored()
	w.append(60)
	w.reached()
	w.setBack(old, kept, func() {
		// The read model goes back to a place that is known to be common.
		c, err := w.joined.Checkpoint(t.Context(), checkpoint(elsewhere))
		if err != nil {
			t.Fatal(err)
		}
		to := c[""].Common(kept[len(kept)-1].Position)
		if err := worker.Rewind(t.Context(), w.joined, checkpoint(elsewhere), to, false); err != nil {
			t.Fatal(err)
		}
		run(t, w.models, fmt.Sprintf(`DELETE FROM elsewhere WHERE position > %d`, to))
		t.Logf("elsewhere is set back to position %d", to)
	})
}

// setBack is what happens when the store has lost events that readers elsewhere
// were given: they stop and say where, one after the other they are set back, and
// in the end all have the new history. It is called when new events have taken the
// positions of the lost ones.
func (w *world) setBack(old, kept []place, rewind func()) {
	w.Helper()
	w.caughtUp("the read model beside the log", beside)
	lost := lostOf(old, kept)
	if len(lost) == 0 {
		w.Fatal("nothing was lost: the scenario proves nothing")
	}
	first, last := lost[0].Position, lost[len(lost)-1].Position
	if !slices.ContainsFunc(w.stored(), func(p place) bool { return p.Position == last && p != lost[len(lost)-1] }) {
		w.Errorf("position %d was not used again: the scenario proves little", last)
	}
	w.diverged(elsewhere, first, last)
	w.diverged(relay, first, last)
	if got := w.published(); len(got) > 0 {
		if told := lostOf(got, w.stored()); fmt.Sprint(told) != fmt.Sprint(lost) {
			w.Errorf("the topic tells of %d lost events, want these:\n%v", len(told), lost)
		}
	}
	w.Logf("acknowledged and lost: %d events, the first is %s at position %d, the last %s at %d", len(lost), lost[0].ID, first, lost[len(lost)-1].ID, last)
	before := w.applied(elsewhere)
	if more := lostOf(before, old); len(more) > 0 {
		w.Errorf("elsewhere has taken events of the new history: %v", more)
	}
	if w.Failed() {
		return // what follows would say it again
	}

	rewind()
	w.start(elsewhere)
	w.caughtUp("elsewhere was set back", elsewhere)

	to, err := w.relay.Rewind(w.Context(), false)
	if err != nil || to > kept[len(kept)-1].Position {
		w.Fatalf("Rewind = %d, %v", to, err)
	}
	w.Logf("the relay begins an incarnation at position %d", to)
	w.start(relay)
	w.diverged(fed, first, last)
	lineage, err := w.relay.Lineage(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	run(w.T, w.models, `TRUNCATE fed`)
	if err := worker.RewindParts(w.Context(), w.other, checkpoint(fed), lineage, false, "annals.order/0", "annals.order/1", "annals.order/2"); err != nil {
		w.Fatal(err)
	}
	w.start(fed)
	w.append(40)
	w.caughtUp("all were set back")
	w.stop(fed, relay)
	w.start(fed, relay)
	w.append(20)
	w.caughtUp("all were started again")
	w.judged(lost)
}
