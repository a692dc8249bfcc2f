package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
)

// Lock: the row of the mark, for its own transaction.
const publishSQL = `SELECT {{schema}}.publish_mark_v1()`

// ErrReplica says that a server was asked for what only a primary can do, in a
// session that may write: to append, or to publish the mark.
var ErrReplica = errors.New("this server is a replica, or the session read-only")

// PublishMark publishes how far the log is decided, whenever that has changed,
// but at most once in the given time, until ctx ends; it returns nil then. It is
// for readers of replicas, which do not show the locks of open appends: at a
// hole in the log they go by the newest mark that has reached them. Run it on
// the primary, in any process; several at once do no harm. It goes on after an
// error of the connection. Other errors: ErrReplica, ErrNotMigrated.
func (d *DB) PublishMark(ctx context.Context, every time.Duration) error {
	published := event.Position(-1)
	for ctx.Err() == nil {
		p, err := d.publish(ctx)
		if errors.Is(err, ErrReplica) || errors.Is(err, ErrNotMigrated) {
			return err
		}
		timer := time.NewTimer(every)
		if err == nil && p == published {
			_ = d.Wait(ctx, p) // nothing has changed
		}
		if err == nil {
			published = p
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (d *DB) publish(ctx context.Context) (event.Position, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var p int64
	err := d.pool.QueryRow(ctx, d.sql(publishSQL)).Scan(&p)
	if err != nil {
		return 0, fmt.Errorf("publish mark: %w", missing(late(ctx, err)))
	}
	return event.Position(p), nil
}
