//go:build unix

package scenario_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/projection"
)

// What the process of the limits may take.
const (
	mostMemory  = 200 // megabytes, resident, at any time
	softMemory  = "GOMEMLIMIT=128MiB"
	mostLatency = time.Second // of a read across a gap
	gap         = 50_000_000  // positions
	largeEvents = 252         // of the largest payload: more than the process may take
)

// measured is what the process tells of itself.
type measured struct {
	Megabytes   int64
	GapMillis   int64 // the slowest read across the gap
	QueueMillis int64 // the slowest call of many with few connections
}

// A process with little memory meets every limit: the largest payloads and
// appends and what is beyond them, long streams, a gap of positions, and many
// callers with few connections. It gets typed errors, nothing is half done, and
// its memory is bounded.
func TestFaultLimits(t *testing.T) {
	t.Parallel()
	url, h := postgrestest.URL(t, crewTables), oracle.New()
	var m measured
	child, err := harness.Start(h, harness.Command{
		Program: childProgram(t), Mode: "limits", Args: crewArgs{URL: url, Seed: seed(t)}, Env: []string{softMemory},
		Told: func(_ string, data json.RawMessage) {
			if err := json.Unmarshal(data, &m); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Kill() })
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(*timeFlag + 3*patience):
		err = errors.Join(errors.New("it hangs"), child.Kill())
	}
	if err != nil {
		t.Error(err)
	}
	for _, found := range [][]oracle.Finding{
		oracle.Bounded("megabytes of the process", m.Megabytes, mostMemory),
		oracle.Bounded("milliseconds of a read across a gap", m.GapMillis, mostLatency.Milliseconds()),
		oracle.Bounded("milliseconds of a call with few connections", m.QueueMillis, 10_000),
	} {
		for _, f := range found {
			t.Error(f)
		}
	}
	t.Logf("%+v", m)
	if m.Megabytes == 0 {
		t.Error("the process has told nothing")
	}
	// Not judge, which reads as large as it can.
	pool := connect(t, url, 2)
	stored := committed(t, pool)
	for _, f := range h.Check(stored) {
		t.Error(f)
	}
	for _, f := range oracle.Effects("counted", stored, func(model map[string]int64, e oracle.Event) {
		if e.Name == "crew.noted" {
			model[e.Stream.String()]++
		}
	}, countedNow(t, pool)) {
		t.Error(f)
	}
}

// limits is the process.
type limits struct {
	url  string
	db   *postgres.DB
	pool *pgxpool.Pool
	to   *oracle.Recorder
	measured
}

func limitsAsChild(ctx context.Context, to *oracle.Recorder, text json.RawMessage) error {
	var args crewArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, args.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	l := &limits{url: args.URL, db: postgres.New(pool, postgres.WithLogger(silent)), pool: pool, to: to}
	var all error
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"payloads", l.payloads}, {"appends", l.appends}, {"gap", l.gap},
		{"queue", func(ctx context.Context) error { return l.queue(ctx, random(args.Seed, 0)) }},
	} {
		if err := step.do(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	if l.Megabytes, err = peakMemory(); err != nil {
		all = errors.Join(all, err)
	}
	to.Tell("measured", l.measured)
	return all
}

// peakMemory is the most that was resident, in megabytes.
func peakMemory() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes >> 10, err
}

func bomb(id string, payloads ...[]byte) eventstore.Write {
	w := eventstore.Write{Stream: event.Stream{Category: "bomb", ID: id}}
	for _, p := range payloads {
		e := event.Raw{Name: "bomb.noted", Schema: 1, ContentType: "application/octet-stream", Payload: p}
		e.Metadata.ID = event.NewID()
		w.Events = append(w.Events, e)
	}
	return w
}

func (l *limits) append(ctx context.Context, w eventstore.Write) (eventstore.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a := l.to.Begin(w)
	res, err := l.db.Append(ctx, w.Stream, w.Expect, w.Events...)
	a.End([]eventstore.Result{res}, err)
	return res, err
}

func (l *limits) payloads(ctx context.Context) error {
	large := bytes.Repeat([]byte{0xff, 0}, eventstore.MaxPayloadBytes/2)
	for name, p := range map[string][]byte{
		"NUL": {0}, "no UTF-8": {0xc3, 0x28, 0xff}, "nothing": nil, "empty": {},
		"just below": large[1:], "at the limit": large,
	} {
		w := bomb("payload", p)
		res, err := l.append(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for e, err := range l.db.ReadStream(ctx, w.Stream, eventstore.StreamQuery{From: res.Version, Limit: 1}) {
			if err != nil || !bytes.Equal(e.Payload, p) {
				return fmt.Errorf("%s: %d bytes came back as %d, %w", name, len(p), len(e.Payload), err)
			}
		}
	}
	for name, n := range map[string]int{"one more": eventstore.MaxPayloadBytes + 1, "300 MB": 300 << 20} {
		w := bomb("payload", make([]byte, n)) // touched by nobody, so it takes no memory
		if _, err := l.db.Append(ctx, w.Stream, w.Expect, w.Events...); !errors.Is(err, eventstore.ErrLimit) {
			return fmt.Errorf("%s: %w, want ErrLimit", name, err)
		}
	}
	for _, id := range []string{"a\x00b", "a\xffb", strings.Repeat("x", 1<<20)} {
		var name *event.NameError
		if _, err := l.append(ctx, bomb(id, nil)); !errors.As(err, &name) {
			return fmt.Errorf("a stream of %d bytes: %w, want a NameError", len(id), err)
		}
	}
	_, err := l.append(ctx, bomb("payload", []byte("still usable")))
	return err
}

// appends makes the largest ones, and reads more than fits into memory.
func (l *limits) appends(ctx context.Context) error {
	const long = 10 * eventstore.MaxEvents
	for range long / eventstore.MaxEvents {
		if _, err := l.append(ctx, bomb("long", make([][]byte, eventstore.MaxEvents)...)); err != nil {
			return err
		}
	}
	if _, err := l.append(ctx, bomb("long", make([][]byte, eventstore.MaxEvents+1)...)); !errors.Is(err, eventstore.ErrLimit) {
		return fmt.Errorf("%d events: %w, want ErrLimit", eventstore.MaxEvents+1, err)
	}
	payload := make([]byte, eventstore.MaxPayloadBytes)
	at := eventstore.MaxAppendBytes / eventstore.MaxPayloadBytes
	for range largeEvents / at {
		if _, err := l.append(ctx, bomb("large", slicesOf(payload, at)...)); err != nil {
			return err
		}
	}
	if _, err := l.append(ctx, bomb("large", slicesOf(payload, at+1)...)); !errors.Is(err, eventstore.ErrLimit) {
		return fmt.Errorf("%d large events: %w, want ErrLimit", at+1, err)
	}
	for id, want := range map[string]int{"long": long, "large": largeEvents / at * at} {
		n := 0
		for e, err := range l.db.ReadStream(ctx, event.Stream{Category: "bomb", ID: id}, eventstore.StreamQuery{}) {
			if n++; err != nil || e.Version != event.Version(n) {
				return fmt.Errorf("read %s: version %d, want %d: %w", id, e.Version, n, err)
			}
		}
		if n != want {
			return fmt.Errorf("read %s: %d events, want %d", id, n, want)
		}
	}
	for _, q := range []eventstore.LogQuery{{Limit: 1 << 30}, {Names: []string{"bomb.noted"}, Limit: 1 << 30}} {
		for _, err := range eventstore.All(ctx, l.db, q) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func slicesOf(payload []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = payload
	}
	return out
}

// gap makes one of many positions, and reads across it.
func (l *limits) gap(ctx context.Context) error {
	head, err := l.db.Head(ctx)
	if err != nil {
		return err
	}
	if _, err := l.pool.Exec(ctx, `SELECT setval('annals.events_position_seq', $1)`, int64(head)+gap); err != nil {
		return err
	}
	if _, err := l.append(ctx, bomb("behind", []byte("behind the gap"))); err != nil {
		return err
	}
	for _, q := range []eventstore.LogQuery{{}, {Categories: []string{"bomb"}}, {Names: []string{"bomb.noted"}}} {
		q.After = head
		began := time.Now()
		page, err := l.db.ReadLog(ctx, q)
		l.GapMillis = max(l.GapMillis, time.Since(began).Milliseconds())
		if err != nil || len(page.Events) != 1 || page.Next != head+gap+1 {
			return fmt.Errorf("read %+v: %d events up to %d: %w", q, len(page.Events), page.Next, err)
		}
	}
	return nil
}

// queue has many callers, and two projections, share two connections.
func (l *limits) queue(ctx context.Context, r *rand.Rand) error {
	config, err := pgxpool.ParseConfig(l.url)
	if err != nil {
		return err
	}
	config.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	c := crew{crewArgs: crewArgs{Streams: "q"}, pool: pool, db: postgres.New(pool, postgres.WithLogger(silent)), to: l.to, began: time.Now()}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var working, calling sync.WaitGroup
	var mu sync.Mutex
	var all error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		all = errors.Join(all, err)
	}
	for range 2 { // of one name, so that they also wait for each other
		working.Go(func() {
			err := counted.Run(running, c.db, projection.WithBatch(25), projection.WithRetry(patient), projection.WithLogger(silent))
			if err != nil {
				fail(err)
			}
		})
	}
	for i := range 64 {
		r := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		calling.Go(func() {
			for range 20 {
				raw, err := crewCodec.Encode(crewNote{r.Uint64()})
				if err != nil {
					fail(err)
					return
				}
				raw.Metadata.ID = event.NewID()
				w := eventstore.Write{Stream: c.stream(r), Events: []event.Raw{raw}}
				began := time.Now()
				c.resolve(ctx, r, []eventstore.Write{w}, map[event.Stream]event.Version{})
				took := time.Since(began).Milliseconds()
				mu.Lock()
				l.QueueMillis = max(l.QueueMillis, took)
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	if err := counted.CatchUp(ctx, c.db, projection.WithRetry(patient), projection.WithLogger(silent)); err != nil {
		fail(err)
	}
	cancel()
	working.Wait()
	return all
}
