package projection_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

func (l *ledger) parked(t *testing.T, name string) []worker.Parked {
	t.Helper()
	all, err := l.Parked(t.Context(), worker.ParkedQuery{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantParked compares what is parked, each as "part key state: events".
func (l *ledger) wantParked(t *testing.T, name string, wanted ...string) {
	t.Helper()
	got := []string{}
	for _, p := range l.parked(t, name) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s: %d", p.Part, p.Key.Key, p.State, p.Events)))
	}
	want(t, got, wanted...)
}

// start runs the projection in a goroutine of the bubble, and returns how to end it.
func (l *ledger) start(t *testing.T, p *projection.Projection[*memory.Tx], opts ...projection.Option) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, l.DB, append([]projection.Option{silent}, opts...)...) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// after waits in a bubble until all is quiet for the time.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (l *ledger) retry(t *testing.T, name string, keys ...worker.Key) {
	t.Helper()
	if _, err := (worker.Amender{Store: l.DB, Name: name, Actor: "ada"}).RetryParked(t.Context(), 0, keys...); err != nil {
		t.Error(err)
	}
}

var errNo = errors.New("no")

// P8: an event that was not applied is parked, with its reason, and the others go on;
// or, if so told, it stops the projection.
func TestNothingIsSkipped(t *testing.T) {
	t.Parallel()
	for text, bad := range map[string]event.Raw{
		`event cannot be decoded: unknown event name "account.closed"`:                                         raw("account.closed", 1, `{}`),
		"event cannot be decoded: unknown schema version 3 of account.paid: this program knows up to 2":        raw("account.paid", 3, `{}`),
		"event cannot be decoded: json: cannot unmarshal string into Go struct field Paid.Cents of type int64": raw("account.paid", 2, `{"Cents":"x"}`),
	} {
		for _, batch := range []int{1, 100} {
			l := &ledger{DB: memory.New()}
			l.append(t, "account-a", paid(t, 1), bad, paid(t, 3))
			l.append(t, "account-b", paid(t, 4))
			p := l.projection("totals")
			err := p.CatchUp(t.Context(), l.DB, silent, projection.WithBatch(batch))
			var parked *worker.ParkedError
			if !errors.As(err, &parked) || !errors.Is(err, worker.ErrParked) || parked.Keys != 1 || parked.Name != p.Name() {
				t.Errorf("CatchUp = %v, want a ParkedError of one key", err)
			}
			if prefix := "projection/totals: 1 keys are parked: see annals parked; one of them: "; !strings.HasPrefix(err.Error(), prefix) || !strings.HasSuffix(err.Error(), text) {
				t.Errorf("CatchUp = %v, want %s...%s", err, prefix, text)
			}
			want(t, l.effects(t), "1/0 {1}", "4/0 {4}")
			l.wantParked(t, p.Name(), "account-a waiting: 2")
			if got := l.parked(t, p.Name())[0]; got.First != 2 || got.Attempts != 1 || !strings.HasSuffix(got.Error, text) || len(got.History) != 1 {
				t.Errorf("parked %+v, want position 2, tried once, with %s", got, text)
			}

			err = l.projection("stopping").Run(t.Context(), l.DB, silent, projection.WithBatch(batch), projection.WithStop())
			if !errors.Is(err, codec.ErrUndecodable) || !strings.HasSuffix(err.Error(), text) {
				t.Errorf("Run = %v, want %s", err, text)
			}
			want(t, l.effects(t), "1/0 {1}", "4/0 {4}", "1/0 {1}")
			l.wantParked(t, "projection/stopping")
		}
	}
}

func TestPanicIsParkedWithItsStack(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New(), fail: func(e event.Of[Event]) error {
		if e.Stream.ID == "a" {
			panic("nil map")
		}
		return nil
	}}
	l.append(t, "account-a", paid(t, 1))
	l.append(t, "account-b", paid(t, 2))
	p := l.projection("totals")
	if err := p.CatchUp(t.Context(), l.DB, silent); !errors.Is(err, worker.ErrParked) {
		t.Errorf("CatchUp = %v, want ErrParked", err)
	}
	want(t, l.effects(t), "2/0 {2}")
	got := l.parked(t, p.Name())
	if len(got) != 1 || got[0].Error != "panic: nil map" || !strings.Contains(got[0].Stack, "park_test.go") || got[0].State != worker.Waiting {
		t.Errorf("parked %+v, want the panic with its stack", got)
	}
	err := l.projection("stopping").Run(t.Context(), l.DB, silent, projection.WithStop())
	var panicked *worker.PanicError
	if !errors.As(err, &panicked) || !strings.Contains(string(panicked.Stack), "park_test.go") {
		t.Errorf("Run = %v, want the panic with its stack", err)
	}
}

func TestErrorOfAHandlerNamesTheEvent(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New(), fail: func(event.Of[Event]) error { return worker.Permanent(errNo) }}
	l.append(t, "account-a", paid(t, 1))
	const text = "handle account-a@1 (account.paid, position 1): no"
	p := l.projection("totals")
	err := p.CatchUp(t.Context(), l.DB, silent)
	if full := "projection/totals: 1 keys are parked: see annals parked; one of them: " + text; err == nil || err.Error() != full {
		t.Errorf("CatchUp = %v, want %s", err, full)
	}
	if got := l.parked(t, p.Name()); len(got) != 1 || got[0].Error != text {
		t.Errorf("parked %+v, want %s", got, text)
	}
	err = l.projection("stopping").Run(t.Context(), l.DB, silent, projection.WithStop())
	if !errors.Is(err, errNo) || err.Error() != text {
		t.Errorf("Run = %v, want %s", err, text)
	}
}

// What fails for now is tried again as often as WithRetry says, and then waits; with
// WithStop it is then returned.
func TestAttemptsAreUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		l := &ledger{DB: memory.New(), fail: func(event.Of[Event]) error { tries++; return errNo }}
		l.append(t, "account-a", paid(t, 1))
		retry := projection.WithRetry(worker.Retry{Attempts: 4})
		p := l.projection("totals")
		if err := p.CatchUp(t.Context(), l.DB, silent, retry); !errors.Is(err, worker.ErrParked) || tries != 4 {
			t.Errorf("CatchUp = %v after %d tries, want ErrParked after 4", err, tries)
		}
		if got := l.parked(t, p.Name()); len(got) != 1 || got[0].State != worker.Waiting || got[0].Attempts != 4 || len(got[0].History) != 4 {
			t.Errorf("parked %+v, want 4 attempts", got)
		}
		tries = 0
		err := l.projection("stopping").Run(t.Context(), l.DB, silent, retry, projection.WithStop())
		if text := "projection/stopping: 4 attempts: handle account-a@1 (account.paid, position 1): no"; err == nil || err.Error() != text || tries != 4 {
			t.Errorf("Run = %v after %d tries, want %s", err, tries, text)
		}
		want(t, l.effects(t))
	})
}

// P4, P8: what comes behind a parked event of its stream waits, other streams go on, and
// after a fix it is applied in order, before anything newer.
func TestParkedStreamWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fixed atomic.Bool
		l := &ledger{DB: memory.New(), fail: func(e event.Of[Event]) error {
			if e.Position == 2 && !fixed.Load() {
				return worker.Permanent(errNo)
			}
			return nil
		}}
		p := l.projection("totals")
		var freed []string
		end := l.start(t, p, projection.WithVersion("v7"), projection.WithHooks(worker.Hooks{Freed: func(f worker.KeyFreed) { freed = append(freed, f.Key.Key) }}))
		l.append(t, "account-a", paid(t, 1), paid(t, 2), paid(t, 3))
		l.append(t, "account-b", paid(t, 4))
		after(time.Second)
		want(t, l.effects(t), "1/0 {1}", "4/0 {4}")
		l.append(t, "account-a", paid(t, 6)) // 5 and 6 are the effects
		l.append(t, "account-b", paid(t, 7))
		after(time.Hour) // nobody has decided
		want(t, l.effects(t), "1/0 {1}", "4/0 {4}", "8/0 {7}")
		l.wantParked(t, p.Name(), "account-a waiting: 3")
		if got := l.parked(t, p.Name())[0]; got.Version != "v7" || got.History[0].Version != "v7" {
			t.Errorf("parked %+v, want the version of WithVersion", got)
		}
		fixed.Store(true)
		l.retry(t, p.Name(), worker.Key{Key: "account-a"})
		l.append(t, "account-a", paid(t, 10))
		after(time.Minute)
		want(t, l.effects(t), "1/0 {1}", "4/0 {4}", "8/0 {7}", "2/0 {2}", "3/0 {3}", "7/0 {6}", "10/0 {10}")
		l.wantParked(t, p.Name())
		want(t, freed, "account-a")
		end()
	})
}

// Events park by the key of WithKey, not by their stream.
func TestParkByKey(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New(), fail: func(e event.Of[Event]) error {
		if e.Position == 1 {
			return worker.Permanent(errNo)
		}
		return nil
	}}
	l.append(t, "account-a1", paid(t, 1))
	l.append(t, "account-b1", paid(t, 2))
	l.append(t, "account-a2", paid(t, 3))
	l.append(t, "account-a1", paid(t, 4))
	p := l.projection("totals")
	byLetter := projection.WithKey(func(e event.Recorded) string { return e.Stream.ID[:1] })
	if err := p.CatchUp(t.Context(), l.DB, silent, byLetter); !errors.Is(err, worker.ErrParked) {
		t.Errorf("CatchUp = %v, want ErrParked", err)
	}
	want(t, l.effects(t), "2/0 {2}")
	l.wantParked(t, p.Name(), "a waiting: 3")
}
