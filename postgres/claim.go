package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-go/annals/worker"
)

// Index: terms_pkey. Lock: the row of the term, for its own transaction. Promise:
// P10; migrations/009_terms.sql says how.
const claimSQL = `
SELECT outcome, coalesce(at_epoch, 0), coalesce(at_holder, ''), at_until, coalesce(open, '{}'), coalesce(denied, '{}')
FROM {{schema}}.claim_v1($1, $2, $3, $4, $5, $6)`

// Claim implements worker.Terms. It ends the sessions that have a batch of the last
// term open, which takes the role that they logged in with, or pg_signal_backend; and
// waits up to about 2 s for them to go.
func (d *DB) Claim(ctx context.Context, c worker.Claiming) (worker.Term, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var (
		outcome, holder string
		epoch           int64
		until           *time.Time
		open, denied    []int32
	)
	err := d.pool.QueryRow(ctx, d.sql(claimSQL), c.Name, c.Holder, c.Segment, c.Lease, c.Epoch, c.Seize).
		Scan(&outcome, &epoch, &holder, &until, &open, &denied)
	switch {
	case err != nil:
		err = missing(late(ctx, err))
	case outcome == "claimed":
		return worker.Term{Segment: c.Segment, Epoch: epoch}, nil
	case outcome == "moved":
		err = fmt.Errorf("%w: its epoch is %d, not %d", worker.ErrTaken, epoch, c.Epoch)
	case outcome == "running":
		err = fmt.Errorf("%w: term %d of %s runs until %s", worker.ErrTaken, epoch, holder, until.UTC().Format(time.RFC3339Nano))
	case len(denied) > 0:
		err = fmt.Errorf("%w: batches of term %d are open in the sessions %v, of which this role may not end %v: log all workers in with one role, or grant it pg_signal_backend", worker.ErrTaken, epoch, open, denied)
	case len(open) > 0:
		err = fmt.Errorf("%w: batches of term %d are open in the sessions %v, which do not end: look at them in pg_stat_activity", worker.ErrTaken, epoch, open)
	default:
		err = fmt.Errorf("%w: somebody else claims it, or has locked its row", worker.ErrTaken)
	}
	return worker.Term{}, fmt.Errorf("claim segment %q of %s: %w", c.Segment, c.Name, err)
}
