package sales

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
)

// Verification is the outcome of Verify.
type Verification struct {
	Events int // read from the log
	Rows   int // of the rebuilt read model
	// Differences shows rows that only one of the two has, at most ten.
	Differences []string
}

// Verify rebuilds the read model from the log, beside the live one, and
// compares them row by row. It works in one transaction on a temporary table
// and leaves nothing behind, however it ends. The live read model must have
// caught up, and nothing be appended meanwhile: what is not in both shows as a
// difference.
func Verify(ctx context.Context, pool *pgxpool.Pool, log eventstore.Log) (Verification, error) {
	var v Verification
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE invoices `+columns+` ON COMMIT DROP`); err != nil {
			return err
		}
		rebuild := Projection("pg_temp")
		at := eventstore.LogQuery{Limit: 500}
		for {
			page, err := log.ReadLog(ctx, at)
			if err != nil {
				return err
			}
			if len(page.Events) == 0 {
				break
			}
			if err := rebuild.Apply(ctx, tx, page.Events...); err != nil {
				return err
			}
			v.Events += len(page.Events)
			at.After = page.Next
		}
		return v.compare(ctx, tx)
	})
	if err != nil {
		return v, fmt.Errorf("verify read model: %w", err)
	}
	return v, nil
}

func (v *Verification) compare(ctx context.Context, tx pgx.Tx) error {
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_temp.invoices`).Scan(&v.Rows); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
(SELECT 'only in the live one: ' || i::text FROM (TABLE `+Schema+`.invoices EXCEPT ALL TABLE pg_temp.invoices) AS i LIMIT 5)
UNION ALL
(SELECT 'only in the rebuilt one: ' || i::text FROM (TABLE pg_temp.invoices EXCEPT ALL TABLE `+Schema+`.invoices) AS i LIMIT 5)`)
	if err != nil {
		return err
	}
	v.Differences, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}
