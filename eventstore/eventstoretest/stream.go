package eventstoretest

import (
	"errors"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var streamTests = map[string]func(*testing.T, Target){
	"forward, backward, from, limit": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 5)...)
		mustAppend(t, target.Store, another, eventstore.None(), notes(1, 2)...)
		for _, c := range []struct {
			q    eventstore.StreamQuery
			want []int
		}{
			{eventstore.StreamQuery{}, []int{1, 2, 3, 4, 5}},
			{eventstore.StreamQuery{From: 4}, []int{4, 5}},
			{eventstore.StreamQuery{From: 6}, []int{}},
			{eventstore.StreamQuery{From: -1, Limit: -1}, []int{1, 2, 3, 4, 5}},
			{eventstore.StreamQuery{From: -1, Limit: 2, Backward: true}, []int{5, 4}},
			{eventstore.StreamQuery{From: 2, Limit: 2}, []int{2, 3}},
			{eventstore.StreamQuery{Backward: true}, []int{5, 4, 3, 2, 1}},
			{eventstore.StreamQuery{Backward: true, Limit: 1}, []int{5}},
			{eventstore.StreamQuery{Backward: true, From: 2}, []int{2, 1}},
			{eventstore.StreamQuery{Backward: true, From: 9, Limit: 2}, []int{5, 4}},
		} {
			equal(t, "versions", versions(readStream(t, target.Store, stream, c.q)), c.want)
		}
		equal(t, "stream that does not exist", len(readStream(t, target.Store, order("none"), eventstore.StreamQuery{})), 0)
	},
	"long stream, in pages, ended early": func(t *testing.T, target Target) {
		const n = 2500
		for at := 0; at < n; at += 500 {
			mustAppend(t, target.Store, stream, eventstore.Exactly(event.Version(at)), notes(at, 500)...)
		}
		for _, q := range []eventstore.StreamQuery{{}, {Backward: true}, {Limit: 1700}} {
			got := readStream(t, target.Store, stream, q)
			want := n
			if q.Limit > 0 {
				want = q.Limit
			}
			if len(got) != want {
				t.Errorf("%+v: %d events, want %d", q, len(got), want)
			}
			for i, r := range got {
				v := event.Version(i + 1)
				if q.Backward {
					v = event.Version(n - i)
				}
				if r.Version != v {
					t.Fatalf("%+v: %s at place %d", q, r, i)
				}
			}
		}
		for r, err := range target.Store.ReadStream(bounded(t), stream, eventstore.StreamQuery{}) {
			if err != nil || r.Version == 3 {
				break
			}
			// A caller may use the store within the loop.
			mustAppend(t, target.Store, another, eventstore.Any(), note(1))
		}
	},
	"bad name": func(t *testing.T, target Target) {
		for _, err := range target.Store.ReadStream(bounded(t), event.Stream{}, eventstore.StreamQuery{}) {
			if want := `read stream: invalid category "": empty`; !errors.Is(err, event.ErrInvalidName) || err.Error() != want {
				t.Errorf("ReadStream = %v, want %s", err, want)
			}
		}
	},
}
