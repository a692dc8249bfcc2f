package sales_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/examples/order/sales"
	"github.com/annals-go/annals/projection/projectiontest"
)

// applied returns the rows that an event makes, in a transaction that is rolled
// back.
func (s shop) applied(given ...projectiontest.Given) []string {
	s.t.Helper()
	tx, err := s.pool.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(s.t.Context()))
	projectiontest.Apply(s.t, sales.Projection(sales.Schema), tx, given...)
	rows, err := tx.Query(s.t.Context(), `SELECT i::text FROM sales.invoices AS i ORDER BY invoice, month, country`)
	if err != nil {
		s.t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return texts
}

func threeInvoices(t *testing.T) shop {
	t.Helper()
	s := open(t)
	s.order("1", order.Placed{Lines: []retail.Line{line(1, 2550, "2011-01-01 00:00:00", "Malta")}})
	s.order("2", order.Placed{Lines: []retail.Line{line(2, 425, "2011-01-01 00:00:00", "Korea, Republic of")}})
	s.giveBack("C3", returns.Accepted{Lines: []retail.Line{line(-1, 2550, "2011-01-02 00:00:00", "Malta")}})
	s.project()
	return s
}

func TestVerifyFindsDifferences(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, vandal string
		want         []string
	}{
		{"untouched", `SELECT`, nil},
		{"changed", `UPDATE sales.invoices SET revenue = 2.551 WHERE invoice = '1'`, []string{
			"only in the live one: (1,order,2011-01,Malta,1,1,2.551)",
			"only in the rebuilt one: (1,order,2011-01,Malta,1,1,2.55)",
		}},
		{"kind", `UPDATE sales.invoices SET kind = 'order' WHERE invoice = 'C3'`, []string{
			"only in the live one: (C3,order,2011-01,Malta,1,-1,-2.55)",
			"only in the rebuilt one: (C3,return,2011-01,Malta,1,-1,-2.55)",
		}},
		{"deleted", `DELETE FROM sales.invoices WHERE invoice = '2'`, []string{
			`only in the rebuilt one: (2,order,2011-01,"Korea, Republic of",1,2,0.85)`,
		}},
		{"added", `INSERT INTO sales.invoices VALUES ('4', 'order', '2011-01', 'Malta', 1, 1, 0)`, []string{
			"only in the live one: (4,order,2011-01,Malta,1,1,0)",
		}},
		{"doubled", `ALTER TABLE sales.invoices DROP CONSTRAINT invoices_pkey; INSERT INTO sales.invoices SELECT * FROM sales.invoices WHERE invoice = '1'`, []string{
			"only in the live one: (1,order,2011-01,Malta,1,1,2.55)",
		}},
		{"spelling of a number", `UPDATE sales.invoices SET revenue = round(revenue, 6)`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := threeInvoices(t)
			s.exec(tt.vandal)
			want := sales.Verification{Events: 3, Rows: 3, Differences: tt.want}
			if tt.want == nil {
				want.Differences = []string{}
			}
			if diff := cmp.Diff(want, s.verify()); diff != "" {
				t.Errorf("verification (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyShowsAtMostTen(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 8 {
		s.order(fmt.Sprint(i), order.Placed{Lines: []retail.Line{line(1, 1, "2011-01-01 00:00:00", "Malta")}})
	}
	s.project()
	s.exec(`UPDATE sales.invoices SET lines = lines + 1`)
	if got := s.verify(); len(got.Differences) != 10 || got.Events != 8 || got.Rows != 8 {
		t.Errorf("verification = %+v, want 10 differences, 8 rows, 8 events", got)
	}
}

// The log has more than one page of it.
func TestVerifyReadsTheWholeLog(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 3 {
		many := make([]order.Event, 400)
		for j := range many {
			many[j] = order.Extended{Lines: []retail.Line{line(1, 1, "2011-01-01 00:00:00", "Malta")}}
		}
		s.order(fmt.Sprint(i), many...)
	}
	s.append("ticket-1", event.Raw{Name: "ticket.opened", Schema: 1, ContentType: "text/plain", Payload: []byte("?")})
	s.project()
	if got := s.verify(); got.Events != 1201 || got.Rows != 3 || len(got.Differences) > 0 {
		t.Errorf("verification = %+v, want 3 rows of 1201 events without difference", got)
	}
	if diff := cmp.Diff([]sales.Row{{"2011-01", "Malta", 3, 0, 1200, 1200, "1.200"}}, s.report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// failing breaks while the second page is read.
type failing struct{ eventstore.Log }

var errLog = errors.New("log is out of reach")

func (f failing) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	if q.After > 0 {
		return eventstore.Page{}, errLog
	}
	return f.Log.ReadLog(ctx, q)
}

func TestVerifyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := threeInvoices(t)
	everything := func() []string {
		return append(s.rows(), s.texts(`
SELECT n.nspname || '.' || c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname LIKE '%invoices%'
UNION ALL
SELECT c::text
FROM annals.checkpoints c
UNION ALL
SELECT pid::text
FROM pg_stat_activity
WHERE datname = current_database()
  AND state LIKE 'idle in transaction%'
ORDER BY 1`)...)
	}
	before := everything()
	for range 2 {
		s.verify()
	}
	if _, err := sales.Verify(t.Context(), s.pool, failing{s.db}); !errors.Is(err, errLog) || err.Error() != "verify read model: log is out of reach" {
		t.Errorf("error = %v, want verify read model: log is out of reach", err)
	}
	s.exec(`UPDATE sales.invoices SET units = 0 WHERE invoice = '1'`)
	s.verify()
	s.exec(`UPDATE sales.invoices SET units = 1 WHERE invoice = '1'`)
	if diff := cmp.Diff(before, everything()); diff != "" {
		t.Errorf("database (-before +after):\n%s", diff)
	}
}
