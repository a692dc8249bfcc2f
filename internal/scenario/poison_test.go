//go:build unix

package scenario_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// doGarble is an event whose payload is no JSON.
const doGarble = "garble"

var poisons = []string{doGarble, doPanic, doRefuse, doFail, doHang, doGoexit}

// lenient takes what is no JSON for an empty note: it is the fix of doGarble.
type lenient struct{ codec.Format }

func (l lenient) Unmarshal(name string, schema int, data []byte, into any) error {
	if !json.Valid(data) {
		return nil
	}
	return l.Format.Unmarshal(name, schema, data, into)
}

var lenientCodec = codec.New(lenient{codec.JSONFormat()}, codec.Types[workEvent]{"work.noted": workNote{}})

// hasty gives up soon.
var hasty = worker.Retry{Attempts: 4, Base: 5 * time.Millisecond, Cap: 50 * time.Millisecond}

// poison appends to a stream: two fine events, a bad one, and more behind it.
func (m *team) poison(s event.Stream, do string, more int) {
	m.Helper()
	m.append(s, "", 1)
	if do != doGarble {
		m.append(s, do, more)
		return
	}
	m.mu.Lock()
	garbled := m.work("")
	garbled.Payload = []byte("{")
	write := eventstore.Write{Stream: s, Events: []event.Raw{garbled}}
	for range more {
		write.Events = append(write.Events, m.work(""))
	}
	m.mu.Unlock()
	a := m.history.Begin(write)
	res, err := m.db.Append(m.ctx, s, write.Expect, write.Events...)
	a.End([]eventstore.Result{res}, err)
	if err != nil {
		m.Fatal(err)
	}
}

func hastily(do string, more ...projection.Option) []projection.Option {
	timeout := 10 * time.Second
	if do == doHang {
		timeout = 300 * time.Millisecond
	}
	return append([]projection.Option{
		projection.WithBatch(50), projection.WithRetry(hasty), projection.WithTimeout(timeout), projection.WithLogger(silent), projection.WithLease(time.Second),
	}, more...)
}

// One event of one stream is poison, in all the ways there are. The stream is parked,
// behind its first two events, and the others go on. Once the handler is fixed the
// stream is applied in its order, while events are appended to it all the time.
func TestFaultPoison(t *testing.T) {
	t.Parallel()
	for _, do := range poisons {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			m := newTeam(t, *timeFlag, workerArgs{Segments: 1})
			bad := event.Stream{Category: "order", ID: "bad"}
			stopFeeding, stopLooking := m.feed(2, 20*time.Millisecond, 0), m.accounted()
			m.poison(bad, do, 30)

			var fixed atomic.Bool
			run := func(c *codec.Codec[workEvent]) (stop func()) {
				p := projection.New("tallies", projection.On(c, func(ctx context.Context, tx pgx.Tx, e event.Of[workEvent]) error {
					if err := tally1(ctx, tx, e); err != nil || fixed.Load() {
						return err
					}
					return e.Data.(workNote).do(ctx)
				}))
				ctx, cancel := context.WithCancel(m.ctx)
				ended := make(chan error, 1)
				go func() { ended <- p.Run(ctx, m.db, hastily(do)...) }()
				return func() {
					cancel()
					if err := <-ended; err != nil {
						t.Errorf("Run = %v", err)
					}
				}
			}
			stop := run(workCodec)
			eventually(t, "the stream is parked", func() bool {
				p, ok := m.parked()[bad.String()]
				return ok && p.State == worker.Waiting
			})
			for range 20 {
				m.append(bad, "", 4) // while it is parked
			}
			lagging := time.Now()
			eventually(t, "the others go on", func() bool { return m.pending() < 100 })
			t.Logf("parked: %q; the others are at the head within %v", m.parked()[bad.String()].Error, time.Since(lagging).Round(time.Millisecond))
			if got := m.handled()[bad.String()]; got != "1 to 2" {
				t.Errorf("of the parked stream, %s was applied, want 1 to 2", got)
			}
			if len(m.parked()) != 1 {
				t.Errorf("parked are %+v, want only %s", m.parked(), bad)
			}

			if fixed.Store(true); do == doGarble {
				stop()
				stop = run(lenientCodec)
			}
			appending, cancel := context.WithCancel(m.ctx)
			behind := make(chan struct{})
			go func() { // while it drains, and at the switch back
				defer close(behind)
				for r := random(1, 1); moment(appending, r, 10*time.Millisecond); {
					m.append(bad, "", r.IntN(3))
				}
			}()
			amender := worker.Amender{Store: m.db, Name: tallies, Actor: "the test"}
			if n, err := amender.RetryParked(m.ctx, 0, worker.Key{Key: bad.String()}); n != 1 || err != nil {
				t.Errorf("RetryParked = %d, %v", n, err)
			}
			eventually(t, "the stream is not parked any more", func() bool { return len(m.parked()) == 0 })
			moment(m.ctx, random(1, 2), *timeFlag/10)
			cancel()
			<-behind
			stopFeeding()
			healed := time.Now()
			_, late := oracle.Progress(healed, healTime, drained(t, m.pool, healed)...)
			m.found(late)
			stopLooking()
			stop()
			m.judge(nil)
		})
	}
}

// pending is how many positions the projection is behind the head.
func (m *team) pending() int64 {
	m.Helper()
	all, err := lags(m.T, m.pool)
	if err != nil {
		m.Fatal(err)
	}
	if len(all) == 0 {
		return 1 << 40
	}
	return slices.MaxFunc(all, func(a, b oracle.Lag) int { return int(a.Lag - b.Lag) }).Lag
}

// One event of one stream is poison. The events of all others take effect about as
// quickly as without it: both are run in turn, and compared.
func TestFaultPoisonSlowsNobody(t *testing.T) {
	t.Parallel()
	const events, rounds = 6000, 2
	m := newTeam(t, patience, workerArgs{Segments: 1})
	run(t, m.pool, `CREATE TABLE trial (run text, stream text, n bigint, PRIMARY KEY (run, stream))`)
	for n := 0; n < events; n += 10 {
		m.append(m.any(), "", 9)
	}
	streams := map[string]event.Stream{}
	for _, do := range poisons {
		if do != doGarble { // its cost is that of doRefuse
			streams[do] = event.Stream{Category: "order", ID: "with " + do}
			m.poison(streams[do], do, 20)
		}
	}
	for n := 0; n < events; n += 10 {
		m.append(m.any(), "", 9)
	}
	number := 0
	took := func(do string, poisoned bool) time.Duration {
		number++
		name := "trial-" + string(rune('a'+number%26)) + do
		if poisoned {
			name += "-poisoned"
		}
		others, ready := atomic.Int64{}, make(chan struct{})
		p := projection.New(name, projection.On(workCodec, func(ctx context.Context, tx pgx.Tx, e event.Of[workEvent]) error {
			if _, err := tx.Exec(ctx, `
INSERT INTO trial (run, stream, n)
VALUES ($1, $2, 1)
ON CONFLICT (run, stream) DO UPDATE SET n = trial.n + 1`, name, e.Stream.String()); err != nil {
				return err
			}
			if poisoned && e.Stream == streams[do] {
				return e.Data.(workNote).do(ctx)
			}
			return nil
		}))
		ctx, cancel := context.WithCancel(m.ctx)
		ended, began := make(chan error, 1), time.Now()
		go func() {
			ended <- p.Run(ctx, m.db, hastily(do, projection.WithHooks(worker.Hooks{Applied: func(a worker.Applied) {
				n := 0
				for _, e := range a.Events {
					if e.Stream.ID[0] != 'w' {
						n++
					}
				}
				if all := others.Add(int64(n)); all == 2*events && n > 0 {
					close(ready)
				}
			}}))...)
		}()
		select {
		case <-ready:
		case <-time.After(patience):
			t.Errorf("%s: %d events of other streams after %v, want %d", name, others.Load(), patience, 2*events)
		}
		d := time.Since(began)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		return d
	}
	for do := range streams {
		var clean, poisoned time.Duration
		for range rounds {
			clean += took(do, false)
			poisoned += took(do, true)
		}
		ratio := clean.Seconds() / poisoned.Seconds()
		t.Logf("%s: the other streams have %.2f of their speed (%.0f and %.0f events a second): %v in all for one poison in %d events",
			do, ratio, rounds*2*events/clean.Seconds(), rounds*2*events/poisoned.Seconds(), ((poisoned - clean) / rounds).Round(time.Millisecond), 2*events)
		if ratio < 0.5 {
			t.Errorf("%s: the other streams have %.2f of their speed, want about 0.9 and at least 0.5", do, ratio)
		}
	}
}
