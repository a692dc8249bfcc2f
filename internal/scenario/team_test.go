//go:build unix

package scenario_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

// team are processes of workers on one store, and one who appends to it from the
// process of the test.
type team struct {
	*testing.T
	ctx     context.Context //nolint:containedctx // that of the scenario
	args    workerArgs
	pool    *pgxpool.Pool // direct
	db      *postgres.DB
	history *oracle.History
	random  *rand.Rand
	streams int
	mu      sync.Mutex // of random, and of numbers
	numbers int
}

func newTeam(t *testing.T, d time.Duration, args workerArgs) *team {
	t.Helper()
	url := postgrestest.URL(t, workTables)
	if args.URL == "" {
		args.URL = url
	}
	if args.Mode == 0 {
		args.Mode = pgx.QueryExecModeCacheStatement
	}
	pool := connect(t, url, 12)
	return &team{
		T: t, ctx: bounded(t, d), args: args, pool: pool, db: postgres.New(pool), history: oracle.New(), random: random(seed(t), 0), streams: 40,
	}
}

// member is one process.
type member struct {
	*harness.Child
	ended chan error // one
	told  chan told
}

type told struct {
	kind string
	data json.RawMessage
}

// start starts a process, which ends at a crash point if one is given.
func (m *team) start(crash string) *member { return m.startAs(m.args, crash) }

// startAs starts a process that does something else than others.
func (m *team) startAs(args workerArgs, crash string) *member {
	m.Helper()
	p := &member{ended: make(chan error, 1), told: make(chan told, 1000)}
	c := harness.Command{Mode: "workers", Args: args, Crash: crash, Told: func(kind string, data json.RawMessage) {
		select {
		case p.told <- told{kind, data}:
		default: // nobody waits for it
		}
	}}
	if crash != "" {
		c.Program = childProgram(m.T)
	}
	child, err := harness.Start(m.history, c)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = child.Kill() })
	p.Child = child
	go func() { p.ended <- child.Wait() }()
	return p
}

// wait waits until a process tells of something, and returns false if it ends
// before, or does not.
func (p *member) wait(kind string, into any) bool {
	deadline := time.After(patience)
	for {
		select {
		case <-deadline:
			return false
		case t := <-p.told:
			if t.kind == kind {
				return into == nil || json.Unmarshal(t.data, into) == nil
			}
		case err := <-p.ended:
			p.ended <- err
			return false
		}
	}
}

// work draws an event. The caller has mu.
func (m *team) work(do string) event.Raw {
	m.numbers++
	raw, err := workCodec.Encode(workNote{m.numbers, do})
	if err != nil {
		panic(err)
	}
	raw.Metadata.ID = id(m.random)
	return raw
}

// draw returns a random number. It is safe for concurrent use.
func (m *team) draw() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.Uint64()
}

// any returns a random stream. It is safe for concurrent use.
func (m *team) any() event.Stream { return stream(m.draw() % uint64(m.streams)) }

// append appends an event, with as many plain ones behind it. It is safe for
// concurrent use.
func (m *team) append(to event.Stream, do string, more int) {
	m.Helper()
	m.mu.Lock()
	write := eventstore.Write{Stream: to, Events: []event.Raw{m.work(do)}}
	for range more {
		write.Events = append(write.Events, m.work(""))
	}
	m.mu.Unlock()
	a := m.history.Begin(write)
	res, err := m.db.Append(m.ctx, to, write.Expect, write.Events...)
	a.End([]eventstore.Result{res}, err)
	if err != nil && m.ctx.Err() == nil {
		m.Error(err)
	}
}

// feed appends until it is stopped: what share of a thousand events stumbles is given.
func (m *team) feed(writers int, pace time.Duration, stumble int) (stop func()) {
	ctx, cancel := context.WithCancel(m.ctx)
	var writing sync.WaitGroup
	for i := range writers {
		r := random(m.draw(), i)
		writing.Go(func() {
			for moment(ctx, r, pace) {
				do := ""
				if r.IntN(1000) < stumble {
					do = doStumble
				}
				m.append(stream(r.Uint64N(uint64(m.streams))), do, r.IntN(3))
			}
		})
	}
	return func() {
		cancel()
		writing.Wait()
	}
}

// account tells what has become of each event of the projection, at one moment.
func (m *team) account(ctx context.Context) (oracle.Account, error) {
	a := oracle.Account{Name: tallies}
	tx, err := m.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return a, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	marks, err := collect(ctx, tx, `SELECT part, position FROM annals.checkpoints WHERE name = $1`, tallies)
	if err != nil {
		return a, err
	}
	reached := map[string]int64{}
	for _, row := range marks {
		reached[row[0].(string)] = row[1].(int64)
	}
	held, err := collect(ctx, tx, `
SELECT i.seq, p.key, p.error
FROM annals.parked_items i
JOIN annals.parked p USING (name, part, key)
WHERE i.name = $1`, tallies)
	if err != nil {
		return a, err
	}
	why := map[int64]oracle.Parked{}
	for _, row := range held {
		why[row[0].(int64)] = oracle.Parked{Key: row[1].(string), Reason: row[2].(string)}
	}
	events, err := collect(ctx, tx, `SELECT position, event_id, category || '-' || stream_id FROM annals.events`)
	if err != nil {
		return a, err
	}
	for _, row := range events {
		position, id, stream := row[0].(int64), event.ID(row[1].([16]byte)), row[2].(string)
		a.Events = append(a.Events, id)
		if p, parked := why[position]; parked {
			p.ID = id
			a.Parked = append(a.Parked, p)
		}
		if position > reached[worker.SegmentNames(m.args.Segments)[worker.SegmentOf(stream, m.args.Segments)]] {
			a.Pending = append(a.Pending, id)
		}
	}
	done, err := collect(ctx, tx, `SELECT event_id FROM handled`)
	for _, row := range done {
		a.Delivered = append(a.Delivered, event.ID(row[0].([16]byte)))
	}
	return a, err
}

func collect(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([][]any, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}

// accounted holds the projection to account, again and again until it is stopped.
func (m *team) accounted() (stop func()) {
	ctx, cancel := context.WithCancel(m.ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		looks := 0
		for wait := time.Duration(0); ctx.Err() == nil; looks++ {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			began := time.Now()
			a, err := m.account(ctx)
			if err != nil && ctx.Err() == nil {
				m.Errorf("look at the events: %v", err)
			}
			if err == nil && !m.found(oracle.Accounted(a)) {
				return
			}
			wait = 200*time.Millisecond + 5*time.Since(began)
		}
		m.Logf("each event was accounted for, %d times", looks)
	})
	return func() {
		cancel()
		looking.Wait()
	}
}

func (m *team) found(findings []oracle.Finding) bool {
	m.Helper()
	for _, f := range findings {
		m.Error(f)
	}
	return len(findings) == 0
}

// parked returns what is parked, by key.
func (m *team) parked() map[string]worker.Parked {
	m.Helper()
	all, err := m.db.Parked(m.ctx, worker.ParkedQuery{Name: tallies})
	if err != nil {
		m.Fatal(err)
	}
	out := map[string]worker.Parked{}
	for _, p := range all {
		out[p.Key.Key] = p
	}
	return out
}

// judge judges all after the last fault: what is not in but has to be there. The
// streams in except are parked for good, from a version on.
func (m *team) judge(except map[string]event.Version) {
	m.Helper()
	judge(m.T, m.ctx, m.history, m.pool, m.db)
	stored := committed(m.T, m.pool)
	applied := slices.DeleteFunc(slices.Clone(stored), func(e oracle.Event) bool {
		from, ok := except[e.Stream.String()]
		return ok && e.Version >= from
	})
	a, err := m.account(m.ctx)
	if err != nil {
		m.Fatal(err)
	}
	m.found(slices.Concat(
		oracle.Effects("tallied", applied, count, m.tallied()),
		oracle.Effects("handled", applied, inOrder, m.handled()),
		oracle.Accounted(a), chain(m.T, m.ctx, m.pool),
	))
	if len(a.Pending) > 0 {
		m.Errorf("%d events are pending at the end", len(a.Pending))
	}
	if m.args.Relay {
		again, broker := oracle.Published(stored, nil, m.published(), 0.9)
		m.found(broker)
		m.Logf("%.3f of the messages came again", again)
	}
}

func (m *team) tallied() map[string]int64 {
	m.Helper()
	rows, err := m.pool.Query(m.ctx, `SELECT stream, n FROM tallied`)
	if err != nil {
		m.Fatal(err)
	}
	out := map[string]int64{}
	var s string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&s, &n}, func() error {
		out[s] = n
		return nil
	}); err != nil {
		m.Fatal(err)
	}
	return out
}

// handled tells for each stream in which order its events were applied.
func (m *team) handled() map[string]string {
	m.Helper()
	rows, err := m.pool.Query(m.ctx, `SELECT stream, version FROM handled ORDER BY n`)
	if err != nil {
		m.Fatal(err)
	}
	last, wrong := map[string]int64{}, map[string]string{}
	var s string
	var v int64
	if _, err := pgx.ForEachRow(rows, []any{&s, &v}, func() error {
		if v != last[s]+1 && wrong[s] == "" {
			wrong[s] = fmt.Sprintf("out of order: version %d behind %d", v, last[s])
		}
		last[s] = v
		return nil
	}); err != nil {
		m.Fatal(err)
	}
	for s, v := range last {
		if wrong[s] == "" {
			wrong[s] = fmt.Sprint("1 to ", v)
		}
	}
	return wrong
}

func (m *team) published() []oracle.Message {
	m.Helper()
	if len(m.args.Brokers) > 0 {
		return messagesIn(m.T, m.ctx, m.args.Brokers, topics...)
	}
	rows, err := m.pool.Query(m.ctx, `SELECT topic, key, event_id, version FROM broker ORDER BY n`)
	if err != nil {
		m.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p oracle.Message, err error) {
		return p, row.Scan(&p.Topic, &p.Key, (*[16]byte)(&p.ID), (*int64)(&p.Version))
	})
	if err != nil {
		m.Fatal(err)
	}
	return out
}

// workerPoints are the crash points that workers pass, but for consumers.
func workerPoints(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(crashPoints(t), func(name string) bool {
		return strings.HasPrefix(name, "bus.consumer.") || strings.HasPrefix(name, "postgres.") && !strings.HasPrefix(name, "postgres.advance.")
	})
}
