package eventstore_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var (
	a, b, c = event.NewID(), event.NewID(), event.NewID()
	lineage = eventstore.Lineage{
		{Incarnation: a, Server: "1", Since: 0},
		{Incarnation: a, Server: "2", Since: 50}, // a failover
		{Incarnation: b, Server: "2", Since: 40}, // a reader was set back
		{Incarnation: b, Server: "3", Since: 90},
		{Incarnation: c, Server: "3", Since: 70},
	}
)

func TestLineageCommon(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]event.Position{"1": 40, "2": 70, "3": math.MaxInt64, "4": 0, "": 0} {
		if got := lineage.Common(server); got != want {
			t.Errorf("Common(%q) = %d, want %d", server, got, want)
		}
	}
	for id, want := range map[event.ID]event.Position{a: 40, b: 70, c: math.MaxInt64} {
		if got, ok := lineage.CommonWith(id); got != want || !ok {
			t.Errorf("CommonWith = %d, %v, want %d", got, ok, want)
		}
	}
	if got, ok := lineage.CommonWith(event.NewID()); got != 0 || ok {
		t.Errorf("CommonWith an unknown one = %d, %v, want 0, false", got, ok)
	}
	if got := lineage.Now(); got != lineage[4] {
		t.Errorf("Now = %+v", got)
	}
	if got := (eventstore.Lineage{}).Now(); got != (eventstore.Generation{}) {
		t.Errorf("Now of none = %+v", got)
	}
}

func TestLineageText(t *testing.T) {
	t.Parallel()
	want := a.String() + "@0," + b.String() + "@40," + c.String() + "@70"
	if got := lineage.String(); got != want {
		t.Errorf("String = %s, want %s", got, want)
	}
	got, err := eventstore.ParseLineage(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(eventstore.Lineage{{Incarnation: a}, {Incarnation: b, Since: 40}, {Incarnation: c, Since: 70}}, got); diff != "" {
		t.Errorf("ParseLineage (-want +got):\n%s", diff)
	}
	for id, want := range map[event.ID]event.Position{a: 40, b: 70} {
		if got, ok := got.CommonWith(id); got != want || !ok {
			t.Errorf("CommonWith = %d, %v, want %d, also after the way through text", got, ok, want)
		}
	}
	var long eventstore.Lineage
	for range 20 {
		long = append(long, eventstore.Generation{Incarnation: event.NewID()})
	}
	if got, err := eventstore.ParseLineage(long.String()); err != nil || len(got) != 8 || got.Now() != long.Now() {
		t.Errorf("of 20 incarnations: %d, %v, want the last 8", len(got), err)
	}
	for _, bad := range []string{"x", a.String(), a.String() + "@", a.String() + "@-1", "@1", want + ",", strings.Repeat(want+",", 3) + want, "{" + a.String() + "}@1"} {
		_, err := eventstore.ParseLineage(bad)
		if want := `: want up to 8 of incarnation@position, joined by commas`; err == nil || !strings.HasSuffix(err.Error(), want) || !strings.HasPrefix(err.Error(), "parse lineage ") {
			t.Errorf("ParseLineage(%q) = %v", bad, err)
		}
	}
	if l, err := eventstore.ParseLineage(""); l != nil || err != nil {
		t.Errorf("ParseLineage of nothing = %v, %v", l, err)
	}
}
