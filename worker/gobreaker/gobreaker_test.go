package gobreaker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sony "github.com/sony/gobreaker/v2"

	"github.com/annals-go/annals/worker"
	"github.com/annals-go/annals/worker/gobreaker"
)

var errDown = errors.New("connection refused")

// call makes n calls that end with err, and returns the last error of Allow.
func call(b worker.Breaker, n int, err error) error {
	var last error
	for range n {
		done, refused := b.Allow()
		if last = refused; refused == nil {
			done(err)
		}
	}
	return last
}

func TestOpensAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := gobreaker.New(sony.Settings{Name: "billing", Timeout: time.Minute})
		if err := call(b, 6, errDown); err != nil {
			t.Fatalf("Allow = %v, want it closed up to the sixth failure", err)
		}
		done, err := b.Allow()
		if want := "call billing: breaker is open: circuit breaker is open"; done != nil || !errors.Is(err, worker.ErrOpen) || !errors.Is(err, sony.ErrOpenState) || err.Error() != want {
			t.Errorf("Allow = %v, want %s", err, want)
		}
		<-time.After(time.Minute + 1)
		done, err = b.Allow()
		if err != nil {
			t.Fatalf("Allow = %v, want one call to probe", err)
		}
		none, err := b.Allow()
		if want := "call billing: breaker is open: too many requests"; none != nil || !errors.Is(err, worker.ErrOpen) || !errors.Is(err, sony.ErrTooManyRequests) || err.Error() != want {
			t.Errorf("Allow = %v, want %s", err, want)
		}
		done(nil)
		if err := call(b, 100, nil); err != nil {
			t.Errorf("Allow = %v, want it closed again", err)
		}
	})
}

func TestWhatCounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		opens bool
		probe bool // closes it, when half open
	}{
		"no error":                 {nil, false, true},
		"error":                    {errDown, true, false},
		"transient":                {worker.Transient(errDown), true, false},
		"systemic":                 {fmt.Errorf("call: %w", worker.Systemic(errDown)), true, false},
		"permanent":                {fmt.Errorf("call: %w", worker.Permanent(errDown)), false, true},
		"marked otherwise since":   {worker.Transient(worker.Permanent(errDown)), true, false},
		"deadline":                 {context.DeadlineExceeded, true, false},
		"canceled":                 {fmt.Errorf("call: %w", context.Canceled), false, false},
		"panic":                    {worker.Safely(func() error { panic("no") }), false, false},
		"panic marked as systemic": {worker.Systemic(worker.Safely(func() error { panic("no") })), false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := gobreaker.New(sony.Settings{})
			if err := call(b, 20, c.err); errors.Is(err, worker.ErrOpen) != c.opens {
				t.Errorf("%s: Allow = %v after 20, want it open: %v", name, err, c.opens)
			}
			b = gobreaker.New(sony.Settings{MaxRequests: 1})
			_ = call(b, 6, errDown)
			<-time.After(time.Minute + 1)
			_ = call(b, 1, c.err)
			_ = call(b, 1, errDown) // opens it unless the call before has closed it
			if err := call(b, 1, nil); (err == nil) != c.probe {
				t.Errorf("%s: Allow = %v after a probe, want it closed: %v", name, err, c.probe)
			}
		})
	}
}

func TestSettingsOfTheCaller(t *testing.T) {
	t.Parallel()
	b := gobreaker.New(sony.Settings{
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(error) bool { return false },
	})
	_ = call(b, 3, worker.Permanent(errDown))
	_ = call(b, 3, context.Canceled)
	if err := call(b, 1, nil); !errors.Is(err, worker.ErrOpen) {
		t.Errorf("Allow = %v, want it open", err)
	}
}
