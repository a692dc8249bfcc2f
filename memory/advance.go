package memory

import (
	"context"

	"github.com/annals-go/annals/worker"
)

// advance is an Advance that runs.
type advance struct {
	tx     *Tx
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the part is free for the next one
}

// hold waits until no other Advance has the part, and returns its mark then.
func (d *DB) hold(ctx context.Context, key partKey, a *advance) (worker.Mark, error) {
	for {
		if err := ctx.Err(); err != nil {
			return worker.Mark{}, err
		}
		d.mu.Lock()
		if err := d.presentLocked(key.name, a.tx.term); err != nil {
			d.mu.Unlock()
			return worker.Mark{}, err
		}
		before := d.holders[key]
		if before == nil {
			d.holders[key] = a
			at := d.marks[key]
			d.mu.Unlock()
			return at, nil
		}
		d.mu.Unlock()
		select {
		case <-before.ended:
		case <-ctx.Done():
		}
	}
}

func (d *DB) release(key partKey, a *advance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holders[key] == a {
		delete(d.holders, key)
		close(a.ended)
	}
}

// fenceLocked ends what runs under the terms of a segment, up to an epoch.
func (d *DB) fenceLocked(name, segment string, epoch int64) {
	for key, a := range d.holders {
		if key.name == name && a.tx.term != (worker.Term{}) && a.tx.term.Segment == segment && a.tx.term.Epoch <= epoch {
			delete(d.holders, key)
			close(a.ended)
			a.tx.fenceLocked()
			a.cancel(worker.ErrFenced)
		}
	}
}
