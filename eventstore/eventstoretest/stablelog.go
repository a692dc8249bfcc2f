package eventstoretest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var stableLogTests = map[string]func(*testing.T, Target){
	"a tailing reader is given what the log has in the end": func(t *testing.T, target Target) {
		for _, q := range []eventstore.LogQuery{
			{Limit: 1}, {Limit: 5}, {},
		} {
			tailing(t, target, q)
		}
	},
	"a tailing reader with a selection, too": func(t *testing.T, target Target) {
		for _, q := range []eventstore.LogQuery{
			{Limit: 3, Names: []string{"order.paid"}},
			{Limit: 7, Categories: []string{"order"}, Names: []string{"order.placed", "order.paid"}},
			{Limit: 1000, Names: []string{"order.never"}},
		} {
			tailing(t, target, q)
		}
	},
	"a page is the same whenever it is read": func(t *testing.T, target Target) {
		var writers sync.WaitGroup
		told := acks{at: map[event.Position]ack{}}
		told.write(t, &writers, target.Store, 20)
		var pages []eventstore.Page
		q := eventstore.LogQuery{Limit: 10}
		whileThey(&writers, func() {
			page := readPage(t, target.Store, q)
			if page.Next != q.After {
				pages = append(pages, page)
				q.After = page.Next
			}
		})
		for _, p := range pages {
			again := readPage(t, target.Store, eventstore.LogQuery{After: p.After, Limit: len(p.Events)})
			equal(t, fmt.Sprintf("page after %d", p.After), positions(again.Events), positions(p.Events))
		}
	},
	"an open transaction does not hide what it commits": func(t *testing.T, target Target) {
		if target.Begin == nil {
			return
		}
		for _, q := range []eventstore.LogQuery{{Limit: 2}, {Limit: 2, Categories: []string{"order"}}} {
			before := len(readPages(t, target.Store, q))
			tx := begin(t, target)
			mustAppend(t, tx.Store, stream, eventstore.Any(), notes(1, 1)...)
			// They may have to wait for the transaction, or overtake it.
			var writers sync.WaitGroup
			for i := range 4 {
				writers.Go(func() {
					if _, err := target.Store.Append(bounded(t), order(fmt.Sprint(i)), eventstore.Any(), notes(2, 1)...); err != nil {
						t.Errorf("append: %v", err)
					}
				})
			}
			var got []event.Recorded
			first := q
			for range 20 {
				page := readPage(t, target.Store, first)
				got, first.After = append(got, page.Events...), page.Next
			}
			mustAppend(t, tx.Store, another, eventstore.Any(), notes(3, 2)...)
			done(t, func() error { return tx.Commit(bounded(t)) })
			got = append(got, tail(t, target.Store, first, &writers)...)
			equal(t, "events", len(got), before+7)
			equal(t, "events given", positions(got), positions(readPages(t, target.Store, q)))
		}
	},
	"a rolled-back transaction leaves no hole that stops readers": func(t *testing.T, target Target) {
		if target.Begin == nil {
			return
		}
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for n := range 10 {
					tx, err := target.Begin(bounded(t))
					if err != nil {
						t.Errorf("begin: %v", err)
						return
					}
					end := tx.Rollback
					if n%2 == 0 {
						end = tx.Commit
					}
					if _, err := tx.Store.Append(bounded(t), order(fmt.Sprint(w)), eventstore.Any(), notes(n, 3)...); err != nil {
						t.Errorf("append: %v", err)
					}
					if err := end(bounded(t)); err != nil {
						t.Errorf("end: %v", err)
					}
				}
			})
		}
		tailed := tail(t, target.Store, eventstore.LogQuery{Limit: 4, Categories: []string{"order"}}, &writers)
		equal(t, "events", len(tailed), 4*5*3)
		equal(t, "events of a plain reader", readLog(t, target.Store, 7), tailed)
		checkOrder(t, tailed)
	},
}

// tailing compares what a reader is given while others write with what the log
// has when they are done.
func tailing(t *testing.T, target Target, q eventstore.LogQuery) {
	t.Helper()
	told := acks{at: map[event.Position]ack{}}
	var writers sync.WaitGroup
	told.write(t, &writers, target.Store, 20)
	tailed := tail(t, target.Store, q, &writers)
	var want []event.Recorded
	for _, r := range readLog(t, target.Store, 1000) {
		if selects(q.Categories, r.Stream.Category) && selects(q.Names, r.Name) {
			want = append(want, r)
		}
	}
	equal(t, "events tailed", positions(tailed), positions(want))
	equal(t, "two reads of the log", tailed, want)
}
