package eventstoretest

import (
	"errors"
	"slices"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var idempotencyTests = map[string]func(*testing.T, Target){
	"a repeat returns the first result": func(t *testing.T, target Target) {
		first := notes(1, 3)
		want := mustAppend(t, target.Store, stream, eventstore.None(), first...)
		mustAppend(t, target.Store, stream, eventstore.Exactly(3), notes(4, 2)...)
		want.Repeated = true
		for _, expect := range []eventstore.Expect{eventstore.None(), eventstore.Any(), eventstore.Exists(), eventstore.Exactly(0), eventstore.Exactly(5), eventstore.Exactly(9)} {
			again := slices.Clone(first)
			again[1].Metadata.Actor = "metadata is not compared"
			equal(t, "repeat expecting "+expect.String(), mustAppend(t, target.Store, stream, expect, again...), want)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 5)
	},
	"an id belongs to its stream": func(t *testing.T, target Target) {
		first := notes(1, 1)
		mustAppend(t, target.Store, stream, eventstore.None(), first...)
		res := mustAppend(t, target.Store, another, eventstore.None(), first...)
		if res.Repeated {
			t.Error("the same id in another stream is another event")
		}
	},
	"a reused id is refused": func(t *testing.T, target Target) {
		first := notes(1, 3)
		mustAppend(t, target.Store, stream, eventstore.None(), first...)
		change := func(f func(e *event.Raw)) []event.Raw {
			es := slices.Clone(first)
			f(&es[1])
			return es
		}
		for name, events := range map[string][]event.Raw{
			"other payload":      change(func(e *event.Raw) { e.Payload = []byte(`"x"`) }),
			"other name":         change(func(e *event.Raw) { e.Name = "order.other" }),
			"other schema":       change(func(e *event.Raw) { e.Schema = 2 }),
			"other content type": change(func(e *event.Raw) { e.ContentType = "text/plain" }),
			"more than before":   append(slices.Clone(first), notes(9, 1)...),
			"one new among them": {first[0], notes(9, 1)[0], first[1]},
			"new one in front":   append(notes(9, 1), first...),
			"other order":        {first[1], first[0], first[2]},
		} {
			for _, expect := range []eventstore.Expect{eventstore.Any(), eventstore.Exactly(3), eventstore.None()} {
				_, err := target.Store.Append(bounded(t), stream, expect, events...)
				var reused *eventstore.IDReusedError
				if !errors.Is(err, eventstore.ErrIDReused) || !errors.As(err, &reused) {
					t.Errorf("%s, expecting %s: %v, want an *IDReusedError", name, expect, err)
					continue
				}
				if reused.Stream != stream || first[reused.Version-1].Metadata.ID != reused.ID {
					t.Errorf("%s, expecting %s: %v names the wrong event", name, expect, err)
				}
			}
		}
		equal(t, "events", versions(readLog(t, target.Store, 10)), []int{1, 2, 3})
	},
	"a part of the first append is a repeat too": func(t *testing.T, target Target) {
		first := notes(1, 3)
		mustAppend(t, target.Store, stream, eventstore.None(), first...)
		res := mustAppend(t, target.Store, stream, eventstore.None(), first[:2]...)
		if !res.Repeated || res.Version != 2 {
			t.Errorf("result %+v, want a repeat that ends at version 2", res)
		}
	},
	"the same append at once, from many": func(t *testing.T, target Target) {
		for _, expect := range []eventstore.Expect{eventstore.None(), eventstore.Any()} {
			st := order("twice" + expect.String()[:3])
			events := notes(1, 2)
			results := make([]eventstore.Result, 8)
			atOnce(len(results), func(i int) {
				res, err := target.Store.Append(bounded(t), st, expect, events...)
				if err != nil {
					t.Errorf("append: %v", err)
				}
				results[i] = res
			})
			firsts := 0
			for _, r := range results {
				if !r.Repeated {
					firsts++
				}
				r.Repeated = results[0].Repeated
				equal(t, "result", r, results[0])
			}
			equal(t, "appends that were the first", firsts, 1)
			equal(t, "versions", versions(readStream(t, target.Store, st, eventstore.StreamQuery{})), []int{1, 2})
		}
	},
}
