package memory

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Checkpoint implements worker.Checkpoints.
func (d *DB) Checkpoint(_ context.Context, name string) (worker.Checkpoint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := worker.Checkpoint{}
	for k, m := range d.marks {
		if k.name == name {
			c[k.part] = m
		}
	}
	return c, nil
}

// SaveCheckpoint implements worker.Checkpoints.
func (d *DB) SaveCheckpoint(_ context.Context, name string, marks worker.Checkpoint) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for part, m := range marks {
		if err := d.own(m); err != nil {
			return fmt.Errorf("save checkpoint %s: part %q: %w", name, part, err)
		}
		if have := d.marks[partKey{name, part}].Revision; have != m.Revision {
			return fmt.Errorf("save checkpoint %s: part %q is at revision %d, not %d: %w", name, part, have, m.Revision, worker.ErrFenced)
		}
	}
	for part, m := range marks {
		m.Revision++
		d.marks[partKey{name, part}] = m
	}
	return nil
}

// Advance implements worker.Store. Changes that fn makes to the caller's own
// memory are the caller's to undo when fn fails.
func (d *DB) Advance(ctx context.Context, name, part string, fn func(context.Context, *Tx, worker.Mark) (worker.Mark, error)) error {
	key := partKey{name, part}
	d.mu.Lock()
	holder := d.holders[key]
	if holder == nil {
		holder = make(chan struct{}, 1)
		d.holders[key] = holder
	}
	d.mu.Unlock()
	select {
	case holder <- struct{}{}:
		defer func() { <-holder }()
	case <-ctx.Done():
		return fmt.Errorf("advance %s: %w", name, ctx.Err())
	}

	d.mu.Lock()
	at := d.marks[key]
	d.mu.Unlock()
	tx := d.Begin()
	defer tx.Rollback()
	next, err := fn(ctx, tx, at)
	if err != nil {
		return err
	}
	if tx.done {
		return fmt.Errorf("advance %s: %w", name, ErrTxDone)
	}
	if err := d.own(next); err != nil {
		return fmt.Errorf("advance %s: part %q: %w", name, part, err)
	}
	next.Revision = at.Revision + 1
	return tx.commit(func() error {
		if have := d.marks[key].Revision; have != at.Revision {
			return fmt.Errorf("advance %s: part %q is at revision %d, not %d: %w", name, part, have, at.Revision, worker.ErrFenced)
		}
		d.marks[key] = next
		return nil
	})
}

func (d *DB) own(m worker.Mark) error {
	if server := d.incarnation.String(); m.Own() && m.Server != server {
		return fmt.Errorf("held by %s, want %s: %w", server, m.Server, eventstore.ErrOtherServer)
	}
	return nil
}
