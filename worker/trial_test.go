package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTrials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trials
		ctx, cancel := context.WithCancel(t.Context())
		enter := func(alone bool) (entered chan func()) {
			entered = make(chan func(), 1)
			go func() {
				leave, ok := tr.enter(ctx, alone, time.Minute)
				if !ok {
					leave = nil
				}
				entered <- leave
			}()
			synctest.Wait()
			return entered
		}
		waits := func(what string, entered chan func(), want bool) {
			t.Helper()
			synctest.Wait()
			if got := len(entered) == 0; got != want {
				t.Errorf("%s: waits = %v, want %v", what, got, want)
			}
		}
		first, second := enter(false), enter(false)
		waits("beside another", second, false)
		alone := enter(true)
		waits("alone beside two", alone, true)
		third := enter(false)
		waits("behind one that waits to be alone", third, true)
		(<-first)()
		waits("alone beside one", alone, true)
		(<-second)()
		waits("alone", alone, false)
		waits("beside one that is alone", third, true)
		another := enter(true)
		waits("alone beside one that is alone", another, true)
		(<-alone)()
		waits("alone after one that was", another, false)
		waits("beside the other one that is alone", third, true)
		(<-another)()
		waits("after both", third, false)

		late := enter(true)
		<-time.After(time.Minute)
		waits("alone beside one that hangs", late, false)
		(<-third)()
		(<-late)()
		last := enter(true)
		ended := enter(false)
		cancel()
		if leave := <-ended; leave != nil {
			t.Error("it has entered although its context has ended")
		}
		(<-last)()
	})
}
