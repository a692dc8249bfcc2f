package sales_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/examples/order/sales"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// shop is a database of the test with a log and a read model.
type shop struct {
	t    *testing.T
	pool *pgxpool.Pool
	db   *postgres.DB
}

func open(t *testing.T) shop {
	t.Helper()
	s := shop{t: t, pool: postgrestest.Pool(t)}
	s.db = postgres.New(s.pool)
	for range 2 { // the second changes nothing
		if err := sales.Create(t.Context(), s.pool); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s shop) append(stream string, raw ...event.Raw) {
	s.t.Helper()
	at, err := event.ParseStream(stream)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.db.Append(s.t.Context(), at, eventstore.Any(), raw...); err != nil {
		s.t.Fatal(err)
	}
}

func (s shop) order(id string, events ...order.Event) {
	s.t.Helper()
	s.append(order.Category+"-"+id, encode(s.t, order.Codec, events...)...)
}

func (s shop) giveBack(id string, events ...returns.Event) {
	s.t.Helper()
	s.append(returns.Category+"-"+id, encode(s.t, returns.Codec, events...)...)
}

func encode[E any](t *testing.T, c *codec.Codec[E], events ...E) []event.Raw {
	t.Helper()
	raw := make([]event.Raw, len(events))
	for i, e := range events {
		var err error
		if raw[i], err = c.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

func (s shop) project() {
	s.t.Helper()
	if err := sales.Projection(sales.Schema).CatchUp(s.t.Context(), s.db); err != nil {
		s.t.Fatal(err)
	}
}

func (s shop) exec(sql string) {
	s.t.Helper()
	if _, err := s.pool.Exec(s.t.Context(), sql); err != nil {
		s.t.Fatal(err)
	}
}

// rows returns the read model as text, sorted.
func (s shop) rows() []string {
	s.t.Helper()
	return s.texts(`SELECT i::text FROM sales.invoices AS i ORDER BY invoice, month, country`)
}

func (s shop) texts(sql string) []string {
	s.t.Helper()
	rows, err := s.pool.Query(s.t.Context(), sql)
	if err != nil {
		s.t.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return texts
}

func (s shop) report() []sales.Row {
	s.t.Helper()
	report, err := sales.Report(s.t.Context(), s.pool)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

func (s shop) verify() sales.Verification {
	s.t.Helper()
	v, err := sales.Verify(s.t.Context(), s.pool, s.db)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// line has its moment as the files write it.
func line(quantity int64, price retail.Mills, at, country string) retail.Line {
	moment, err := time.Parse(time.DateTime, at)
	if err != nil {
		panic(err)
	}
	return retail.Line{Code: "1", Quantity: quantity, Price: price, At: moment, Country: country}
}

// ended returns a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
