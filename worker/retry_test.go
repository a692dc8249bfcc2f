package worker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/worker"
)

var (
	errWork = errors.New("work failed")
	silent  = slog.New(slog.DiscardHandler)
)

func TestRetryBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls, began := 0, time.Now()
		err := worker.Retry{Attempts: 4, Base: time.Second, Cap: 2 * time.Second}.Do(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "totals", func() error {
			calls++
			return errWork
		})
		if want := "totals: 4 attempts: work failed"; calls != 4 || !errors.Is(err, errWork) || err.Error() != want {
			t.Errorf("Do = %v after %d calls, want %s after 4", err, calls, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("waited %v, want at most 1 + 2 + 2 s", took)
		}
		if n := strings.Count(log.String(), "msg=retrying what=totals attempt="); n != 3 {
			t.Errorf("%d retries logged, want 3: %s", n, log.String())
		}
	})
}

func TestRetryStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			fn    func(call int) error
			calls int
			is    error
		}{
			"success":         {func(call int) error { return nil }, 1, nil},
			"success at last": {func(call int) error { return map[bool]error{true: errWork}[call < 3] }, 3, nil},
			"permanent":       {func(int) error { return worker.Permanent(errWork) }, 1, errWork},
		} {
			calls := 0
			err := worker.Retry{}.Do(t.Context(), silent, name, func() error {
				calls++
				return c.fn(calls)
			})
			if calls != c.calls || !errors.Is(err, c.is) {
				t.Errorf("%s: Do = %v after %d calls, want %v after %d", name, err, calls, c.is, c.calls)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err := worker.Retry{Attempts: 1000, Base: time.Hour, Cap: time.Hour}.Do(ctx, silent, "x", func() error { return errWork })
		if !errors.Is(err, errWork) {
			t.Errorf("Do = %v, want the last error when the context ends", err)
		}
	})
}

func TestRetryWaitHasFullJitterAndACap(t *testing.T) {
	t.Parallel()
	r := worker.Retry{Base: 100, Cap: 1000}
	for attempt, most := range map[int]time.Duration{1: 100, 2: 200, 4: 800, 5: 1000, 63: 1000, 1 << 30: 1000} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 2000 {
			w := r.Wait(attempt)
			low, high = min(low, w), max(high, w)
		}
		if high > most || high < most*8/10 || low > most*2/10 {
			t.Errorf("attempt %d waits %d to %d, want 0 to %d", attempt, low, high, most)
		}
	}
}

func TestRetryValidate(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]worker.Retry{
		"retry: Attempts is -1, want at least 0": {Attempts: -1},
		"retry: Base is -1ns, want at least 0":   {Base: -1},
		"retry: Cap is -1ns, want at least 0":    {Cap: -1},
	} {
		if err := r.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate = %v, want %s", err, want)
		}
	}
	if err := (worker.Retry{}).Validate(); err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"advance totals: part t/1 continues at 5, got a delivery from 9: rebuild the read model, or restore what is missing": &worker.GapError{Name: "totals", Part: "t/1", Want: 5, Got: 9},
		"advance totals: part t/1 is one of 6, but the checkpoint was made with 4: rebuild the read model":                   &worker.PartsError{Name: "totals", Part: "t/1", Was: 4, Is: 6},
	} {
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
