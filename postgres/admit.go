package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// WithGate sets what is asked before each append, within a transaction too. What it
// waits counts in the time of the call (WithCallTimeout), and it holds no connection
// meanwhile but that of the caller's transaction. Default: none.
func WithGate(g eventstore.Gate) Option {
	return func(c *config) error {
		if g == nil {
			return errors.New("option WithGate: nil: want a gate")
		}
		c.gate = g
		return nil
	}
}

// admit asks the gate about an append that has to be over by end.
func (d *DB) admit(ctx context.Context, end time.Time, writes ...eventstore.PreparedWrite) error {
	if d.gate == nil {
		return nil
	}
	events := 0
	for _, w := range writes {
		events += len(w.Events)
	}
	ctx, cancel := d.limitTo(ctx, end)
	defer cancel()
	err := d.gate.Admit(ctx, events)
	if err == nil && ctx.Err() != nil {
		err = ended(ctx)
	}
	return late(ctx, err)
}
