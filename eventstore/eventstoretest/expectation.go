package eventstoretest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var expectationTests = map[string]func(*testing.T, Target){
	"what each allows": func(t *testing.T, target Target) {
		for i, c := range []struct {
			expect      eventstore.Expect
			empty, full bool // whether it allows no event, and two
			text        string
		}{
			{eventstore.Any(), true, true, ""},
			{eventstore.None(), true, false, "append order-full2: expected no event, stream is at 2"},
			{eventstore.Exists(), false, true, "append order-empty3: expected at least one event, stream is at 0"},
			{eventstore.Exactly(0), true, false, "append order-full4: expected no event, stream is at 2"},
			{eventstore.Exactly(1), false, false, "append order-full5: expected version 1, stream is at 2"},
			{eventstore.Exactly(2), false, true, "append order-empty6: expected version 2, stream is at 0"},
			{eventstore.Exactly(3), false, false, "append order-full7: expected version 3, stream is at 2"},
		} {
			empty, full := order(fmt.Sprint("empty", i+1)), order(fmt.Sprint("full", i+1))
			mustAppend(t, target.Store, full, eventstore.None(), notes(1, 2)...)
			for st, want := range map[event.Stream]bool{empty: c.empty, full: c.full} {
				before := len(readStream(t, target.Store, st, eventstore.StreamQuery{}))
				_, err := target.Store.Append(bounded(t), st, c.expect, note("x"))
				if (err == nil) != want {
					t.Errorf("append to %s expecting %s: %v, want allowed: %v", st, c.expect, err, want)
				}
				if want {
					continue
				}
				var conflict *eventstore.ConflictError
				if !errors.Is(err, eventstore.ErrConflict) || !errors.As(err, &conflict) {
					t.Errorf("append to %s expecting %s: %v, want a *ConflictError", st, c.expect, err)
					continue
				}
				equal(t, "conflict", *conflict, eventstore.ConflictError{Stream: st, Expected: c.expect, Actual: event.Version(before)})
				if strings.Contains(c.text, st.ID) {
					equal(t, "text", err.Error(), c.text)
				}
				equal(t, "events after a conflict", len(readStream(t, target.Store, st, eventstore.StreamQuery{})), before)
			}
		}
	},
	"two rivals at one version: one wins": func(t *testing.T, target Target) {
		const rivals, rounds = 8, 20
		for round := range rounds {
			errs := make([]error, rivals)
			atOnce(rivals, func(i int) {
				_, errs[i] = target.Store.Append(bounded(t), stream, eventstore.Exactly(event.Version(2*round)), notes(100*round+10*i, 2)...)
			})
			won := 0
			for _, err := range errs {
				var conflict *eventstore.ConflictError
				switch {
				case err == nil:
					won++
				case !errors.As(err, &conflict):
					t.Errorf("the loser gets %v, want a *ConflictError", err)
				case conflict.Actual != event.Version(2*round+2):
					t.Errorf("%v, want the stream at %d", err, 2*round+2)
				}
			}
			if won != 1 {
				t.Fatalf("round %d: %d of %d rivals won", round, won, rivals)
			}
		}
		equal(t, "events, the pairs of the winners alone", len(readStream(t, target.Store, stream, eventstore.StreamQuery{})), 2*rounds)
		checkOrder(t, readLog(t, target.Store, 7))
	},
}
