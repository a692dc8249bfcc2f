package projection

import (
	"context"
	"fmt"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// runner is one Run of a projection.
type runner[Tx any] struct {
	*Projection[Tx]
	options
	db worker.Store[Tx]
}

// reader is what the projection runs on.
func (r *runner[Tx]) reader() worker.Reader {
	w := r.worker
	w.Name, w.Store, w.Log = r.name, r.db, r.db
	w.Covers, w.Begin, w.Apply = r.covers, r.begin, r.apply
	return w
}

func (r *runner[Tx]) covers(e event.Recorded) bool {
	return slices.ContainsFunc(r.handlers, func(h Handler[Tx]) bool { return h.covers(e.Name) })
}

// begin refuses marks of the log, or of topics, that this run does not read: the events
// that they stand for would be applied a second time.
func (r *runner[Tx]) begin(ctx context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
	names := worker.SegmentNames(r.worker.Segments)
	own := func(p string) bool { return slices.Contains(names, p) }
	if r.source != nil {
		own = r.source.Owns
	}
	for p := range c {
		if !own(p) {
			return worker.Mark{}, 0, worker.Permanent(fmt.Errorf("run %s: part %q of its checkpoint: %w", r.name, p, ErrOtherSource))
		}
	}
	if r.source != nil {
		return c[part], 0, nil
	}
	m, err := worker.Resume(ctx, r.db, r.name, c[part])
	return m, m.Position, err
}

// apply calls the handlers and moves the mark, in one transaction.
func (r *runner[Tx]) apply(ctx context.Context, b worker.Batch) error {
	if sabotage.MarkLater {
		return r.markLater(ctx, b)
	}
	return r.db.Advance(ctx, r.name, b.Term, b.Part, func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
		if at.Revision != b.Write.Marks[b.Part].Revision && !sabotage.NoEpoch {
			return worker.Write{}, worker.ErrFenced
		}
		return b.Write, r.Apply(ctx, tx, b.Events...)
	})
}

// markLater is the mistake of sabotage.MarkLater: the mark is stored after the effects.
func (r *runner[Tx]) markLater(ctx context.Context, b worker.Batch) error {
	err := r.db.Advance(ctx, r.name, b.Term, b.Part, func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
		return worker.Write{Marks: worker.Checkpoint{b.Part: at}}, r.Apply(ctx, tx, b.Events...)
	})
	if err != nil {
		return err
	}
	m := b.Write.Marks[b.Part]
	m.Revision++
	b.Write.Marks[b.Part] = m
	return r.db.Save(ctx, r.name, b.Term, b.Write)
}
