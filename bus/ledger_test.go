package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// process is what one process has of a store and a broker with a ledger: it calls at
// before and after each step, and can be frozen there.
type process struct {
	*memory.DB
	ledger *memory.Ledger
	at     func(step string) error // an error takes the place of the step, or of its answer
	frozen atomic.Bool             // it gives no sign of life
}

func newProcess(db *memory.DB, b *memory.Broker, at func(step string) error) *process {
	return &process{DB: db, ledger: b.Ledger(), at: at}
}

func (p *process) step(name string, do func() error) error {
	if err := p.at(name + " before"); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, p.at(name+" after"))
}

func (p *process) Renew(ctx context.Context, r worker.Renewal) (worker.Roster, error) {
	if p.frozen.Load() {
		return worker.Roster{}, errBroker
	}
	return p.DB.Renew(ctx, r)
}

func (p *process) Checkpoint(ctx context.Context, name string) (c worker.Checkpoint, err error) {
	err = p.step("checkpoint", func() error {
		c, err = p.DB.Checkpoint(ctx, name)
		return err
	})
	return c, err
}

func (p *process) Parked(ctx context.Context, q worker.ParkedQuery) (all []worker.Parked, err error) {
	err = p.step("parked", func() error {
		all, err = p.DB.Parked(ctx, q)
		return err
	})
	return all, err
}

func (p *process) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	return p.step("save", func() error { return p.DB.Save(ctx, name, term, w) })
}

// ledgerOf is the ledger of a process.
type ledgerOf struct {
	*memory.Ledger
	p *process
}

func (l ledgerOf) Open(ctx context.Context, relay string) (cursor []byte, err error) {
	err = l.p.step("open", func() error {
		cursor, err = l.Ledger.Open(ctx, relay)
		return err
	})
	return cursor, err
}

func (l ledgerOf) Commit(ctx context.Context, ms []bus.Message, cursor []byte) error {
	for _, m := range ms {
		if string(m.Value) == "refused" {
			return worker.Permanent(errors.New("message is refused"))
		}
	}
	return l.p.step("commit", func() error { return l.Ledger.Commit(ctx, ms, cursor) })
}

func (p *process) relay(opts ...bus.RelayOption) *bus.Relay {
	all := []bus.RelayOption{silent, bus.WithBatch(3), bus.WithTimeout(time.Hour), bus.WithRetry(worker.Retry{Base: 1, Cap: time.Second, Attempts: 3})}
	return bus.NewRelay(p, ledgerOf{p.ledger, p}, append(all, opts...)...)
}

func never(string) error { return nil }

// wantOnce wants the events in the topic once each, and each stream in order.
func wantOnce(t *testing.T, b *memory.Broker, topic string, n int) {
	t.Helper()
	got := map[event.Position]int{}
	for _, p := range b.Messages(topic) {
		last := map[string]event.Version{}
		for _, m := range p {
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			if got[e.Position]++; e.Version != last[e.Stream.ID]+1 {
				t.Errorf("%s comes after version %d", e, last[e.Stream.ID])
			}
			last[e.Stream.ID] = e.Version
		}
	}
	want := map[event.Position]int{}
	for i := range n {
		want[event.Position(i+1)] = 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("how often each is published: %s", diff)
	}
}

func appendMany(t *testing.T, db *memory.DB, n int) {
	t.Helper()
	for i := range n {
		appendNotes(t, db, fmt.Sprint("order-", i%3), 1)
	}
}

// recorder lists steps, each as "name when:n".
type recorder struct {
	mu  sync.Mutex
	n   map[string]int
	all []string
}

func (r *recorder) add(step string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = map[string]int{}
	}
	r.n[step]++
	r.all = append(r.all, fmt.Sprint(step, ":", r.n[step]))
	return r.all[len(r.all)-1]
}

func (r *recorder) record(step string) error {
	r.add(step)
	return nil
}

// inStep calls do at one step.
func inStep(which string, do func() error) func(string) error {
	var steps recorder
	return func(step string) error {
		if steps.add(step) == which {
			return do()
		}
		return nil
	}
}

// parksOnce fails to map an event the first time.
func parksOnce(at event.Position) bus.Option {
	failed := false
	return bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		if r.Position == at && !failed {
			failed = true
			return bus.Message{}, false, errUnmapped
		}
		m, err := bus.MessageOf("annals.order", r)
		return m, true, err
	})
}

// A relay ends at any step, or an answer is lost there; another one goes on. Some events
// are parked and drain meanwhile, and one key waits for somebody.
func TestLedgerAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	const n = 20
	crashed := errors.New("crashed")
	run := func(t *testing.T, at func(string) error) {
		synctest.Test(t, func(t *testing.T) {
			db, broker := memory.New(), memory.NewBroker(2)
			appendMany(t, db, n)
			down := false
			first := newProcess(db, broker, func(step string) error {
				if down {
					return crashed
				}
				if err := at(step); err != nil {
					down = true
					return err
				}
				return nil
			})
			mapper := parksOnce(8)
			if err := first.relay(mapper).Drain(t.Context()); err != nil && !errors.Is(err, crashed) && !errors.Is(err, worker.ErrParked) {
				t.Errorf("Drain = %v", err)
			}
			after(time.Minute) // its lease runs out
			settleAll(t, db, newProcess(db, broker, never).relay(mapper))
			wantOnce(t, broker, "annals.order", n)
		})
	}
	var undisturbed recorder
	run(t, undisturbed.record)
	if undisturbed.n["commit after"] < 6 {
		t.Fatalf("steps %v: want more commits", undisturbed.all)
	}
	for _, step := range undisturbed.all {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			run(t, inStep(step, func() error { return crashed }))
		})
	}
}

// settleAll drains, and retries what waits.
func settleAll(t *testing.T, db *memory.DB, r *bus.Relay) {
	t.Helper()
	err := r.Drain(t.Context())
	if errors.Is(err, worker.ErrParked) {
		a := worker.Amender{Store: db, Name: r.Name(), Actor: "ada"}
		if _, err := a.RetryAll(t.Context(), 1000, nil, nil); err != nil {
			t.Fatal(err)
		}
		err = r.Drain(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	wantParked(t, db)
}

// An answer is lost at any step, done or not done, or there is a panic, and the same relay
// goes on.
func TestLedgerGoesOnByItself(t *testing.T) {
	t.Parallel()
	const n = 20
	lost := errors.New("the answer is lost")
	run := func(t *testing.T, at func(string) error) {
		synctest.Test(t, func(t *testing.T) {
			db, broker := memory.New(), memory.NewBroker(2)
			appendMany(t, db, n)
			settleAll(t, db, newProcess(db, broker, at).relay(parksOnce(8)))
			wantOnce(t, broker, "annals.order", n)
		})
	}
	var undisturbed recorder
	run(t, undisturbed.record)
	for _, step := range undisturbed.all {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			run(t, inStep(step, func() error { return lost }))
		})
		if strings.HasPrefix(step, "commit") {
			t.Run("panic "+step, func(t *testing.T) {
				t.Parallel()
				run(t, inStep(step, func() error { panic(lost) }))
			})
		}
	}
}

// A relay is frozen at any step until another one has taken over and published more, and
// wakes while that one runs.
func TestLedgerWhenOneWakes(t *testing.T) {
	t.Parallel()
	const n = 12
	run := func(t *testing.T, at func(string) error, freeze func(p *process, takeOver func())) {
		synctest.Test(t, func(t *testing.T) {
			db, broker := memory.New(), memory.NewBroker(2)
			appendMany(t, db, n)
			mapper := parksOnce(5)
			var endSecond func()
			first := newProcess(db, broker, at)
			freeze(first, func() {
				first.frozen.Store(true)
				endSecond = start(t, newProcess(db, broker, never).relay(mapper))
				<-time.After(time.Minute)
				appendMany(t, db, 6)
				<-time.After(time.Minute)
				first.frozen.Store(false)
			})
			endFirst := start(t, first.relay(mapper))
			after(5 * time.Minute)
			appendMany(t, db, 6)
			after(5 * time.Minute)
			endFirst()
			if endSecond != nil {
				endSecond()
			}
			settleAll(t, db, newProcess(db, broker, never).relay(mapper))
			if endSecond == nil {
				wantOnce(t, broker, "annals.order", n+6)
				return
			}
			wantOnce(t, broker, "annals.order", n+12)
		})
	}
	var undisturbed recorder
	run(t, undisturbed.record, func(*process, func()) {})
	for _, step := range undisturbed.all {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			var wake func()
			run(t, inStep(step, func() error {
				wake()
				return nil
			}), func(_ *process, takeOver func()) { wake = takeOver })
		})
	}
}
