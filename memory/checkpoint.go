package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"

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

// Save implements worker.Checkpoints.
func (d *DB) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.writeLocked(name, term, w); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	return nil
}

// writeLocked makes all of a write, or nothing if there is an error.
func (d *DB) writeLocked(name string, term worker.Term, w worker.Write) error {
	if err := d.presentLocked(name, term); err != nil {
		return err
	}
	for _, part := range slices.Sorted(maps.Keys(w.Marks)) {
		m := w.Marks[part]
		if err := d.own(m); err != nil {
			return fmt.Errorf("part %q: %w", part, err)
		}
		if have := d.marks[partKey{name, part}].Revision; have != m.Revision {
			return fmt.Errorf("part %q is at revision %d, not %d: %w", part, have, m.Revision, worker.ErrFenced)
		}
	}
	if err := d.parkLocked(name, w); err != nil {
		return err
	}
	for part, m := range w.Marks {
		m.Revision++
		m.Epoch = max(d.marks[partKey{name, part}].Epoch, term.Epoch)
		d.marks[partKey{name, part}], d.updated[partKey{name, part}] = m, d.moment()
	}
	return nil
}

// Advance implements worker.Store. Changes that fn makes to the caller's own
// memory are the caller's to undo when fn fails.
//
// A Claim of the term's segment does not wait for fn: it rolls the transaction
// back, ends the context of fn with the cause worker.ErrFenced, and lets the next
// Advance of the part begin. Then the error matches worker.ErrFenced whatever fn
// returns.
func (d *DB) Advance(ctx context.Context, name string, term worker.Term, part string, fn func(context.Context, *Tx, worker.Mark) (worker.Write, error)) error {
	fail := func(err error) error { return fmt.Errorf("advance %s: %w", name, err) }
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &advance{tx: d.Begin(), cancel: cancel, ended: make(chan struct{})}
	a.tx.term = term
	at, err := d.hold(ctx, partKey{name, part}, a)
	if err != nil {
		return fail(err)
	}
	defer d.release(partKey{name, part}, a)
	defer a.tx.Rollback()
	w, err := fn(ctx, a.tx, at)
	switch {
	case a.tx.isFenced():
		return fail(overError(term))
	case err != nil:
		return err
	case a.tx.done:
		return fail(ErrTxDone)
	}
	if w.Marks, err = onlyMark(w.Marks, part, at); err != nil {
		return fail(err)
	}
	if err := a.tx.commit(func() error { return d.writeLocked(name, term, w) }); err != nil {
		return fail(err)
	}
	return nil
}

// onlyMark returns the marks of a write that may move one part, with the revision
// that the part had.
func onlyMark(marks worker.Checkpoint, part string, at worker.Mark) (worker.Checkpoint, error) {
	for other := range marks {
		if other != part {
			return nil, fmt.Errorf("part %q: its mark is written by an advance of part %q: want that of one part", other, part)
		}
	}
	m, ok := marks[part]
	if !ok {
		return nil, nil
	}
	if m.Revision == 0 {
		m.Revision = at.Revision
	}
	return worker.Checkpoint{part: m}, nil
}

func (d *DB) own(m worker.Mark) error {
	if server := d.incarnation.String(); m.Own() && m.Server != server {
		return fmt.Errorf("held by %s, want %s: %w", server, m.Server, eventstore.ErrOtherServer)
	}
	return nil
}
