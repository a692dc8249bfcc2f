package worker

import (
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h Health
		is := func(step, want string) {
			t.Helper()
			got := ""
			if err := h.Check(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", step, got, want)
			}
		}
		after := func(d time.Duration) time.Time { return time.Now().Add(d) }

		h.expect("3", "too early", after(-time.Second))()
		is("at first", "reader is not running")
		h.began("totals")
		is("idle", "")
		done := h.expect("3", "a batch of 500 events", after(time.Minute))
		other := h.expect("1", "a batch of 1 events", after(time.Hour))
		<-time.After(time.Minute)
		is("at the deadline", "")
		<-time.After(1500 * time.Millisecond)
		const late = `totals: segment "3": a batch of 500 events takes 1m1.5s, 1.5s longer than it may: the code does not heed its context; see the stacks of its goroutines, and restart the process`
		is("beyond it", late)
		if stuck, ok := errors.AsType[*StuckError](h.Check()); !ok || *stuck != (StuckError{"totals", "3", "a batch of 500 events", 61500 * time.Millisecond, 1500 * time.Millisecond}) {
			t.Errorf("got %+v", stuck)
		}
		third := h.expect("3", "renewing its terms", after(-time.Second))
		other()
		is("two of one segment", late+"\n"+`totals: segment "3": renewing its terms takes 0s, 1s longer than it may: the code does not heed its context; see the stacks of its goroutines, and restart the process`)
		done()
		third()
		is("after all", "")
		done() // once more does no harm
		<-time.After(24 * time.Hour)
		is("idle for long", "")
		h.ended(io.EOF)
		if err := h.Check(); err != io.EOF { //nolint:errorlint // as it is
			t.Errorf("after an error: got %v, want EOF as it is", err)
		}
		h.began("totals")
		is("again", "")
		h.expect("3", "forever", after(-time.Second))
		h.ended(nil)
		is("ended", "reader is not running")
		h.began("totals")
		is("again, and what hung is of the past", "")
	})
}

func TestHealthIsSortedBySegment(t *testing.T) {
	t.Parallel()
	var h Health
	h.began("mails")
	for _, segment := range []string{"2", "0", "1"} {
		h.expect(segment, "it", time.Now().Add(-time.Hour))
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(h.Check(), &joined) {
		t.Fatalf("Check = %v, want three errors", h.Check())
	}
	got := ""
	for _, err := range joined.Unwrap() {
		stuck, _ := errors.AsType[*StuckError](err)
		got += stuck.Segment
	}
	if got != "012" {
		t.Errorf("segments %s, want 012", got)
	}
}

func TestNilHealth(t *testing.T) {
	t.Parallel()
	var h *Health
	h.began("totals")
	h.expect("", "it", time.Time{})()
	h.ended(io.EOF)
	if err := h.Check(); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
}

func TestHealthIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var h Health
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				h.began("totals")
				done := h.expect("", "it", time.Now().Add(time.Hour))
				_ = h.Check()
				done()
				h.ended(nil)
			}
		})
	}
	all.Wait()
}
