package bustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// InboxTarget is a store under test.
type InboxTarget[Tx any] struct {
	Store bus.InboxStore[Tx]
	// Now is the clock of the store: what is remembered later is remembered after it.
	Now func() time.Time
}

// RunInbox runs the conformance suite of bus.InboxStore; what worker.Store promises is
// in package workertest. Open is called once for each test and must return an empty
// store; tests run in parallel.
func RunInbox[Tx any](t *testing.T, open func(t *testing.T) InboxTarget[Tx]) {
	for name, test := range map[string]func(*testing.T, InboxTarget[Tx]){
		"a message is new once":                           newOnce[Tx],
		"what is given twice is new and then repeated":    givenTwice[Tx],
		"answers come in the order given":                 inOrderGiven[Tx],
		"ten thousand at once":                            tenThousand[Tx],
		"consumers are apart":                             consumersApart[Tx],
		"the id decides":                                  idDecides[Tx],
		"P6 remembered with the effect, or not at all":    rememberedWithEffect[Tx],
		"P6 the second of two waits for the first":        secondWaits[Tx],
		"P6 batches that overlap remember each once":      overlapping[Tx],
		"P10 a fenced term remembers nothing":             fencedRemembers[Tx],
		"P12 who waits gives up with its context":         waitEnds[Tx],
		"the oldest are forgotten first":                  oldestFirst[Tx],
		"nothing is forgotten":                            forgetsNothing[Tx],
		"P8 what may have been forgotten, by position":    forgottenByPosition[Tx],
		"P8 what may have been forgotten, by time":        forgottenByTime[Tx],
		"P8 of one topic only, and for one consumer":      forgottenApart[Tx],
		"P8 what was forgotten is known for ever":         forgottenForEver[Tx],
		"P8 what is forgotten meanwhile is not new":       forgottenMeanwhile[Tx],
		"P12 forgetting does not wait for who remembers":  forgetsBeside[Tx],
		"P15 times of records may be anything":            anyTime[Tx],
		"contexts that have ended":                        inboxEnded[Tx],
		"what is forgotten is at most what was asked for": forgetsAtMost[Tx],
		"what is remembered in a transaction is repeated": repeatedWithin[Tx],
		"what may have been forgotten is not remembered":  notRemembered[Tx],
		"P6 what was parked meanwhile is not forgotten":   heldIsNotForgotten[Tx],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const consumer = "totals"

var errEffect = errors.New("effect failed")

func at(p event.Position) bus.Identity {
	return bus.Identity{ID: event.NewID(), Topic: "shop.order", Position: p}
}

// positioned are n messages at the positions from first on.
func positioned(first event.Position, n int) []bus.Identity {
	out := make([]bus.Identity, n)
	for i := range out {
		out[i] = at(first + event.Position(i))
	}
	return out
}

func timed(t time.Time) bus.Identity {
	return bus.Identity{ID: event.NewID(), Topic: "shop.order", Time: t}
}

// within calls fn in the transaction of an advance of a part.
func within[Tx any](ctx context.Context, target InboxTarget[Tx], part string, fn func(ctx context.Context, remember func(consumer string, messages ...bus.Identity) ([]bus.Memory, error)) error) error {
	return target.Store.Advance(ctx, consumer, worker.Term{}, part, func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
		return worker.Write{}, fn(ctx, func(consumer string, messages ...bus.Identity) ([]bus.Memory, error) {
			return target.Store.RememberTx(ctx, tx, consumer, messages)
		})
	})
}

func rememberFor[Tx any](t *testing.T, target InboxTarget[Tx], consumer string, messages ...bus.Identity) (out []bus.Memory) {
	t.Helper()
	err := within(bounded(t), target, "p", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) (err error) {
		out, err = remember(consumer, messages...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// want remembers, and compares the answer. One of them stands for all.
func want[Tx any](t *testing.T, target InboxTarget[Tx], messages []bus.Identity, want ...bus.Memory) {
	t.Helper()
	wantFor(t, target, consumer, messages, want...)
}

func wantFor[Tx any](t *testing.T, target InboxTarget[Tx], consumer string, messages []bus.Identity, want ...bus.Memory) {
	t.Helper()
	if len(want) == 1 {
		want = slices.Repeat(want, len(messages))
	}
	if got := rememberFor(t, target, consumer, messages...); !slices.Equal(got, want) {
		t.Errorf("RememberTx = %v, want %v", got, want)
	}
}

func forget[Tx any](t *testing.T, target InboxTarget[Tx], before time.Time, limit, want int) {
	t.Helper()
	n, err := target.Store.Forget(bounded(t), consumer, before, limit)
	if err != nil || n != want {
		t.Fatalf("Forget = %d, %v, want %d", n, err, want)
	}
}

func forgetAll[Tx any](t *testing.T, target InboxTarget[Tx], want int) {
	t.Helper()
	forget(t, target, target.Now().Add(time.Hour), 1<<30, want)
}

func newOnce[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := append(positioned(1, 3), timed(target.Now()))
	want(t, target, all, bus.New)
	want(t, target, all, bus.Repeated)
	want(t, target, nil)
}

func givenTwice[Tx any](t *testing.T, target InboxTarget[Tx]) {
	a, b := at(1), at(2)
	want(t, target, []bus.Identity{a, b, a, a}, bus.New, bus.New, bus.Repeated, bus.Repeated)
	want(t, target, []bus.Identity{b, a, b}, bus.Repeated)
}

func inOrderGiven[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 200)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var known []bus.Identity
	expected := make([]bus.Memory, len(all))
	for i, m := range all {
		if i%3 == 0 {
			known, expected[i] = append(known, m), bus.Repeated
		}
	}
	want(t, target, known, bus.New)
	want(t, target, all, expected...)
}

func tenThousand[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 10_000)
	want(t, target, all, bus.New)
	want(t, target, all, bus.Repeated)
	forgetAll(t, target, len(all))
	want(t, target, all, bus.Forgotten)
}

func consumersApart[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 2)
	want(t, target, all, bus.New)
	wantFor(t, target, "Totals", all, bus.New)
	forgetAll(t, target, 2)
	wantFor(t, target, "Totals", all, bus.Repeated)
	want(t, target, all, bus.Forgotten)
	wantFor(t, target, "third", all, bus.New)
}

func idDecides[Tx any](t *testing.T, target InboxTarget[Tx]) {
	a := at(1)
	want(t, target, []bus.Identity{a}, bus.New)
	for _, other := range []bus.Identity{{ID: a.ID, Topic: "another", Position: 1}, {ID: a.ID, Topic: a.Topic, Position: 2}, {ID: a.ID, Topic: a.Topic, Time: target.Now()}} {
		want(t, target, []bus.Identity{other}, bus.Repeated)
	}
	var odd []bus.Identity // not in the order of time, nor of any version
	for i := range 256 {
		m := at(event.Position(i + 2))
		m.ID = event.ID{byte(255 - i), byte(i), 15: byte(i)}
		odd = append(odd, m)
	}
	want(t, target, odd, bus.New)
	want(t, target, odd, bus.Repeated)
}

func rememberedWithEffect[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 3)
	err := within(bounded(t), target, "p", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) error {
		if got, err := remember(consumer, all...); err != nil || !slices.Equal(got, []bus.Memory{bus.New, bus.New, bus.New}) {
			t.Errorf("RememberTx = %v, %v, want all new", got, err)
		}
		return errEffect
	})
	if !errors.Is(err, errEffect) {
		t.Errorf("Advance = %v, want that of fn", err)
	}
	forgetAll(t, target, 0)
	want(t, target, all, bus.New)
}

func repeatedWithin[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 3)
	err := within(bounded(t), target, "p", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) error {
		for i, expected := range [][]bus.Memory{{bus.New, bus.New}, {bus.Repeated, bus.Repeated}, {bus.Repeated, bus.New}} {
			messages := all[:2]
			if i == 2 {
				messages = all[1:]
			}
			if got, err := remember(consumer, messages...); err != nil || !slices.Equal(got, expected) {
				t.Errorf("RememberTx = %v, %v, want %v", got, err, expected)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, target, all, bus.Repeated)
}

// rival is a transaction that has remembered a message, and is open.
type rival struct {
	end  chan error // what fn returns
	done chan error // what Advance has returned
}

func openRival[Tx any](t *testing.T, target InboxTarget[Tx], m ...bus.Identity) *rival {
	t.Helper()
	r := &rival{make(chan error, 1), make(chan error, 1)}
	remembered := make(chan struct{})
	ctx := bounded(t)
	go func() {
		r.done <- within(ctx, target, "rival", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) error {
			defer sync.OnceFunc(func() { close(remembered) })()
			if got, err := remember(consumer, m...); err != nil || got[0] != bus.New {
				return fmt.Errorf("RememberTx = %v, %w, want new", got, err)
			}
			remembered <- struct{}{}
			return <-r.end
		})
	}()
	<-remembered
	return r
}

func secondWaits[Tx any](t *testing.T, target InboxTarget[Tx]) {
	for first, expected := range map[error]bus.Memory{nil: bus.Repeated, errEffect: bus.New} {
		m := at(7)
		r := openRival(t, target, m)
		asking, answer := make(chan struct{}), make(chan []bus.Memory, 1)
		go func() {
			err := within(bounded(t), target, "p", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) error {
				close(asking)
				got, err := remember(consumer, at(6), m, at(8))
				answer <- got
				return err
			})
			if err != nil {
				t.Error(err)
			}
			close(answer)
		}()
		<-asking
		select {
		case got := <-answer:
			t.Errorf("the second did not wait for the first: %v", got)
		default:
		}
		r.end <- first
		if err := <-r.done; !errors.Is(err, first) {
			t.Errorf("the first has ended with %v, want %v", err, first)
		}
		if got := <-answer; !slices.Equal(got, []bus.Memory{bus.New, expected, bus.New}) {
			t.Errorf("after the first has ended with %v: %v, want %v", first, got, expected)
		}
		<-answer // closed: it has committed
		want(t, target, []bus.Identity{m}, bus.Repeated)
	}
}

func overlapping[Tx any](t *testing.T, target InboxTarget[Tx]) {
	const workers, rounds = 4, 5
	all := positioned(1, 300)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		times = map[event.ID]int{}
	)
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				mine := slices.Clone(all)
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				mine = mine[:100]
				var got []bus.Memory
				err := within(bounded(t), target, fmt.Sprint("p", w), func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) (err error) {
					got, err = remember(consumer, mine...)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, m := range mine {
					if got[i] == bus.New {
						times[m.ID]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("message %s was new %d times", id, n)
		}
	}
}

func fencedRemembers[Tx any](t *testing.T, target InboxTarget[Tx]) {
	ctx := bounded(t)
	claim := func() worker.Term {
		term, err := target.Store.Claim(ctx, worker.Claiming{Name: consumer, Holder: "w", Segment: "s", Lease: time.Minute, Seize: true})
		if err != nil {
			t.Fatal(err)
		}
		return term
	}
	term := claim()
	before, after := at(1), at(2)
	err := target.Store.Advance(ctx, consumer, term, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
		if _, err := target.Store.RememberTx(ctx, tx, consumer, []bus.Identity{before}); err != nil {
			t.Error(err)
		}
		claim()
		_, err := target.Store.RememberTx(context.WithoutCancel(ctx), tx, consumer, []bus.Identity{after})
		if err == nil {
			t.Error("RememberTx = nil after a claim, want an error")
		}
		return worker.Write{}, err
	})
	if !errors.Is(err, worker.ErrFenced) {
		t.Errorf("Advance = %v, want ErrFenced", err)
	}
	want(t, target, []bus.Identity{before, after}, bus.New)
}

func waitEnds[Tx any](t *testing.T, target InboxTarget[Tx]) {
	m := at(1)
	r := openRival(t, target, m)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := within(ctx, target, "p", func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) error {
		_, err := remember(consumer, m)
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Advance = %v, want the end of its context", err)
	}
	r.end <- nil
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	want(t, target, []bus.Identity{m}, bus.Repeated)
}

func anyTime[Tx any](t *testing.T, target InboxTarget[Tx]) {
	var all []bus.Identity
	for i, at := range []time.Time{{}, time.Unix(0, 0), time.UnixMilli(1<<63 - 1), time.UnixMilli(-1 << 62), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		m := timed(at)
		m.Topic = fmt.Sprint("t", i)
		all = append(all, m)
	}
	negative := at(-1)
	negative.Topic = "negative"
	all = append(all, negative)
	want(t, target, all, bus.New)
	want(t, target, all, bus.Repeated)
	forgetAll(t, target, len(all))
	want(t, target, all, bus.Forgotten)
}

func inboxEnded[Tx any](t *testing.T, target InboxTarget[Tx]) {
	all := positioned(1, 2)
	want(t, target, all[:1], bus.New)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := target.Store.Advance(bounded(t), consumer, worker.Term{}, "p", func(_ context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
		got, err := target.Store.RememberTx(ended, tx, consumer, all[1:])
		if !errors.Is(err, context.Canceled) || got != nil {
			t.Errorf("RememberTx = %v, %v, want that of the context", got, err)
		}
		return worker.Write{}, err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Advance = %v, want that of fn", err)
	}
	if n, err := target.Store.Forget(ended, consumer, target.Now().Add(time.Hour), 10); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Forget = %d, %v, want that of the context", n, err)
	}
	want(t, target, all, bus.Repeated, bus.New)
}

func heldIsNotForgotten[Tx any](t *testing.T, target InboxTarget[Tx]) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want(t, target, []bus.Identity{at(9), timed(noon)}, bus.New)
	forgetAll(t, target, 2)
	m, late, new := at(5), timed(noon.Add(-time.Hour)), at(10)
	m.Held, late.Held, new.Held = true, true, true
	want(t, target, []bus.Identity{m, late, m, new}, bus.New, bus.New, bus.Repeated, bus.New)
	want(t, target, []bus.Identity{m, late, new}, bus.Repeated)
	m.Held, late.Held = false, false
	want(t, target, []bus.Identity{m, late}, bus.Repeated)
	forgetAll(t, target, 3)
	want(t, target, []bus.Identity{m, late}, bus.Forgotten)
}
