// Package projection keeps read models in step with the log, effectively once:
// the rows that a handler writes and the checkpoint commit in one transaction.
//
// # Usage
//
//	var Totals = projection.New("totals",
//		projection.On(order.Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[order.Event]) error { ... }),
//		projection.On(payment.Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[payment.Event]) error { ... }))
//
//	err := Totals.Run(ctx, db)                             // from the log
//	err := Totals.Run(ctx, db, projection.From(consumer))  // from Kafka
//
// # Ordering
//
// The events of one stream are applied in order, whatever the source, and whoever of
// several workers applies them. From the log, into one segment, all events come in the
// order of their positions, as long as nothing is parked. With segments, and from a
// partitioned source, the streams of one segment or partition come in order, and
// segments and partitions run concurrently. Nothing can be concluded about the order
// of two streams in two of them, nor about that of two streams of which one is parked: a
// handler that joins streams has to take them in any order, or to name what they have in
// common with WithKey.
//
// # Failure
//
// A handler must do all of its work in the given transaction; what it does
// outside of it happens again whenever a batch is repeated, and also if this worker was
// overtaken by another one: then only its transaction is rolled back.
//
// A batch that fails is rolled back whole and searched for the event that has failed.
// That is held aside, parked, with all later events of its stream, and the others go on.
// It is tried again, see WithRetry, and when its attempts are used up it waits until
// somebody decides, see worker.Amender. An event of a covered family that cannot be
// decoded, or whose name or schema version this program does not know, waits at once, and
// so does one whose handler panics. After a fix, what is parked is applied in order,
// before anything newer of its stream. With WithStop, Run returns the error instead.
//
// When most of what is tried fails, or the error is of the database, marked by
// worker.Systemic, or of an open breaker, the projection pauses, parks nothing, and goes
// on by itself. Nothing is ever skipped. A read model without parked streams is complete
// up to its checkpoint; CatchUp says so.
//
// # Testing
//
// Package projectiontest applies events to a handler without a log.
package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/worker"
)

// ErrOtherSource says that the checkpoint was made from something that this run does
// not read: the log instead of a source, a source instead of the log, or a topic
// that the source has no more. Rebuild the read model under a new name.
var ErrOtherSource = errors.New("checkpoint was made from another source")

// Projection applies events to a read model in transactions of type Tx. It is
// immutable and safe for concurrent use.
type Projection[Tx any] struct {
	name     string
	handlers []Handler[Tx]
}

// Handler is the part of a projection that takes the events of one codec.
// Build it with On.
type Handler[Tx any] struct {
	covers func(name string) bool
	apply  func(ctx context.Context, tx Tx, r event.Recorded) error
}

// On returns a Handler that calls fn for each event of the codec's families, in
// order. Events of other families are not its business and pass by. The
// context carries metadata that names the event as the cause of what is
// appended under it.
func On[E, Tx any](c *codec.Codec[E], fn func(ctx context.Context, tx Tx, e event.Of[E]) error) Handler[Tx] {
	return Handler[Tx]{
		covers: c.Covers,
		apply: func(ctx context.Context, tx Tx, r event.Recorded) error {
			events, err := c.Decode(r)
			if errors.Is(err, codec.ErrUnavailable) {
				return worker.Systemic(err)
			} else if err != nil {
				return worker.Permanent(err)
			}
			ctx = event.WithCause(ctx, r)
			for _, e := range events {
				if err := fn(ctx, tx, e); err != nil {
					return fmt.Errorf("handle %s: %w", r, err)
				}
			}
			return nil
		},
	}
}

// New returns a projection. Its name is that of its checkpoint, so it never
// changes. It panics without a name or a handler.
func New[Tx any](name string, handlers ...Handler[Tx]) *Projection[Tx] {
	if name == "" || len(handlers) == 0 {
		panic(fmt.Sprintf("projection: New(%q) with %d handlers: want a name and a handler", name, len(handlers)))
	}
	// The kind is part of the name, so that a relay and a projection of one name
	// do not share a checkpoint.
	return &Projection[Tx]{"projection/" + name, handlers}
}

// Name returns the name of the checkpoint: "projection/" and the given name.
func (p *Projection[Tx]) Name() string { return p.name }

// Apply calls the handlers for each event, in the given order, in a transaction
// of the caller. It neither reads nor moves the checkpoint. Use it for a second
// copy of a read model, and in tests.
func (p *Projection[Tx]) Apply(ctx context.Context, tx Tx, events ...event.Recorded) error {
	return worker.Safely(func() error {
		for i, r := range events {
			for _, h := range p.handlers {
				if !h.covers(r.Name) {
					continue
				}
				if err := h.apply(ctx, tx, r); err != nil {
					return &worker.EventError{Index: i, Err: err}
				}
				crash.At("projection.handled")
			}
		}
		return nil
	})
}

// Run keeps the read model in step until ctx ends, and returns nil then, after
// the batch in flight. What may pass is waited for, and an event that fails for good is
// parked, see the package. Run returns an error only if a person has to decide: one
// that matches worker.ErrDiverged, worker.ErrAltered or ErrOtherSource, and with
// WithStop that of an event.
//
// It may run in several processes at once, which share its segments out among
// themselves: only one applies an event.
func (p *Projection[Tx]) Run(ctx context.Context, db worker.Store[Tx], opts ...Option) error {
	r, err := p.runner(db, opts)
	if err != nil {
		return err
	}
	if r.source != nil {
		return r.reader().Consume(ctx, r.source)
	}
	return r.reader().Run(ctx)
}

// CatchUp applies the log up to where its head is when it is called, and
// returns. It reads the log, whatever source Run uses. If another worker has a segment
// it waits for that one to get there. The error matches worker.ErrParked if some
// events are parked; what is no event's fault is returned after the attempts of
// WithRetry.
func (p *Projection[Tx]) CatchUp(ctx context.Context, db worker.Store[Tx], opts ...Option) error {
	r, err := p.runner(db, opts)
	if err != nil {
		return err
	}
	r.source = nil
	head, err := db.Head(ctx)
	if err != nil {
		return fmt.Errorf("catch up %s: %w", p.name, err)
	}
	return r.reader().RunTo(ctx, head)
}

func (p *Projection[Tx]) runner(db worker.Store[Tx], opts []Option) (*runner[Tx], error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.name, err)
	}
	return &runner[Tx]{Projection: p, options: o, db: db}, nil
}
