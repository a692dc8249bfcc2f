package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sony "github.com/sony/gobreaker/v2"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
	"github.com/annals-go/annals/worker/gobreaker"
)

// The load of an outage: so many events a second over so many streams.
const (
	outageRate    = 10
	outageStreams = 50
	outageTime    = 2 * time.Hour
)

// dependency is what the handler of each event calls.
type dependency struct {
	mu      sync.Mutex
	began   time.Time
	down    bool
	err     error
	most    int         // calls while it is down; then it is up again
	failed  int         // calls while it was down
	asked   int         // how often a breaker was asked while it was down
	seconds map[int]int // calls in each second
}

func (d *dependency) call(ctx context.Context) error {
	d.mu.Lock()
	d.seconds[int(time.Since(d.began)/time.Second)]++
	down := d.down
	if down {
		if d.failed++; d.failed > d.most {
			d.down = false // it has failed the test, which need not take long
		}
	}
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
	}
	if down {
		return d.err
	}
	return nil
}

// asking is a breaker that counts how often it is asked.
type asking struct {
	worker.Breaker
	of *dependency
}

func (a asking) Allow() (done func(error), err error) {
	a.of.mu.Lock()
	if a.of.down {
		if a.of.asked++; a.of.asked > a.of.most {
			a.of.down = false
		}
	}
	a.of.mu.Unlock()
	return a.Breaker.Allow()
}

func (d *dependency) set(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// peak is the most calls of one second since a time.
func (d *dependency) peak(since time.Time) (most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for second, n := range d.seconds {
		if second >= int(since.Sub(d.began)/time.Second) {
			most = max(most, n)
		}
	}
	return most
}

// subject is a reader that depends on something. It returns how to run it, and the name of
// its checkpoint. Of those of one store, each has another name.
type subject func(db *memory.DB, d *dependency, name string, hooks worker.Hooks) (run func(context.Context) error, checkpoint string)

// projecting is a projection with handlers that depend on something.
func projecting(opts ...projection.Option) subject {
	return func(db *memory.DB, d *dependency, name string, hooks worker.Hooks) (func(context.Context) error, string) {
		p := projection.New(name, projection.On(workCodec, func(ctx context.Context, _ *memory.Tx, _ event.Of[workEvent]) error { return d.call(ctx) }))
		return func(ctx context.Context) error {
			return p.Run(ctx, db, append([]projection.Option{projection.WithLogger(silent), projection.WithHooks(hooks)}, opts...)...)
		}, p.Name()
	}
}

// relayingTo is a relay to a broker that is away.
func relayingTo(more func(*dependency) []bus.RelayOption) subject {
	return func(db *memory.DB, d *dependency, name string, hooks worker.Hooks) (func(context.Context) error, string) {
		opts := append([]bus.RelayOption{bus.WithLogger(silent), bus.WithHooks(hooks), bus.WithName(name)}, more(d)...)
		r := bus.NewRelay(db, dependentBroker{memory.NewBroker(3), d}, opts...)
		return r.Run, r.Name()
	}
}

// dependentBroker is a broker that is away while the dependency is down.
type dependentBroker struct {
	*memory.Broker
	d *dependency
}

func (b dependentBroker) Publish(ctx context.Context, messages []bus.Message) error {
	if err := b.d.call(ctx); err != nil {
		return err
	}
	return b.Broker.Publish(ctx, messages)
}

func (b dependentBroker) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	if err := b.d.call(ctx); err != nil {
		return nil, err
	}
	return b.Broker.Topics(ctx, names...)
}

// consuming is a consumer with handlers that depend on something, behind a relay.
func consuming(db *memory.DB, d *dependency, name string, hooks worker.Hooks) (func(context.Context) error, string) {
	broker := memory.NewBroker(3)
	relay := bus.NewRelay(db, broker, bus.WithLogger(silent), bus.WithName(name))
	c := bus.NewConsumer(name, bus.On(workCodec, func(ctx context.Context, _ *memory.Tx, _ event.Of[workEvent]) error { return d.call(ctx) }))
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- relay.Run(ctx) }()
		err := c.Run(ctx, db, broker.Source(topics...), bus.WithLogger(silent), bus.WithHooks(hooks))
		cancel()
		return errors.Join(err, <-ended)
	}, c.Name()
}

// What all handlers depend on, or the broker of a relay, is down for two hours, while events
// come in as ever. Nothing is parked for it, retries add little load, and the recovery is no
// worse than the catch-up of a new reader. In virtual time.
func TestFaultLongOutage(t *testing.T) {
	t.Parallel()
	down := errors.New("the service is down")
	breaker := func(d *dependency) worker.Breaker {
		return asking{gobreaker.New(sony.Settings{Name: "service", Timeout: 10 * time.Second}), d}
	}
	for _, c := range []struct {
		name string
		err  error
		of   func(*dependency) subject
	}{
		{"nobody says what the error means", down, func(*dependency) subject { return projecting() }},
		{"systemic", worker.Systemic(down), func(*dependency) subject { return projecting() }},
		{"with a breaker", down, func(d *dependency) subject { return projecting(projection.WithBreaker(breaker(d))) }},
		{"with segments", down, func(*dependency) subject { return projecting(projection.WithSegments(4)) }},
		{"of the broker of a relay", down, func(*dependency) subject {
			return relayingTo(func(*dependency) []bus.RelayOption { return nil })
		}},
		{"of the broker of a relay with a breaker", down, func(*dependency) subject {
			return relayingTo(func(d *dependency) []bus.RelayOption { return []bus.RelayOption{bus.WithBreaker(breaker(d))} })
		}},
		{"of what a consumer depends on", down, func(*dependency) subject { return consuming }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { outage(t, c.err, c.of) })
		})
	}
}

func outage(t *testing.T, down error, of func(*dependency) subject) {
	t.Helper()
	const normal = int(outageRate * outageTime / time.Second)
	db := memory.New()
	d := &dependency{began: time.Now(), err: down, most: normal / 10, seconds: map[int]int{}}
	var (
		mu        sync.Mutex
		all, done []event.ID
		paused    int
	)
	start := func(name string, applied func(worker.Applied)) (func(context.Context) error, string) {
		return of(d)(db, d, name, worker.Hooks{Applied: applied, Paused: func(worker.Pause) {
			mu.Lock()
			defer mu.Unlock()
			paused++
		}})
	}
	run, checkpoint := start("outage", func(a worker.Applied) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range a.Events {
			done = append(done, e.Metadata.ID)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var going sync.WaitGroup
	going.Go(func() {
		if err := run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	r := random(1, 0)
	feed := func(during time.Duration) {
		for n := range int(outageRate * during / time.Second) {
			raw, err := workCodec.Encode(workNote{N: n})
			if err != nil {
				t.Fatal(err)
			}
			raw.Metadata.ID = id(r)
			to := stream(r.Uint64N(outageStreams))
			to.ID += fmt.Sprint("-", len(all)/(20*outageStreams)) // others from time to time, so that they stay short
			if _, err := db.Append(ctx, to, eventstore.Any(), raw); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			all = append(all, raw.Metadata.ID)
			mu.Unlock()
			<-time.After(time.Second / outageRate)
		}
	}
	parked := func(state worker.State) []worker.Parked {
		keys, err := db.Parked(ctx, worker.ParkedQuery{Name: checkpoint, State: state})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	lag := func() oracle.Lag {
		mu.Lock()
		defer mu.Unlock()
		return oracle.Lag{Name: "outage", At: time.Now(), Lag: int64(len(all) - len(done))}
	}

	feed(10 * time.Minute)
	d.set(true)
	feed(outageTime)
	d.set(false)
	up := time.Now()
	if got := parked(worker.Waiting); len(got) > 0 {
		t.Errorf("%d keys are parked for good, want none: %+v", len(got), got[0])
	}
	if d.failed > normal/10 {
		t.Errorf("%d calls during the outage, want at most %d, a tenth of what there is without", d.failed, normal/10)
	}
	if d.asked > normal/10 {
		t.Errorf("the breaker was asked %d times during the outage, want at most %d", d.asked, normal/10)
	}
	if paused == 0 {
		t.Error("the reader did not say that it pauses")
	}
	// A catch-up goes at 200 calls a second, beside 10 that come in.
	feed(15 * time.Minute)
	<-time.After(10 * time.Second)
	_, stalled := oracle.Progress(up, 16*time.Minute, lag())
	account := oracle.Account{Name: "outage", Events: all, Delivered: done}
	for _, p := range parked("") {
		t.Errorf("parked is %+v, want nothing", p)
	}
	for _, f := range slices.Concat(stalled, oracle.Accounted(account)) {
		t.Error(f)
	}
	recovery := d.peak(up)
	cancel()
	going.Wait()

	// The catch-up of a reader that is new, without an outage.
	began := time.Now().Add(time.Second)
	<-time.After(time.Second)
	ctx, cancel = context.WithCancel(t.Context())
	n := 0
	run, _ = start("new", func(a worker.Applied) {
		mu.Lock()
		defer mu.Unlock()
		if n += len(a.Events); n >= len(all) {
			cancel()
		}
	})
	if err := run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
	cancel()
	catchUp := d.peak(began)
	if recovery > 2*catchUp {
		t.Errorf("%d calls in one second of the recovery, want at most twice the %d of a catch-up without an outage", recovery, catchUp)
	}
	t.Logf("%d calls in the outage, %.4f of those without; at most %d a second in the recovery, %d in a catch-up; paused %d times",
		d.failed, float64(d.failed)/float64(normal), recovery, catchUp, paused)
}
