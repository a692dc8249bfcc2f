package worker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/worker"
)

var (
	errWork = errors.New("work failed")
	errGone = errors.New("gone")
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
			"classified":      {func(int) error { return errGone }, 1, errGone},
			"systemic":        {func(int) error { return worker.Systemic(errWork) }, 10, errWork},
		} {
			calls := 0
			retry := worker.Retry{Classify: func(err error) worker.Class {
				if errors.Is(err, errGone) {
					return worker.ClassPermanent
				}
				return worker.Unclassified
			}}
			err := retry.Do(t.Context(), silent, name, func() error {
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
	const far, odd = 1<<63 - 1, 1<<40 + 1<<20
	usual, wide, long := worker.Retry{Base: 100, Cap: 1000}, worker.Retry{Base: 1, Cap: far}, worker.Retry{Base: odd, Cap: far}
	for _, c := range []struct {
		r       worker.Retry
		attempt int
		most    time.Duration
	}{
		{usual, -1 << 63, 100},
		{usual, 0, 100},
		{usual, 1, 100},
		{usual, 2, 200},
		{usual, 4, 800},
		{usual, 5, 1000},
		{usual, 63, 1000},
		{usual, 64, 1000},
		{usual, far, 1000},
		{wide, 63, 1 << 62},
		{wide, 64, far},
		{wide, far, far},
		{long, 23, odd << 22},
		{long, 31, far}, // odd << 30 is positive again
		{worker.Retry{Base: 1000, Cap: 100}, 1, 100},
		{worker.Retry{}, 1, worker.DefaultBase},
		{worker.Retry{}, far, worker.DefaultCap},
	} {
		r, attempt, most := c.r, c.attempt, c.most
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 2000 {
			w := r.Wait(attempt)
			low, high = min(low, w), max(high, w)
		}
		if high > most || high < most/10*8 || low > most/10*2 {
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
		"retry: Kills is -1, want at least 0":    {Kills: -1},
		"retry: Budget is -0.1, want 0 to 1":     {Budget: -0.1},
		"retry: Budget is 1.1, want 0 to 1":      {Budget: 1.1},
		"retry: Budget is NaN, want 0 to 1":      {Budget: math.NaN()},
	} {
		if err := r.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate = %v, want %s", err, want)
		}
	}
	for _, r := range []worker.Retry{{}, {Attempts: 1, Base: 1, Cap: 1, Kills: 1, Budget: 1}} {
		if err := r.Validate(); err != nil {
			t.Errorf("Validate = %v, want nil", err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"advance totals: part t/1 continues at 5, got a delivery from 9: rebuild the read model, or restore what is missing":                                                       &worker.GapError{Name: "totals", Part: "t/1", Want: 5, Got: 9},
		"advance totals: part t/1 is one of 6, but the checkpoint was made with 4, so keys have moved: rebuild the read model; set a consumer with an inbox back with RewindParts": &worker.PartsError{Name: "totals", Part: "t/1", Was: 4, Is: 6},
	} {
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
