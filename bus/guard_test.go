package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// watch runs the guard, and returns how to end it.
func watch(t *testing.T, g *bus.Guard, db bus.Watched) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		g.Watch(ctx, db)
		close(ended)
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-ended
	}
}

// take appends one event, and returns how long that took.
func take(t *testing.T, db *memory.DB) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	_, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(),
		event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"})
	return time.Since(began), err
}

func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard := bus.NewGuard(bus.Backlog{Slow: 10, Refuse: 20, Delay: 2 * time.Second})
		db := memory.New(memory.WithGate(guard))
		check := func(behind int, want time.Duration) {
			t.Helper()
			if lag, known := guard.Lag(); !known || int(lag) != behind {
				t.Errorf("Lag = %d, %v, want %d", lag, known, behind)
			}
			if took, err := take(t, db); err != nil || took != want {
				t.Errorf("%d behind: append took %v, %v, want %v", behind, took, err, want)
			}
		}
		appendNotes(t, db, "order-o-0", 9)
		end := watch(t, guard, db)
		check(9, 0)
		after(time.Second)
		check(10, 0)
		after(time.Second)
		check(11, time.Second/5)
		after(time.Second)
		for behind := 12; behind < 20; behind++ {
			check(behind, time.Duration(behind-10)*time.Second/5)
			after(time.Second)
		}
		check(20, 2*time.Second)
		after(time.Second)
		for range 2 { // and it does not grow
			_, err := take(t, db)
			want := "append order-o-1: relay/main is 21 positions behind the log, at most 20: try again later, and see annals status for what holds it up"
			var backlog *bus.BacklogError
			if !errors.Is(err, bus.ErrBacklog) || err.Error() != want || !errors.As(err, &backlog) || *backlog != (bus.BacklogError{"relay/main", 21, 20}) {
				t.Errorf("append = %v, want %s", err, want)
			}
			if worker.IsPermanent(err) || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
				t.Errorf("%v, want one that can be tried again", err)
			}
			after(time.Second)
		}
		drain(t, bus.NewRelay(db, memory.NewBroker(1), silent))
		after(time.Second)
		check(0, 0)
		end()
		if lag, known := guard.Lag(); known {
			t.Errorf("Lag = %d after Watch has ended, want not known", lag)
		}
	})
}

// What is parked is waiting for somebody, and does not hold up those who append.
func TestGuardDoesNotCountWhatIsParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard := bus.NewGuard(bus.Backlog{Refuse: 10})
		db := memory.New(memory.WithGate(guard))
		appendNotes(t, db, "order-o-1", 30)
		relay := bus.NewRelay(db, memory.NewBroker(1), silent, bus.WithMapper(func(event.Recorded) (bus.Message, bool, error) {
			return bus.Message{}, false, worker.Permanent(errUnmapped)
		}))
		if err := relay.Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
			t.Fatalf("Drain = %v, want ErrParked", err)
		}
		end := watch(t, guard, db)
		if took, err := take(t, db); took != 0 || err != nil {
			t.Errorf("append took %v, %v, want it to be admitted", took, err)
		}
		end()
	})
}

// An append that waits ends with its context, and nothing was appended.
func TestGuardWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard := bus.NewGuard(bus.Backlog{Relay: "eu", Slow: 1, Refuse: 3, Delay: time.Hour})
		db := memory.New(memory.WithGate(guard))
		appendNotes(t, db, "order-o-1", 2)
		defer watch(t, guard, db)()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := guard.Admit(ctx, 1)
		if want := "wait for relay/eu, which is 2 positions behind the log: context deadline exceeded"; !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("Admit = %v, want %s", err, want)
		}
		if _, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(),
			event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"}); err == nil {
			t.Error("append after the end of its context: want an error")
		}
		if head, err := db.Head(t.Context()); head != 2 || err != nil {
			t.Errorf("Head = %d, %v, want 2", head, err)
		}
	})
}

// broken is a store that does not answer, or with an error.
type broken struct {
	*memory.DB
	err  atomic.Pointer[error]
	hang atomic.Bool
}

func (b *broken) Head(ctx context.Context) (event.Position, error) {
	if b.hang.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if err := b.err.Load(); err != nil {
		return 0, *err
	}
	return b.DB.Head(ctx)
}

// A guard that knows nothing admits: it must not take the service down.
func TestGuardAdmitsWhatItCannotJudge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		guard := bus.NewGuard(bus.Backlog{Refuse: 1, Logger: slog.New(slog.NewTextHandler(&text, nil))})
		db := &broken{DB: memory.New(memory.WithGate(guard))}
		refused := func(want bool) {
			t.Helper()
			if _, err := take(t, db.DB); errors.Is(err, bus.ErrBacklog) != want || err != nil && !want {
				t.Errorf("append = %v, want it refused: %v", err, want)
			}
		}
		appendNotes(t, db.DB, "order-o-1", 2)
		refused(false) // nobody watches
		end := watch(t, guard, db)
		refused(true)
		away := errors.New("database is away")
		db.err.Store(&away)
		after(3 * time.Second)
		refused(false)
		db.err.Store(nil)
		after(time.Second)
		refused(true)
		db.hang.Store(true)
		after(5 * time.Second)
		refused(true) // what was known a moment ago
		after(10 * time.Second)
		refused(false)
		db.hang.Store(false)
		after(10 * time.Second)
		refused(true)
		end()
		refused(false)
		for want, n := range map[string]int{
			`level=WARN msg="cannot read the lag, appends are admitted" relay=relay/main error="database is away"`:          1,
			`level=WARN msg="cannot read the lag, appends are admitted" relay=relay/main error="context deadline exceeded"`: 1,
			`level=INFO msg="the lag can be read again" relay=relay/main`:                                                   2,
		} {
			if got := strings.Count(text.String(), want); got != n {
				t.Errorf("%d times %s, want %d, in\n%s", got, want, n, text.String())
			}
		}
	})
}

// counted counts how often a gate is asked.
type counted struct {
	eventstore.Gate
	calls atomic.Int64
}

func (c *counted) Admit(ctx context.Context, events int) error {
	c.calls.Add(1)
	return c.Gate.Admit(ctx, events)
}

type folded struct{}

func (folded) Evolve(fact) folded { return folded{} }

// A command is refused at once: it is no conflict, which would be decided anew.
func TestCommandsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard := bus.NewGuard(bus.Backlog{Refuse: 1})
		gate := &counted{Gate: guard}
		db := memory.New(memory.WithGate(gate))
		appendNotes(t, db, "order-o-1", 2)
		defer watch(t, guard, db)()
		gate.calls.Store(0)
		_, err := aggregate.New[folded](db, "order", facts).Update(t.Context(), "o-2", func(folded) ([]fact, error) { return []fact{placed{1}}, nil })
		if !errors.Is(err, bus.ErrBacklog) || gate.calls.Load() != 1 {
			t.Errorf("Update = %v after %d calls, want ErrBacklog after one", err, gate.calls.Load())
		}
	})
}

func TestGuardPanics(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]bus.Backlog{
		"bus: NewGuard: Refuse is 0, want at least 1":              {},
		"bus: NewGuard: Slow is 11, want 0 to Refuse, which is 10": {Slow: 11, Refuse: 10},
		"bus: NewGuard: Slow is -1, want 0 to Refuse, which is 10": {Slow: -1, Refuse: 10},
		"bus: NewGuard: Delay is -1ns, want at least 0s":           {Refuse: 1, Delay: -1},
		"bus: NewGuard: Interval is 1µs, want at least 1ms":        {Refuse: 1, Interval: time.Microsecond},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			bus.NewGuard(b)
		}()
	}
}
