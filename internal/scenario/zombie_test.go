//go:build unix

package scenario_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// zombieLease is the lease of the workers that are frozen, and takeOver what is added
// to twice that for a machine that is busy.
const (
	zombieLease = 1500 * time.Millisecond
	takeOver    = 1500 * time.Millisecond
)

// A worker is frozen in the middle of a batch, with its transaction open and rows
// locked, for longer than its lease. Another one takes over. When the first one wakes
// it changes nothing, knows it, stands by, and takes over when the other one dies.
func TestFaultZombie(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		pooled bool
		args   workerArgs
	}{
		{"projection", false, workerArgs{Projection: true}},
		{"relay", false, workerArgs{Relay: true}},
		{"projection through a pooler", true, workerArgs{Projection: true}},
		{"relay through a pooler", true, workerArgs{Relay: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.args.Segments, c.args.Batch, c.args.Lease = 1, 50, zombieLease
			m := newTeam(t, *timeFlag+2*patience, c.args)
			if c.pooled {
				m.behindPooler()
			}
			zombie(m)
		})
	}
}

// behindPooler has the processes reach the store through a pooler in transaction mode.
func (m *team) behindPooler() {
	m.Helper()
	u, err := url.Parse(startPgBouncer(m.T, postgrestest.URL(m.T)).URL)
	if err != nil {
		m.Fatal(err)
	}
	behind, err := pgx.ParseConfig(m.args.URL)
	if err != nil {
		m.Fatal(err)
	}
	u.Path = "/" + behind.Database
	m.args.URL, m.args.Mode = u.String(), pgx.QueryExecModeExec
}

// seat is who has the term of the only segment.
type seat struct {
	epoch  int64
	holder string
	// by the clock of the store: since when, and until when, and what it shows now
	claimed, until, now time.Time
}

func (m *team) seat() (s seat) {
	m.Helper()
	err := m.pool.QueryRow(m.ctx, `
SELECT epoch, holder, claimed_at, lease_until, clock_timestamp()
FROM annals.terms
WHERE segment = ''`).Scan(&s.epoch, &s.holder, &s.claimed, &s.until, &s.now)
	if err != nil {
		m.Fatal(err)
	}
	return s
}

func (s seat) of(p *member) bool { return strings.Contains(s.holder, fmt.Sprintf("/%d/", p.PID())) }

func zombie(m *team) {
	m.Helper()
	stop := m.feed(2, 20*time.Millisecond, 0)
	looked := func() {}
	if m.args.Projection {
		looked = m.accounted()
	}
	first := m.start("")
	if !first.wait("gained", nil) {
		m.Fatal("no worker begins")
	}
	second := m.start("")
	if !second.wait("ready", nil) {
		m.Fatal("no second worker begins")
	}
	until := time.Now().Add(*timeFlag)
	rounds := 0
	for ; rounds == 0 || time.Now().Before(until); rounds++ {
		first, second = m.freeze(first, second)
	}
	stop()
	healed := time.Now()
	_, late := oracle.Progress(healed, healTime, drained(m.T, m.pool, healed)...)
	m.found(late)
	looked()
	if m.args.Projection {
		m.judge(nil)
	} else {
		m.judgeRelay()
	}
	m.Logf("%d rounds", rounds)
}

// judgeRelay judges what a relay alone has done.
func (m *team) judgeRelay() {
	m.Helper()
	judge(m.T, m.ctx, m.history, m.pool, m.db)
	most := 0.9
	if m.args.Ledger {
		most = 0
	}
	again, broker := oracle.Published(committed(m.T, m.pool), nil, m.published(), most)
	m.found(broker)
	m.Logf("%.3f of the messages came again", again)
}

// freeze freezes the first in the middle of a batch until the second has taken over,
// and wakes it; then it kills the second, so that the first takes over again, and
// starts one in its place.
func (m *team) freeze(first, second *member) (holder, standby *member) {
	m.Helper()
	before := m.seat()
	if !before.of(first) {
		m.Fatalf("the term is %s's, want that of process %d", before.holder, first.PID())
	}
	m.append(event.Stream{Category: "order", ID: "dwells"}, doDwell, 2)
	var b begun
	if !first.wait("begun", &b) {
		m.Fatal("no worker begins with the event that dwells")
	}
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		m.Fatal(err)
	}
	frozen := m.seat().now
	var after seat
	eventually(m.T, "another worker takes over", func() bool {
		after = m.seat()
		return after.epoch > before.epoch
	})
	took := after.claimed.Sub(frozen)
	if after.epoch != before.epoch+1 || !after.of(second) {
		m.Errorf("term %d is %s's, want %d of process %d", after.epoch, after.holder, before.epoch+1, second.PID())
	}
	if most := 2*zombieLease + takeOver; took > most {
		m.Errorf("%v from the stop to the next term, want at most %v", took, most)
	}
	if at := m.reached(); !soon(m.ctx, 5*time.Second, func() bool { return m.reached() > at }) {
		m.Errorf("the mark is at %d still: what the frozen worker has locked holds the other one up", at)
	}
	if b.XID != "" {
		var status string
		if err := m.pool.QueryRow(m.ctx, `SELECT pg_xact_status($1::text::xid8)`, b.XID).Scan(&status); err != nil || status != "aborted" {
			m.Errorf("the transaction of the frozen worker is %s, %v, want aborted", status, err)
		}
	}
	if err := first.Signal(syscall.SIGCONT); err != nil {
		m.Fatal(err)
	}
	var lost turn
	if !first.wait("lost", &lost) || lost.Epoch != before.epoch {
		m.Errorf("the worker that wakes says that it has lost %+v, want term %d", lost, before.epoch)
	}
	if now := m.seat(); now.epoch != after.epoch || !now.of(second) {
		m.Errorf("term %d is %s's now, want that of process %d still", now.epoch, now.holder, second.PID())
	}
	if by := m.markedBy(); by < after.epoch {
		m.Errorf("the mark is of term %d, want at least %d", by, after.epoch)
	}
	if b.XID != "" {
		var rows int
		if err := m.pool.QueryRow(m.ctx, `
SELECT (SELECT count(*) FROM handled WHERE xmin::text = $1)
     + (SELECT count(*) FROM tallied WHERE xmin::text = $1)
     + (SELECT count(*) FROM annals.checkpoints WHERE xmin::text = $1)`, b.XID).Scan(&rows); err != nil || rows != 0 {
			m.Errorf("%d rows are of the frozen worker, %v, want none", rows, err)
		}
	}
	if err := second.Kill(); err != nil {
		m.Error(err)
	}
	var again turn
	if !first.wait("gained", &again) || again.Epoch != after.epoch+1 {
		m.Fatalf("the worker that was frozen does not take over from the one that was killed: %+v", again)
	}
	m.Logf("frozen for %v before another one was given the term, lease %v", took.Round(time.Millisecond), zombieLease)
	standby = m.start("")
	if !standby.wait("ready", nil) {
		m.Fatal("no other worker begins")
	}
	return first, standby
}

// soon polls until a condition holds, or time is over.
func soon(ctx context.Context, within time.Duration, holds func() bool) bool {
	for until, r := time.Now().Add(within), random(0, 0); !holds(); {
		if !moment(ctx, r, 20*time.Millisecond) || time.Now().After(until) {
			return false
		}
	}
	return true
}

// reached is the least position that a mark of the readers has.
func (m *team) reached() (p event.Position) {
	m.Helper()
	if err := m.pool.QueryRow(m.ctx, `SELECT coalesce(min(position), 0) FROM annals.checkpoints WHERE part = ''`).Scan((*int64)(&p)); err != nil {
		m.Fatal(err)
	}
	return p
}

// markedBy is the term under which the mark was written.
func (m *team) markedBy() (epoch int64) {
	m.Helper()
	if err := m.pool.QueryRow(m.ctx, `SELECT min(epoch) FROM annals.checkpoints WHERE part = ''`).Scan(&epoch); err != nil {
		m.Fatal(err)
	}
	return epoch
}
