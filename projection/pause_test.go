package projection_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// fuse is a breaker that a test opens and closes.
type fuse struct {
	open    atomic.Bool
	allowed int
	told    []error
}

func (f *fuse) Allow() (func(error), error) {
	if f.open.Load() {
		return nil, worker.ErrOpen
	}
	f.allowed++
	return func(err error) { f.told = append(f.told, err) }, nil
}

// pauses collects what the hooks are told of pauses.
func pauses(told *[]string) projection.Option {
	return projection.WithHooks(worker.Hooks{
		Paused:  func(p worker.Pause) { *told = append(*told, fmt.Sprintf("paused: %s: %v", p.Why, p.Err)) },
		Resumed: func(p worker.Pause) { *told = append(*told, "resumed: "+p.Why) },
	})
}

func (l *ledger) report(t *testing.T, name string) worker.Report {
	t.Helper()
	roster, err := l.Roster(t.Context(), name)
	if err != nil || len(roster.Seats) != 1 {
		t.Fatalf("Roster = %+v, %v, want one seat", roster, err)
	}
	return roster.Seats[0].Report
}

// While a breaker is open nothing is applied and nothing is parked; then all goes on by
// itself.
func TestOpenBreakerPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, breaker := &ledger{DB: memory.New()}, &fuse{}
		p := l.projection("totals")
		breaker.open.Store(true)
		l.append(t, "account-a", paid(t, 1), paid(t, 2))
		l.append(t, "account-b", paid(t, 3))
		var told []string
		end := l.start(t, p, projection.WithBreaker(breaker), pauses(&told))
		after(time.Hour)
		want(t, l.effects(t))
		l.wantParked(t, p.Name())
		want(t, told, "paused: the breaker is open: breaker is open")
		if got := l.report(t, p.Name()).Paused; got != "the breaker is open" {
			t.Errorf("report %q, want that the breaker is open", got)
		}
		breaker.open.Store(false)
		after(time.Minute)
		want(t, l.effects(t), "1/0 {1}", "2/0 {2}", "3/0 {3}")
		want(t, told, "paused: the breaker is open: breaker is open", "resumed: the breaker is open")
		if got := l.report(t, p.Name()).Paused; got != "" {
			t.Errorf("report %q, want none", got)
		}
		if len(breaker.told) != breaker.allowed || errors.Join(breaker.told...) != nil {
			t.Errorf("breaker allowed %d calls and was told %v", breaker.allowed, breaker.told)
		}
		end()
	})
}

// A dependency of all events that fails parks none of them, also if nothing says that it
// is one, and all go on by themselves. A catch-up does not wait for ever.
func TestOutageParksNothing(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"systemic": worker.Systemic(errNo), "of most keys": errNo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var away atomic.Bool
				away.Store(true)
				l := &ledger{DB: memory.New(), fail: func(event.Of[Event]) error {
					if away.Load() {
						return failure
					}
					return nil
				}}
				p := l.projection("totals")
				var wanted []string
				for i := range 40 {
					l.append(t, fmt.Sprint("account-", i), paid(t, int64(i)))
					wanted = append(wanted, fmt.Sprintf("%d/0 {%d}", i+1, i))
				}
				end := l.start(t, p)
				after(time.Hour)
				want(t, l.effects(t))
				l.wantParked(t, p.Name())
				away.Store(false)
				after(time.Minute)
				l.wantParked(t, p.Name())
				if got := l.effects(t); len(got) != len(wanted) {
					t.Errorf("%d effects, want %d", len(got), len(wanted))
				}
				end()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{DB: memory.New(), fail: func(event.Of[Event]) error { return worker.Systemic(errNo) }}
		l.append(t, "account-a", paid(t, 1))
		err := l.projection("totals").CatchUp(t.Context(), l.DB, silent, projection.WithRetry(worker.Retry{Attempts: 3}))
		if text := "projection/totals: 3 attempts: handle account-a@1 (account.paid, position 1): no"; !errors.Is(err, errNo) || err.Error() != text {
			t.Errorf("CatchUp = %v, want %s", err, text)
		}
		l.wantParked(t, "projection/totals")
	})
}

// Health turns red when the projection hangs, has ended or has failed, and not because
// an event fails.
func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		l := &ledger{DB: memory.New(), fail: func(e event.Of[Event]) error {
			switch e.Stream.ID {
			case "bad":
				return worker.Permanent(errNo)
			case "hanging":
				<-hang
			}
			return nil
		}}
		health, p := &worker.Health{}, l.projection("totals")
		if err := health.Check(); !errors.Is(err, worker.ErrNotRunning) {
			t.Errorf("before: %v, want ErrNotRunning", err)
		}
		end := l.start(t, p, projection.WithHealth(health), projection.WithTimeout(10*time.Second))
		l.append(t, "account-bad", paid(t, 1))
		after(time.Minute)
		if err := health.Check(); err != nil {
			t.Errorf("with something parked: %v", err)
		}
		l.append(t, "account-hanging", paid(t, 2))
		after(9 * time.Second)
		if err := health.Check(); err != nil {
			t.Errorf("within its timeout: %v", err)
		}
		after(time.Minute)
		var stuck *worker.StuckError
		if err := health.Check(); !errors.As(err, &stuck) || stuck.Name != p.Name() {
			t.Errorf("hanging: %v, want a *StuckError", err)
		}
		close(hang)
		after(time.Minute)
		if err := health.Check(); err != nil {
			t.Errorf("after it: %v", err)
		}
		if got := l.effects(t); len(got) != 1 {
			t.Errorf("effects %v, want one of the slow event", got)
		}
		end()
		if err := health.Check(); !errors.Is(err, worker.ErrNotRunning) {
			t.Errorf("ended: %v, want ErrNotRunning", err)
		}
		_ = l.projection("stopping").Run(t.Context(), l.DB, silent, projection.WithHealth(health), projection.WithStop())
		if err := health.Check(); !errors.Is(err, errNo) {
			t.Errorf("failed: %v, want its error", err)
		}
	})
}
