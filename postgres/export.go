package postgres

import (
	"context"
	"fmt"
	"io"

	"github.com/annals-go/annals/transfer"
)

const codeForbidden = "42501"

// Index: store_pkey. Lock: none.
const incarnationSQL = `
SELECT s.incarnation::text
FROM {{schema}}.store s`

// Export writes the log to w as package transfer says, with the incarnation of
// the store in the header, if the role may read it. It is transfer.Write for
// this store.
func (d *DB) Export(ctx context.Context, w io.Writer, opts ...transfer.WriteOption) (transfer.Summary, error) {
	var incarnation string
	err := d.pool.QueryRow(ctx, d.sql(incarnationSQL)).Scan(&incarnation)
	if err != nil && !hasCode(err, codeForbidden) {
		return transfer.Summary{}, fmt.Errorf("export log: %w", missing(err))
	}
	return transfer.Write(ctx, w, d, append([]transfer.WriteOption{transfer.WithStore(incarnation)}, opts...)...)
}
