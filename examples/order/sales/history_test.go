package sales_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/projection/projectiontest"
)

// The same orders, as they were stored before and as they are stored now.
var history = []struct {
	id string
	v1 string
	v2 order.Placed
}{
	{
		"536365",
		`{"customer":"17850","at":"2010-12-31T23:58:00Z","country":"Malta","lines":[{"code":"1","description":"","quantity":6,"cents":255},{"code":"1","description":"","quantity":1,"cents":10}]}`,
		order.Placed{Customer: "17850", Lines: []retail.Line{
			line(6, 2550, "2010-12-31 23:58:00", "Malta"), line(1, 100, "2010-12-31 23:58:00", "Malta"),
		}},
	},
	{
		"536366",
		`{"at":"2011-01-01T00:30:00+01:00","country":"C\u00f4te d'Ivoire","lines":[{"code":"1","description":"","quantity":-40,"cents":0}]}`,
		order.Placed{Lines: []retail.Line{line(-40, 0, "2010-12-31 23:30:00", "C\u00f4te d'Ivoire")}},
	},
	{
		"536367",
		`{"at":"2011-02-01T00:00:00Z","country":"","lines":[{"code":"1","description":"","quantity":1000000000,"cents":99999999999},{"code":"1","description":"","quantity":1,"cents":-25075}]}`,
		order.Placed{Lines: []retail.Line{
			line(1_000_000_000, 999_999_999_990, "2011-02-01 00:00:00", ""), line(1, -250_750, "2011-02-01 00:00:00", ""),
		}},
	},
	{
		"536368",
		`{"customer":"17850","at":"2011-02-01T00:00:00Z","country":"Malta","lines":[]}`,
		order.Placed{Customer: "17850", Lines: []retail.Line{}},
	},
}

func placedV1(payload string) event.Raw {
	return event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(payload)}
}

func TestStoredV1AndV2GiveTheSameReadModel(t *testing.T) {
	t.Parallel()
	old, today := open(t), open(t)
	more := order.Extended{Lines: []retail.Line{line(2, 425, "2011-01-03 09:00:00", "Malta")}}
	back := returns.Accepted{Lines: []retail.Line{line(-1, 2550, "2011-01-04 09:00:00", "Malta")}}
	for _, h := range history {
		old.append("order-"+h.id, append([]event.Raw{placedV1(h.v1)}, encode[order.Event](t, order.Codec, more)...)...)
		today.order(h.id, h.v2, more)
	}
	for _, s := range []shop{old, today} {
		s.giveBack("C536369", back)
		s.project()
	}

	if got, want := old.texts(`SELECT DISTINCT schema_version::text FROM annals.events WHERE name = 'order.placed'`), []string{"1"}; !cmp.Equal(got, want) {
		t.Errorf("schema versions of the old log = %q, want %q", got, want)
	}
	want := []string{
		`(536365,order,2010-12,Malta,2,7,15.4)`,
		`(536365,order,2011-01,Malta,1,2,0.85)`,
		`(536366,order,2010-12,"C` + "\u00f4" + `te d'Ivoire",1,-40,0)`,
		`(536366,order,2011-01,Malta,1,2,0.85)`,
		`(536367,order,2011-01,Malta,1,2,0.85)`,
		`(536367,order,2011-02,"",2,1000000001,999999999989999749.25)`,
		`(536368,order,2011-01,Malta,1,2,0.85)`,
		`(C536369,return,2011-01,Malta,1,-1,-2.55)`,
	}
	if diff := cmp.Diff(want, old.rows()); diff != "" {
		t.Errorf("read model of the old log (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(today.rows(), old.rows()); diff != "" {
		t.Errorf("read models (-v2 +v1):\n%s", diff)
	}
	if diff := cmp.Diff(today.report(), old.report()); diff != "" {
		t.Errorf("reports (-v2 +v1):\n%s", diff)
	}
	if got := old.verify(); len(got.Differences) > 0 || got.Rows != len(want) {
		t.Errorf("verification of the old log = %+v, want %d rows without difference", got, len(want))
	}
}

// The same through one transaction, without log and checkpoint.
func TestAppliedV1AndV2GiveTheSameRows(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, h := range history {
		var got [2][]string
		for i, given := range []projectiontest.Given{
			projectiontest.Stored("order-"+h.id, "order.placed", 1, h.v1),
			projectiontest.With(order.Codec).Event("order-"+h.id, h.v2),
		} {
			got[i] = s.applied(given)
		}
		if diff := cmp.Diff(got[1], got[0]); diff != "" {
			t.Errorf("rows of order %s (-v2 +v1):\n%s", h.id, diff)
		}
	}
}

func TestOrderStoredAsV1IsPlacedOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	orders := aggregate.New[order.Order](s.db, order.Category, order.Codec)
	for _, h := range history {
		s.append("order-"+h.id, placedV1(h.v1))
		res, err := orders.Execute(t.Context(), h.id, order.Place{Customer: h.v2.Customer, Lines: h.v2.Lines})
		if err != nil || res.Events != 0 || res.Version != 1 {
			t.Errorf("place order %s again: %+v, error %v, want no event behind version 1", h.id, res, err)
		}
	}
}
