package eventstoretest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// RunGate runs the suite of stores that ask a gate. Open is called once for each test
// and must return an empty store that has the gate; tests run in parallel.
func RunGate(t *testing.T, open func(t *testing.T, g eventstore.Gate) Target) {
	for name, test := range map[string]func(*testing.T, *askedGate, Target){
		"it is asked once, for all events": gateAsked,
		"it refuses":                       gateRefuses,
		"it waits":                         gateWaits,
		"it does not look at its context":  gateIsDeaf,
		"it is not asked in vain":          gateNotAsked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &askedGate{}
			test(t, g, open(t, g))
		})
	}
}

// askedGate keeps what it was asked for. Its users do not ask at the same time.
type askedGate struct {
	asked []int
	admit func(ctx context.Context) error // nil: at once
}

func (g *askedGate) Admit(ctx context.Context, events int) error {
	g.asked = append(g.asked, events)
	if g.admit == nil {
		return nil
	}
	return g.admit(ctx)
}

// fullError is what a user of a gate looks for.
type fullError struct{ lag int }

func (*fullError) Error() string { return "relay is 7 events behind" }

// gated calls each way to append with the store, and in a transaction.
func gated(t *testing.T, target Target, fn func(what, text string, append func(ctx context.Context) error)) {
	t.Helper()
	writes := []eventstore.Write{{Stream: stream, Events: notes(1, 2)}, {Stream: another, Events: notes(1, 1)}}
	ways := func(where string, s eventstore.Store) {
		fn(where+"Append", "append order-o-1: ", func(ctx context.Context) error {
			_, err := s.Append(ctx, stream, eventstore.Any(), notes(1, 3)...)
			return err
		})
		fn(where+"AppendAll", "append order-o-1 and 1 more: ", func(ctx context.Context) error {
			_, err := s.AppendAll(ctx, writes...)
			return err
		})
	}
	ways("", target.Store)
	if target.Begin != nil {
		tx := begin(t, target)
		ways("in a transaction ", tx.Store)
		done(t, func() error { return tx.Commit(bounded(t)) })
	}
}

func gateAsked(t *testing.T, g *askedGate, target Target) {
	gated(t, target, func(what, _ string, do func(context.Context) error) {
		g.asked = nil
		if err := do(bounded(t)); err != nil {
			t.Errorf("%s = %v", what, err)
		}
		equal(t, what+" asks for", g.asked, []int{3})
	})
}

func gateRefuses(t *testing.T, g *askedGate, target Target) {
	full := &fullError{7}
	g.admit = func(context.Context) error { return full }
	gated(t, target, func(what, text string, do func(context.Context) error) {
		err := do(bounded(t))
		var got *fullError
		if !errors.Is(err, full) || !errors.As(err, &got) || got.lag != 7 || errors.Is(err, eventstore.ErrOutcomeUnknown) || err.Error() != text+"relay is 7 events behind" {
			t.Errorf("%s = %v, want %s and the error of the gate", what, err, text)
		}
	})
	equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	g.admit = nil
	mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 1)...)
}

func gateWaits(t *testing.T, g *askedGate, target Target) {
	gated(t, target, func(what, text string, do func(context.Context) error) {
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		g.admit = func(waiting context.Context) error {
			cancel()
			<-waiting.Done()
			return waiting.Err()
		}
		wantEnded(t, what, text, do(ctx))
	})
	equal(t, "events", len(readLog(t, target.Store, 10)), 0)
}

func gateIsDeaf(t *testing.T, g *askedGate, target Target) {
	gated(t, target, func(what, text string, do func(context.Context) error) {
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		g.admit = func(context.Context) error { cancel(); return nil }
		wantEnded(t, what, text, do(ctx))
	})
	equal(t, "events", len(readLog(t, target.Store, 10)), 0)
}

func wantEnded(t *testing.T, what, text string, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), text) {
		t.Errorf("%s = %v, want %s and the end of its context", what, err, text)
	}
}

func gateNotAsked(t *testing.T, g *askedGate, target Target) {
	if _, err := target.Store.Append(bounded(t), event.Stream{Category: "o-o", ID: "1"}, eventstore.Any(), note(1)); err == nil {
		t.Error("Append of a stream that cannot be = nil")
	}
	if _, err := target.Store.AppendAll(bounded(t), eventstore.Write{Stream: stream}); !errors.Is(err, eventstore.ErrNoEvents) {
		t.Errorf("AppendAll of nothing = %v, want ErrNoEvents", err)
	}
	readStream(t, target.Store, stream, eventstore.StreamQuery{})
	readLog(t, target.Store, 10)
	equal(t, "asked", g.asked, []int(nil))
}
