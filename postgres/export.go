package postgres

import (
	"context"
	"fmt"
	"io"

	"github.com/annals-go/annals/transfer"
)

// Export writes the log to w as package transfer says, with the incarnation of
// the store in the header. It is transfer.Write for this store.
func (d *DB) Export(ctx context.Context, w io.Writer, opts ...transfer.WriteOption) (transfer.Summary, error) {
	l, err := d.Lineage(ctx)
	if err != nil {
		return transfer.Summary{}, fmt.Errorf("export log: %w", err)
	}
	return transfer.Write(ctx, w, d, append([]transfer.WriteOption{transfer.WithStore(l.Now().Incarnation.String())}, opts...)...)
}
