package eventstoretest

import (
	"context"
	"errors"
	"sync"
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
		equal(t, "stream that does not exist", len(readStream(t, target.Store, event.Stream{Category: "order", ID: "none"}, eventstore.StreamQuery{})), 0)
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

var logTests = map[string]func(*testing.T, Target){
	"P1 P4 P5 a tailing reader misses nothing": func(t *testing.T, target Target) {
		const writers, each = 8, 40
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				own := event.Stream{Category: "order", ID: string(rune('a' + w))}
				for i := range each {
					st, expect := own, eventstore.Any()
					if i%3 == 0 {
						st = stream // all of them write this one
					}
					if _, err := target.Store.Append(bounded(t), st, expect, notes(1000*w+i, 1+i%4)...); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		var tailed []event.Recorded
		after, last := event.Position(0), false
		for {
			page, err := target.Store.ReadLog(bounded(t), eventstore.LogQuery{After: after, Limit: 5})
			if err != nil {
				t.Fatal(err)
			}
			tailed = append(tailed, page.Events...)
			after = page.Next
			if len(page.Events) > 0 {
				continue
			}
			if last {
				break
			}
			select {
			case <-finished:
				last = true
			default:
			}
		}
		again := readLog(t, target.Store, 1000)
		equal(t, "tailed events", len(tailed), len(again))
		equal(t, "two reads of the log", tailed, again)
		checkOrder(t, tailed)
		head, err := target.Store.Head(bounded(t))
		if err != nil || head != after {
			t.Errorf("Head = %d, %v, want %d", head, err, after)
		}
	},
	"P14 wait ends when there is something to read": func(t *testing.T, target Target) {
		woken := make(chan error, 1)
		go func() {
			for {
				err := target.Store.Wait(bounded(t), 0)
				head, _ := target.Store.Head(bounded(t))
				if err != nil || head > 0 {
					woken <- err
					return
				}
			}
		}()
		mustAppend(t, target.Store, stream, eventstore.None(), note(1))
		if err := <-woken; err != nil {
			t.Errorf("Wait = %v", err)
		}
	},
	"wait ends with its context": func(t *testing.T, target Target) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := target.Store.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v, want context.Canceled", err)
		}
	},
	"empty log": func(t *testing.T, target Target) {
		head, err := target.Store.Head(bounded(t))
		if err != nil || head != 0 {
			t.Errorf("Head = %d, %v, want 0", head, err)
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
}
