package eventstoretest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// mixed appends events of several categories and names, some of which differ
// only where a pattern would not see it.
func mixed(t *testing.T, s eventstore.Store) {
	t.Helper()
	for i := range 30 {
		category := []string{"order", "order_item", "orderXitem", "payment"}[i%4]
		name := []string{"order.placed", "order.paid", "order.paid-late", "order.place_", "Order.paid"}[i%5]
		events := notes(i, 1+i%2)
		for j := range events {
			events[j].Name = name
		}
		mustAppend(t, s, event.Stream{Category: category, ID: fmt.Sprint(i % 3)}, eventstore.Any(), events...)
	}
}

func selects(wanted []string, name string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, name)
}

var selectionTests = map[string]func(*testing.T, Target){
	"by category, by name, by both": func(t *testing.T, target Target) {
		mixed(t, target.Store)
		all := readLog(t, target.Store, 1000)
		for _, q := range []eventstore.LogQuery{
			{Categories: []string{"order"}},
			{Categories: []string{"order_item"}},
			{Categories: []string{"payment", "order"}},
			{Names: []string{"order.paid"}},
			{Names: []string{"order.place_", "order.placed"}},
			{Categories: []string{"payment"}, Names: []string{"order.paid"}},
			{Categories: []string{"payment", "orderXitem"}, Names: []string{"Order.paid", "order.paid-late"}},
			{Categories: []string{"order", "order"}, Names: []string{"order.paid", "order.paid"}},
			{Categories: []string{"order", "unknown"}, Names: []string{"order.unknown", "order.paid"}},
			{Categories: []string{}, Names: []string{}},
		} {
			for _, after := range []event.Position{0, all[7].Position, all[len(all)-1].Position} {
				var want []event.Recorded
				for _, r := range all {
					if r.Position > after && selects(q.Categories, r.Stream.Category) && selects(q.Names, r.Name) {
						want = append(want, r)
					}
				}
				for _, limit := range []int{0, 1, 2, 5, len(want), len(want) + 1} {
					q.After, q.Limit = after, limit
					equal(t, fmt.Sprintf("events of %+v", q), readPages(t, target.Store, q), want)
				}
			}
		}
	},
	"what does not match moves the cursor to the end": func(t *testing.T, target Target) {
		mixed(t, target.Store)
		at := head(t, target.Store)
		for _, q := range []eventstore.LogQuery{
			{Categories: []string{"unknown"}},
			{Names: []string{"order.unknown"}},
			{Categories: []string{"payment"}, Names: []string{"order.unknown"}},
			{Categories: []string{"unknown"}, Names: []string{"order.paid"}},
		} {
			page := readPage(t, target.Store, q)
			equal(t, "events", len(page.Events), 0)
			equal(t, "next", page.Next, at)
			q.After = page.Next
			equal(t, "next, at the end", readPage(t, target.Store, q).Next, at)
		}
	},
	"next never passes what was not read": func(t *testing.T, target Target) {
		mixed(t, target.Store)
		all := readLog(t, target.Store, 1000)
		q := eventstore.LogQuery{Limit: 2, Names: []string{"order.paid"}}
		for {
			page := readPage(t, target.Store, q)
			for _, r := range all {
				given := slices.Contains(positions(page.Events), r.Position)
				covered := r.Position > page.After && r.Position <= page.Next && r.Name == "order.paid"
				if given != covered {
					t.Errorf("page from %d to %d: %s is given: %v, want %v", page.After, page.Next, r, given, covered)
				}
			}
			if page.Next == q.After {
				break
			}
			q.After = page.Next
		}
		equal(t, "cursor at the end", q.After, head(t, target.Store))
	},
	"what is appended later is found from a cursor at the end": func(t *testing.T, target Target) {
		mixed(t, target.Store)
		q := eventstore.LogQuery{Categories: []string{"refund"}}
		q.After = readPage(t, target.Store, q).Next
		mixed(t, target.Store)
		res := mustAppend(t, target.Store, event.Stream{Category: "refund", ID: "1"}, eventstore.None(), notes(1, 1)...)
		mixed(t, target.Store)
		equal(t, "events", positions(readPages(t, target.Store, q)), []event.Position{res.Position})
	},
	"bad names": func(t *testing.T, target Target) {
		for want, q := range map[string]eventstore.LogQuery{
			`read log after 0: invalid category "": empty`:                                                                        {Categories: []string{"order", ""}},
			`read log after 0: invalid category "order-1": want letters, digits and underscores, beginning with a letter`:         {Categories: []string{"order-1"}},
			`read log after 3: invalid event name "order": want family.fact, such as order.placed`:                                {After: 3, Names: []string{"order"}},
			`read log after 0: invalid event name "order.%' OR true; --": want letters, digits, dots, underscores and dashes`:     {Names: []string{"order.paid", "order.%' OR true; --"}},
			`read log after 0: invalid category "{order,payment}": want letters, digits and underscores, beginning with a letter`: {Categories: []string{"{order,payment}"}},
		} {
			page, err := target.Store.ReadLog(bounded(t), q)
			var bad *event.NameError
			if !errors.As(err, &bad) || err.Error() != want {
				t.Errorf("ReadLog = %v\nwant %s", err, want)
			}
			equal(t, "page", page, eventstore.Page{After: q.After, Next: q.After})
		}
	},
}
