package projection

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// logPart is the part of a checkpoint that stands for the whole log.
const logPart = ""

// runner is one Run of a projection. It is the worker.Sink of a source.
type runner[Tx any] struct {
	*Projection[Tx]
	options
	db        worker.Store[Tx]
	delivered atomic.Int64
	// stored and resumed are the mark that the loop has started from, as it was stored and as a
	// place in the present generation of the log.
	stored, resumed worker.Mark
}

func (r *runner[Tx]) loop() worker.Loop {
	return worker.Loop{
		Name: r.name, Log: r.db, Batch: r.batch, Retry: r.retry, Timeout: r.timeout, Logger: r.log,
		Start: r.start, Apply: r.applyPage,
	}
}

func (r *runner[Tx]) start(ctx context.Context) (q eventstore.LogQuery, err error) {
	c, err := r.checkpoint(ctx, func(part string) bool { return part == logPart })
	if err != nil {
		return q, err
	}
	r.stored = c[logPart]
	r.resumed, err = worker.Resume(ctx, r.db, r.name, r.stored)
	return eventstore.LogQuery{After: r.resumed.Position, Server: r.resumed.Server}, err
}

func (r *runner[Tx]) applyPage(ctx context.Context, page eventstore.Page) error {
	return r.advance(ctx, logPart, func(at worker.Mark) (worker.Mark, []event.Recorded, error) {
		switch {
		case at.Position >= page.Next || at.Position < page.After:
			return at, nil, worker.ErrFenced // another process applied this page, or the mark was set back
		case at.Server == r.resumed.Server:
		case at.Revision == r.stored.Revision:
			at = r.resumed
		default:
			return at, nil, worker.ErrFenced // another process goes by another server
		}
		return at.Reached(page.Next, page.Events), page.Events, nil
	})
}

// Checkpoint implements worker.Sink.
func (r *runner[Tx]) Checkpoint(ctx context.Context) (worker.Checkpoint, error) {
	return r.checkpoint(ctx, r.source.Owns)
}

// checkpoint refuses marks of the log, or of topics, that this run does not
// read: the events that they stand for would be applied a second time.
func (r *runner[Tx]) checkpoint(ctx context.Context, own func(part string) bool) (worker.Checkpoint, error) {
	c, err := r.db.Checkpoint(ctx, r.name)
	if err != nil {
		return nil, err
	}
	for part := range c {
		if !own(part) {
			return nil, worker.Permanent(fmt.Errorf("run %s: part %q of its checkpoint: %w", r.name, part, ErrOtherSource))
		}
	}
	return c, nil
}

// consume runs the source until ctx ends, and again when it fails for a reason
// that may pass. Attempts count from the last delivery that took effect.
func (r *runner[Tx]) consume(ctx context.Context) error {
	for {
		before, worked := r.delivered.Load(), false
		err := r.retry.Do(ctx, r.log, r.name, func() error {
			if worked = r.delivered.Load() != before; worked {
				return nil // begin to count anew
			}
			return r.source.Consume(ctx, r)
		})
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it ended as it was told to
		case !worked:
			return err
		}
	}
}

// Deliver implements worker.Sink: it applies what is new in the delivery and
// moves the mark of the part, in one transaction.
func (r *runner[Tx]) Deliver(ctx context.Context, d worker.Delivery) error {
	err := r.retry.Do(ctx, r.log, r.name+" "+d.Part, func() error {
		ctx, cancel := worker.Detach(ctx, r.timeout)
		defer cancel()
		return r.advance(ctx, d.Part, func(at worker.Mark) (worker.Mark, []event.Recorded, error) {
			lineage, events, err := at.Receive(r.name, d)
			if err != nil {
				return at, nil, err
			}
			if lost := len(d.Events) - len(events); lost > 0 {
				r.log.WarnContext(ctx, "left out events of a history that the store has lost", "projection", r.name, "part", d.Part, "events", lost)
			}
			next, err := r.next(at, d, events)
			next.Lineage = lineage
			return next, events, err
		})
	})
	if err != nil {
		return worker.Permanent(err) // it has had its retries
	}
	r.delivered.Add(1)
	return nil
}

// next returns the mark after a delivery. The events of a part come in the
// order of their positions, repeats aside, so a position at or before the mark
// is a repeat and needs no window of remembered ids.
func (r *runner[Tx]) next(at worker.Mark, d worker.Delivery, events []event.Recorded) (worker.Mark, error) {
	if at.Of != 0 && at.Of != d.Of {
		return at, worker.Permanent(&worker.PartsError{Name: r.name, Part: d.Part, Was: at.Of, Is: d.Of})
	}
	offset := int64(0)
	if at.Source == d.Source {
		offset = at.Offset
	}
	if d.First > offset {
		return at, worker.Permanent(&worker.GapError{Name: r.name, Part: d.Part, Want: offset, Got: d.First})
	}
	next := worker.Mark{Position: at.Position, Source: d.Source, Offset: max(offset, d.Next), Of: d.Of}
	for _, e := range events {
		next.Position = max(next.Position, e.Position)
	}
	return next, nil
}

// advance applies the events behind the mark and moves it, in one transaction.
func (r *runner[Tx]) advance(ctx context.Context, part string, next func(at worker.Mark) (worker.Mark, []event.Recorded, error)) error {
	start := time.Now()
	var applied worker.Applied
	err := r.db.Advance(ctx, r.name, part, func(ctx context.Context, tx Tx, at worker.Mark) (worker.Mark, error) {
		mark, events, err := next(at)
		if err != nil {
			return at, err
		}
		fresh := behind(at.Position, events)
		if err := r.Apply(ctx, tx, fresh...); err != nil {
			return at, err
		}
		applied = worker.Applied{Name: r.name, Part: part, Events: fresh, Mark: mark}
		return mark, nil
	})
	if err == nil && r.hooks.Applied != nil {
		applied.Took = time.Since(start)
		r.hooks.Applied(applied)
	}
	return err
}

// behind returns the events that lie behind the position, each once.
func behind(at event.Position, events []event.Recorded) []event.Recorded {
	fresh := make([]event.Recorded, 0, len(events))
	for _, e := range events {
		if e.Position > at {
			fresh = append(fresh, e)
			at = e.Position
		}
	}
	return fresh
}
