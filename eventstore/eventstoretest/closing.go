package eventstoretest

import (
	"errors"
	"slices"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var everyExpectation = []eventstore.Expect{
	eventstore.Any(), eventstore.None(), eventstore.Exists(), eventstore.Exactly(1), eventstore.Exactly(3), eventstore.Exactly(9),
}

var closingTests = map[string]func(*testing.T, Target){
	"a closed stream takes no more": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 1)...)
		mustAppend(t, target.Store, stream, eventstore.Exactly(1), closing(notes(2, 2)...)...)
		for _, expect := range everyExpectation {
			_, err := target.Store.Append(bounded(t), stream, expect, notes(9, 1)...)
			var closed *eventstore.ClosedError
			if !errors.Is(err, eventstore.ErrClosed) || !errors.As(err, &closed) {
				t.Errorf("append expecting %s: %v, want a *ClosedError", expect, err)
				continue
			}
			equal(t, "error", *closed, eventstore.ClosedError{Stream: stream, Version: 3})
			equal(t, "text", err.Error(), "append order-o-1: stream was closed at version 3")
		}
		var closes []bool
		for _, r := range readStream(t, target.Store, stream, eventstore.StreamQuery{}) {
			closes = append(closes, r.Closes)
		}
		equal(t, "closes, as the stream has it", closes, []bool{false, false, true})
		equal(t, "log", readLog(t, target.Store, 2), readStream(t, target.Store, stream, eventstore.StreamQuery{}))
		mustAppend(t, target.Store, another, eventstore.None(), notes(1, 1)...)
	},
	"a repeat is one, also of what closed": func(t *testing.T, target Target) {
		first, last := notes(1, 1), closing(notes(2, 2)...)
		before := mustAppend(t, target.Store, stream, eventstore.None(), first...)
		want := mustAppend(t, target.Store, stream, eventstore.Exactly(1), last...)
		before.Repeated, want.Repeated = true, true
		for _, expect := range everyExpectation {
			equal(t, "repeat of the last, expecting "+expect.String(), mustAppend(t, target.Store, stream, expect, last...), want)
			equal(t, "repeat of the first, expecting "+expect.String(), mustAppend(t, target.Store, stream, expect, first...), before)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 3)
	},
	"to close is a part of the event": func(t *testing.T, target Target) {
		open, closed := notes(1, 2), closing(notes(1, 2)...)
		mustAppend(t, target.Store, stream, eventstore.None(), open...)
		mustAppend(t, target.Store, another, eventstore.None(), closed...)
		for st, events := range map[event.Stream][]event.Raw{stream: closing(slices.Clone(open)...), another: opening(closed)} {
			for _, expect := range everyExpectation {
				if _, err := target.Store.Append(bounded(t), st, expect, events...); !errors.Is(err, eventstore.ErrIDReused) {
					t.Errorf("append to %s expecting %s: %v, want ErrIDReused", st, expect, err)
				}
			}
		}
		mustAppend(t, target.Store, stream, eventstore.Exactly(2), notes(3, 1)...)
	},
	"only the last event can close": func(t *testing.T, target Target) {
		events := closing(notes(1, 3)...)
		events[1].Closes = true
		_, err := target.Store.Append(bounded(t), stream, eventstore.Any(), events...)
		const want = "append order-o-1: event 2 of 3: closes the stream, but is not the last event of the append"
		if !errors.Is(err, eventstore.ErrNotLast) || err.Error() != want {
			t.Errorf("Append = %v, want %s", err, want)
		}
		_, err = target.Store.AppendAll(bounded(t),
			eventstore.Write{Stream: another, Events: closing(notes(1, 1)...)}, eventstore.Write{Stream: stream, Events: events})
		if !errors.Is(err, eventstore.ErrNotLast) || err.Error() != want {
			t.Errorf("AppendAll = %v, want %s", err, want)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
	"a stream can be closed by its first event": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), closing(notes(1, 1)...)...)
		if _, err := target.Store.Append(bounded(t), stream, eventstore.Any(), notes(2, 1)...); !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("Append = %v, want ErrClosed", err)
		}
	},
	"several streams: one that is closed refuses all": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, another, eventstore.None(), closing(notes(1, 1)...)...)
		_, err := target.Store.AppendAll(bounded(t),
			eventstore.Write{Stream: stream, Events: notes(1, 1)},
			eventstore.Write{Stream: another, Events: notes(2, 1)},
			eventstore.Write{Stream: order("o-3"), Events: closing(notes(3, 1)...)})
		if want := "append order-o-2: stream was closed at version 1"; !errors.Is(err, eventstore.ErrClosed) || err.Error() != want {
			t.Errorf("AppendAll = %v, want %s", err, want)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 1)
	},
	"rivals of the one that closes": func(t *testing.T, target Target) {
		const rivals = 12
		errs := make([]error, rivals)
		atOnce(rivals, func(i int) {
			events := notes(10*i, 2)
			if i == rivals/2 {
				events = closing(events...)
			}
			_, errs[i] = target.Store.Append(bounded(t), stream, eventstore.Any(), events...)
		})
		won := 0
		for i, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, eventstore.ErrClosed) || i == rivals/2:
				t.Errorf("Append = %v, want ErrClosed for all but the one that closes", err)
			}
		}
		all := readStream(t, target.Store, stream, eventstore.StreamQuery{})
		equal(t, "events", len(all), 2*won)
		for i, r := range all {
			equal(t, "closes", r.Closes, i == len(all)-1)
		}
	},
}

// opening are the events with none that closes.
func opening(events []event.Raw) []event.Raw {
	out := slices.Clone(events)
	out[len(out)-1].Closes = false
	return out
}
