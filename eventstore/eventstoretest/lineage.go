package eventstoretest

import (
	"errors"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var lineageTests = map[string]func(*testing.T, Target){
	"it is stable": func(t *testing.T, target Target) {
		first := lineage(t, target.Store)
		if now := first.Now(); now.Incarnation == (event.ID{}) || now.Server == "" || now.Replica {
			t.Errorf("the present generation is %+v", now)
		}
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 3)...)
		readLog(t, target.Store, 10)
		equal(t, "lineage", lineage(t, target.Store), first)
		got, err := eventstore.ParseLineage(first.String())
		if err != nil || got.Now().Incarnation != first.Now().Incarnation {
			t.Errorf("its text %s reads as %+v, %v", first, got, err)
		}
		equal(t, "common with itself", first.Common(first.Now().Server) > head(t, target.Store), true)
	},
	"pages of the server are pages": func(t *testing.T, target Target) {
		for i := range 4 {
			mustAppend(t, target.Store, []event.Stream{stream, another}[i%2], eventstore.Any(), notes(i, 1+i)...)
		}
		server := lineage(t, target.Store).Now().Server
		for _, q := range []eventstore.LogQuery{{}, {Limit: 3}, {After: 4}, {After: 99}, {Names: []string{"order.noted"}}, {Categories: []string{"order"}, Limit: 2}, {Names: []string{"order.none"}}} {
			want := readPage(t, target.Store, q)
			q.Server = server
			equal(t, "page", readPage(t, target.Store, q), want)
		}
	},
	"pages of another server are refused": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 3)...)
		server := lineage(t, target.Store).Now().Server
		for _, other := range []string{"another", server + "0", eventstore.Holder(server) + "+0"} {
			for _, q := range []eventstore.LogQuery{{Server: other}, {Server: other, Names: []string{"order.noted"}}, {Server: other, After: 2}} {
				page, err := target.Store.ReadLog(bounded(t), q)
				if !errors.Is(err, eventstore.ErrOtherServer) || len(page.Events) != 0 || page.Next != q.After {
					t.Errorf("ReadLog %+v = %+v, %v, want ErrOtherServer and nothing read", q, page, err)
				}
			}
		}
		equal(t, "events", len(readPage(t, target.Store, eventstore.LogQuery{Server: server}).Events), 3)
	},
}

func lineage(t *testing.T, log eventstore.Log) eventstore.Lineage {
	t.Helper()
	l, err := log.Lineage(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
