package eventstoretest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

func mustAppendAll(t *testing.T, s eventstore.Store, writes ...eventstore.Write) []eventstore.Result {
	t.Helper()
	res, err := s.AppendAll(bounded(t), writes...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// three are writes to three streams, not in the order of their names.
func three(expect eventstore.Expect) []eventstore.Write {
	return []eventstore.Write{
		{Stream: order("b"), Expect: expect, Events: notes(1, 2)},
		{Stream: order("c"), Expect: expect, Events: notes(3, 1)},
		{Stream: order("a"), Expect: expect, Events: notes(4, 3)},
	}
}

var togetherTests = map[string]func(*testing.T, Target){
	"results in the order given, positions in the order of names": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, order("c"), eventstore.None(), notes(1, 4)...)
		writes := three(eventstore.Any())
		res := mustAppendAll(t, target.Store, writes...)
		log := readLog(t, target.Store, 100)[4:]
		var names string
		for _, r := range log {
			names += r.Stream.ID
		}
		equal(t, "streams in the log", names, "aaabbc")
		equal(t, "results", res, []eventstore.Result{
			{Version: 2, Position: log[4].Position}, {Version: 5, Position: log[5].Position}, {Version: 3, Position: log[2].Position},
		})
		for _, w := range writes {
			got := readStream(t, target.Store, w.Stream, eventstore.StreamQuery{})
			for i, e := range w.Events {
				equal(t, "id of "+w.Stream.String(), got[len(got)-len(w.Events)+i].Metadata.ID, e.Metadata.ID)
			}
		}
		checkOrder(t, readLog(t, target.Store, 2))
	},
	"one stream alone": func(t *testing.T, target Target) {
		w := eventstore.Write{Stream: stream, Expect: eventstore.None(), Events: notes(1, 2)}
		first := mustAppendAll(t, target.Store, w)
		equal(t, "version", first[0].Version, event.Version(2))
		first[0].Repeated = true
		equal(t, "repeat", mustAppendAll(t, target.Store, w), first)
		equal(t, "repeat as a plain append", mustAppend(t, target.Store, stream, eventstore.None(), w.Events...), first[0])
	},
	"a conflict in one leaves none": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, order("b"), eventstore.None(), notes(1, 2)...)
		before := readLog(t, target.Store, 10)
		for _, c := range []struct {
			expect eventstore.Expect
			text   string
		}{
			{eventstore.None(), "append order-b: expected no event, stream is at 2"},
			{eventstore.Exactly(1), "append order-b: expected version 1, stream is at 2"},
		} {
			writes := three(eventstore.Any())
			writes[0].Expect = c.expect
			_, err := target.Store.AppendAll(bounded(t), writes...)
			var conflict *eventstore.ConflictError
			if !errors.As(err, &conflict) || err.Error() != c.text {
				t.Errorf("AppendAll = %v, want a *ConflictError: %s", err, c.text)
				continue
			}
			equal(t, "conflict", *conflict, eventstore.ConflictError{Stream: order("b"), Expected: c.expect, Actual: 2})
			equal(t, "log", readLog(t, target.Store, 10), before)
		}
		writes := three(eventstore.Any())
		writes[0].Expect = eventstore.Exactly(2)
		mustAppendAll(t, target.Store, writes...)
		equal(t, "events", len(readLog(t, target.Store, 10)), 8)
	},
	"a repeat of all returns the first results": func(t *testing.T, target Target) {
		writes := three(eventstore.None())
		want := mustAppendAll(t, target.Store, writes...)
		mustAppend(t, target.Store, order("a"), eventstore.Any(), notes(9, 1)...)
		for i := range want {
			want[i].Repeated = true
		}
		for _, expect := range everyExpectation {
			for i := range writes {
				writes[i].Expect = expect
			}
			equal(t, "repeat expecting "+expect.String(), mustAppendAll(t, target.Store, writes...), want)
		}
		slices.Reverse(writes)
		slices.Reverse(want)
		equal(t, "repeat in another order", mustAppendAll(t, target.Store, writes...), want)
		equal(t, "events", len(readLog(t, target.Store, 10)), 7)
	},
	"a part in other company is reused": func(t *testing.T, target Target) {
		writes := three(eventstore.None())
		mustAppendAll(t, target.Store, writes...)
		fresh := eventstore.Write{Stream: order("d"), Events: notes(1, 1)}
		changed := writes[1]
		changed.Events = slices.Clone(changed.Events)
		changed.Events[0].Payload = []byte(`"x"`)
		for name, given := range map[string][]eventstore.Write{
			"all and one more":       append(slices.Clone(writes), fresh),
			"one, and one more":      {writes[1], fresh},
			"one more, and one":      {fresh, writes[2]},
			"new events for a":       {writes[0], {Stream: order("a"), Events: notes(9, 1)}},
			"other content in one":   {writes[0], changed},
			"other content, and new": {changed, fresh},
		} {
			if _, err := target.Store.AppendAll(bounded(t), given...); !errors.Is(err, eventstore.ErrIDReused) {
				t.Errorf("%s: AppendAll = %v, want ErrIDReused", name, err)
			}
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 6)
		// Of what was appended together, a part is a repeat, alone or not.
		if res := mustAppendAll(t, target.Store, writes[:2]...); !res[0].Repeated || !res[1].Repeated {
			t.Errorf("AppendAll of a part = %+v, want repeats", res)
		}
		if res := mustAppend(t, target.Store, writes[2].Stream, eventstore.None(), writes[2].Events...); !res.Repeated {
			t.Errorf("Append of a part = %+v, want a repeat", res)
		}
	},
	"the same writes at once, from many": func(t *testing.T, target Target) {
		for category, expect := range map[string]eventstore.Expect{"none": eventstore.None(), "any": eventstore.Any()} {
			writes := three(expect)
			for i := range writes {
				writes[i].Stream.Category = category
			}
			const callers = 8
			results := make([][]eventstore.Result, callers)
			atOnce(callers, func(i int) {
				given := slices.Clone(writes)
				rand.Shuffle(len(given), func(a, b int) { given[a], given[b] = given[b], given[a] })
				res, err := target.Store.AppendAll(bounded(t), given...)
				if err != nil {
					t.Errorf("AppendAll = %v", err)
				}
				results[i] = res
			})
			firsts := 0
			for _, res := range results {
				if len(res) == len(writes) && !res[0].Repeated {
					firsts++
				}
			}
			equal(t, "calls that were the first", firsts, 1)
			for _, w := range writes {
				equal(t, "events of "+w.Stream.String(), len(readStream(t, target.Store, w.Stream, eventstore.StreamQuery{})), len(w.Events))
			}
		}
	},
	"many writers, random streams, random order": func(t *testing.T, target Target) {
		const callers, each, streams = 8, 15, 6
		acked := make([]int, callers)
		atOnce(callers, func(c int) {
			for range each {
				var writes []eventstore.Write
				for _, i := range rand.Perm(streams)[:2+rand.IntN(4)] {
					writes = append(writes, eventstore.Write{Stream: order(fmt.Sprint(i)), Events: notes(1000*c, 1+rand.IntN(2))})
				}
				n, err := appendSome(t, target.Store, writes)
				if err != nil {
					t.Errorf("AppendAll = %v", err)
				}
				acked[c] += n
			}
		})
		want := 0
		for _, n := range acked {
			want += n
		}
		log := readLog(t, target.Store, 7)
		equal(t, "events", len(log), want)
		checkOrder(t, log)
	},
	"in a transaction of the caller": func(t *testing.T, target Target) {
		if target.Begin == nil {
			return
		}
		undone := begin(t, target)
		mustAppendAll(t, undone.Store, three(eventstore.None())...)
		done(t, func() error { return undone.Rollback(bounded(t)) })
		equal(t, "events after a rollback", len(readLog(t, target.Store, 10)), 0)

		tx := begin(t, target)
		writes := three(eventstore.None())
		first := mustAppendAll(t, tx.Store, writes...)
		equal(t, "events before the commit", len(readLog(t, target.Store, 10)), 0)
		conflicting := []eventstore.Write{
			{Stream: order("d"), Events: notes(1, 1)},
			{Stream: order("a"), Expect: eventstore.Exactly(1), Events: notes(1, 1)},
		}
		if _, err := tx.Store.AppendAll(bounded(t), conflicting...); !errors.Is(err, eventstore.ErrConflict) {
			t.Errorf("AppendAll = %v, want ErrConflict", err)
		}
		for i := range first {
			first[i].Repeated = true
		}
		equal(t, "repeat within the transaction", mustAppendAll(t, tx.Store, writes...), first)
		reused := []eventstore.Write{writes[0], {Stream: order("d"), Events: notes(1, 1)}}
		if _, err := tx.Store.AppendAll(bounded(t), reused...); !errors.Is(err, eventstore.ErrIDReused) {
			t.Errorf("AppendAll = %v, want ErrIDReused", err)
		}
		conflicting[1].Expect = eventstore.Exactly(3)
		mustAppendAll(t, tx.Store, conflicting...)
		done(t, func() error { return tx.Commit(bounded(t)) })
		equal(t, "events after the commit", len(readLog(t, target.Store, 10)), 8)
		checkOrder(t, readLog(t, target.Store, 3))
	},
}

// appendSome appends the writes at any version, or behind what it has read, and
// returns how many events were stored.
func appendSome(t *testing.T, s eventstore.Store, writes []eventstore.Write) (int, error) {
	events := 0
	exact := rand.IntN(2) == 0
	for i, w := range writes {
		events += len(w.Events)
		if !exact {
			continue
		}
		writes[i].Expect = eventstore.None()
		for r, err := range s.ReadStream(bounded(t), w.Stream, eventstore.StreamQuery{Backward: true, Limit: 1}) {
			if err != nil {
				return 0, err
			}
			writes[i].Expect = eventstore.Exactly(r.Version)
		}
	}
	res, err := s.AppendAll(bounded(t), writes...)
	if errors.Is(err, eventstore.ErrConflict) && exact {
		return 0, nil
	}
	if err == nil && len(res) != len(writes) {
		err = fmt.Errorf("%d results for %d writes", len(res), len(writes))
	}
	return events, err
}
