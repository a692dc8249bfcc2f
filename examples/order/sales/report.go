package sales

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// Row is a line of the report: what one country bought and gave back in one month.
type Row struct {
	Month, Country string
	// Orders and Returns count invoices; one that spans several months or
	// countries counts in each.
	Orders, Returns int64
	Lines, Units    int64
	Revenue         string // exact, with three decimals
}

// Querier is a connection, a pool or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Report sums the live read model up, sorted by month and country, byte by byte.
func Report(ctx context.Context, db Querier) ([]Row, error) {
	rows, err := db.Query(ctx, `
SELECT month,
       country,
       count(*) FILTER (WHERE kind = 'order') AS orders,
       count(*) FILTER (WHERE kind = 'return') AS returns,
       sum(lines)::bigint AS lines,
       sum(units)::bigint AS units,
       round(sum(revenue), 3)::text AS revenue
FROM `+Schema+`.invoices
GROUP BY month, country
ORDER BY month, country`)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	report, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Row])
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return report, nil
}

// WriteCSV writes the report with its header.
func WriteCSV(w io.Writer, report []Row) error {
	out := csv.NewWriter(w)
	records := [][]string{{"month", "country", "orders", "returns", "lines", "units", "revenue"}}
	for _, r := range report {
		records = append(records, []string{
			r.Month, r.Country, fmt.Sprint(r.Orders), fmt.Sprint(r.Returns), fmt.Sprint(r.Lines), fmt.Sprint(r.Units), r.Revenue,
		})
	}
	if err := out.WriteAll(records); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
