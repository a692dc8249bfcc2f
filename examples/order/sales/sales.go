// Package sales keeps the read model of the order example: what each invoice
// sold and took back, by month and country, and the report that sums it up.
package sales

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/shopspring/decimal"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/projection"
)

// schema makes the table in the current schema. Rows are keyed by invoice, not
// only by what the report groups by: two partitions of the topic then never
// touch the same row, and never wait for each other.
const columns = `(
    invoice text   COLLATE "C" NOT NULL,
    kind    text   COLLATE "C" NOT NULL,
    month   text   COLLATE "C" NOT NULL,
    country text   COLLATE "C" NOT NULL,
    lines   bigint  NOT NULL,
    units   bigint  NOT NULL,
    revenue numeric NOT NULL,
    CONSTRAINT invoices_pkey PRIMARY KEY (invoice, month, country)
)`

// Schema is the Postgres schema of the live read model.
const Schema = "sales"

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Create makes the tables of the live read model, unless they are there.
func Create(ctx context.Context, db execer) error {
	// Two that create at once would collide in the catalogue.
	_, err := db.Exec(ctx, `
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('sales.invoices'));
    CREATE SCHEMA IF NOT EXISTS `+Schema+`;
    CREATE TABLE IF NOT EXISTS `+Schema+`.invoices `+columns+`;
END
$$`)
	if err != nil {
		return fmt.Errorf("create read model: %w", err)
	}
	return nil
}

// Projection returns the projection that keeps the table invoices of a schema.
// It adds to what is there, so it is right only if every event has its effect
// exactly once.
func Projection(schema string) *projection.Projection[pgx.Tx] {
	add := addTo(schema)
	return projection.New("sales",
		projection.On(order.Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[order.Event]) error {
			switch d := e.Data.(type) {
			case order.Placed:
				return add(ctx, tx, retail.Order, e.Stream.ID, d.Lines)
			case order.Extended:
				return add(ctx, tx, retail.Order, e.Stream.ID, d.Lines)
			}
			return nil
		}),
		projection.On(returns.Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[returns.Event]) error {
			switch d := e.Data.(type) {
			case returns.Accepted:
				return add(ctx, tx, retail.Return, e.Stream.ID, d.Lines)
			case returns.Extended:
				return add(ctx, tx, retail.Return, e.Stream.ID, d.Lines)
			}
			return nil
		}))
}

type group struct{ month, country string }

type sums struct {
	lines, units int64
	revenue      decimal.Decimal
}

func addTo(schema string) func(context.Context, pgx.Tx, retail.Kind, string, []retail.Line) error {
	insert := `
INSERT INTO ` + pgx.Identifier{schema, "invoices"}.Sanitize() + ` AS i
    (invoice, kind, month, country, lines, units, revenue)
SELECT $1, $2, g.month, g.country, g.lines, g.units, g.revenue
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[]::numeric[]) AS g (month, country, lines, units, revenue)
ON CONFLICT (invoice, month, country) DO UPDATE
SET lines = i.lines + excluded.lines,
    units = i.units + excluded.units,
    revenue = i.revenue + excluded.revenue`
	return func(ctx context.Context, tx pgx.Tx, kind retail.Kind, invoice string, lines []retail.Line) error {
		var (
			months, countries, revenues []string
			counts, units               []int64
		)
		for g, s := range sum(lines) {
			months, countries = append(months, g.month), append(countries, g.country)
			counts, units, revenues = append(counts, s.lines), append(units, s.units), append(revenues, s.revenue.String())
		}
		_, err := tx.Exec(ctx, insert, invoice, kind.String(), months, countries, counts, units, revenues)
		return err
	}
}

// sum groups lines as the report does. Money stays decimal.
func sum(lines []retail.Line) map[group]sums {
	groups := map[group]sums{}
	for _, l := range lines {
		g := group{l.At.UTC().Format("2006-01"), l.Country}
		s := groups[g]
		s.lines++
		s.units += l.Quantity
		s.revenue = s.revenue.Add(l.Revenue())
		groups[g] = s
	}
	return groups
}
