package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/worker"
)

// ErrForgotten says that a message is not remembered, and lies where the consumer has
// forgotten: it comes long after it was published, or for a second time. It is parked,
// because it is not known whether it took effect.
var ErrForgotten = errors.New("message is of a time that the inbox has forgotten, so it is not known whether it took effect: retry it to apply it, or discard it if it did")

// Consumer has messages take effect in transactions of type Tx, each once. It is
// immutable and safe for concurrent use.
type Consumer[Tx any] struct {
	name   string
	routes []Route[Tx]
}

// NewConsumer returns a consumer. Its name is that of its checkpoint and of its inbox,
// so it never changes. A message goes through all routes that take it, in the given order
// and in one transaction; one that none takes passes by. It panics without a name or a
// route.
func NewConsumer[Tx any](name string, routes ...Route[Tx]) *Consumer[Tx] {
	if name == "" || len(routes) == 0 {
		panic(fmt.Sprintf("bus: NewConsumer(%q) with %d routes: want a name and a route", name, len(routes)))
	}
	// The kind is part of the name, so that a projection and a consumer of one name
	// do not share a checkpoint.
	return &Consumer[Tx]{"consumer/" + name, routes}
}

// Name returns the name of the checkpoint: "consumer/" and the given name.
func (c *Consumer[Tx]) Name() string { return c.name }

// Run has the messages of a source take effect until ctx ends, and returns nil then,
// after the batch in flight. What may pass is waited for, and a message that fails for
// good is parked, see the package. Run returns an error only if a person has to decide:
// one that matches worker.ErrDiverged or worker.ErrAltered, a *worker.PartsError or
// *worker.GapError, and with WithStop that of a message.
//
// It may run in several processes at once: the members of one group share the partitions
// out among themselves. Consumers of other names, with groups of their own, get every
// message too.
func (c *Consumer[Tx]) Run(ctx context.Context, db InboxStore[Tx], from Source, opts ...ConsumerOption) error {
	o, err := newConsumerOptions(opts)
	if err != nil {
		return fmt.Errorf("run %s: %w", c.name, err)
	}
	r := &consuming[Tx]{Consumer: c, consumerOptions: o, db: db}
	defer r.forgetMeanwhile(ctx)()
	return r.reader().Consume(ctx, carrying{from, r.carries})
}

// Apply calls the routes for each message, in the given order, in a transaction of the
// caller. It remembers nothing and asks no inbox: for tests of handlers.
func (c *Consumer[Tx]) Apply(ctx context.Context, tx Tx, messages ...Received) error {
	for i, m := range messages {
		err := worker.Safely(func() error {
			_, err := c.apply(ctx, tx, arrive(m))
			return err
		})
		if err != nil {
			return &worker.EventError{Index: i, Err: err}
		}
	}
	return nil
}

// apply calls the routes that take a message, and reports whether there were any.
func (c *Consumer[Tx]) apply(ctx context.Context, tx Tx, a *arrived) (taken bool, err error) {
	for _, route := range c.routes {
		if !route.takes(a.Received, a.name) {
			continue
		}
		if !taken {
			taken, ctx = true, a.context(ctx)
		}
		if err := route.apply(ctx, tx, a); err != nil {
			return true, err
		}
	}
	return taken, nil
}

// consuming is one Run of a consumer.
type consuming[Tx any] struct {
	*Consumer[Tx]
	consumerOptions
	db InboxStore[Tx]
}

// reader is what the consumer runs on.
func (r *consuming[Tx]) reader() worker.Reader {
	w := r.worker
	w.Name, w.Store, w.Key = r.name, r.db, keyOf
	w.Begin = func(_ context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
		return c[part], 0, nil // those of topics that are not read any more do no harm
	}
	w.Apply = r.advance
	if r.deadLetter != nil {
		w.Waiting = (&deadLetters{to: r.deadLetter, topic: r.deadTopic, consumer: r.name, logger: w.Logger}).send
	}
	return w
}

// refuses reports whether a message that no route takes is parked.
func (r *consuming[Tx]) refuses(isEvent bool) bool {
	if isEvent {
		return false
	}
	if r.foreign != nil {
		return *r.foreign == Refuse
	}
	return slices.ContainsFunc(r.routes, func(route Route[Tx]) bool { return route.events })
}

// carries reports whether a message goes through the worker: it is taken by a route, or
// is to be parked.
func (r *consuming[Tx]) carries(m Received, about headers) bool {
	takes := false
	err := worker.Safely(func() error {
		takes = slices.ContainsFunc(r.routes, func(route Route[Tx]) bool { return route.takes(m, about.name) })
		return nil
	})
	return takes || err != nil || r.refuses(about.isEvent) // a panic comes again, and is parked then
}

// advance has the messages of a batch take effect, those of them that are new, and they
// are remembered and the mark is moved in the same transaction.
func (r *consuming[Tx]) advance(ctx context.Context, b worker.Batch) error {
	all, identities, err := r.unpack(b)
	if err != nil {
		return err
	}
	return r.db.Advance(ctx, r.name, b.Term, b.Part, func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
		if at.Revision != b.Write.Marks[b.Part].Revision {
			return worker.Write{}, worker.ErrFenced
		}
		known, err := r.remember(ctx, tx, identities)
		if err != nil {
			return worker.Write{}, err
		}
		crash.At("bus.consumer.remembered")
		for i := range all {
			if err := r.once(ctx, tx, &all[i], known[i]); err != nil {
				return worker.Write{}, &worker.EventError{Index: i, Err: err}
			}
			if known[i] == Repeated {
				b.Repeated[i] = true
			}
		}
		crash.At("bus.consumer.handled")
		return b.Write, nil
	})
}

// once has a message take effect if it is new.
func (r *consuming[Tx]) once(ctx context.Context, tx Tx, a *arrived, known Memory) error {
	switch known {
	case New:
	case Repeated:
		return nil
	case Forgotten:
		return worker.Permanent(ErrForgotten)
	}
	return worker.Safely(func() error {
		taken, err := r.apply(ctx, tx, a)
		if err == nil && !taken && r.refuses(a.isEvent) {
			_, err = a.event()
			err = worker.Permanent(err)
		}
		return err
	})
}

// unpack returns the messages of a batch, and what they are known by.
func (r *consuming[Tx]) unpack(b worker.Batch) ([]arrived, []Identity, error) {
	all, identities := make([]arrived, len(b.Events)), make([]Identity, len(b.Events))
	for i, e := range b.Events {
		err := worker.Safely(func() error {
			m, err := Carried(e)
			if err != nil {
				return worker.Permanent(err)
			}
			if all[i] = (arrived{Received: m, name: e.Name, isEvent: e.Position > 0}); b.Drain {
				all[i] = *arrive(m) // perhaps another program has found this
			}
			id := e.Metadata.ID
			if r.identity != nil {
				if own, ok := r.identity(all[i].Received); ok {
					id = own
				}
			}
			identities[i] = Identity{ID: id, Topic: all[i].Topic, Position: e.Position, Time: all[i].Time, Held: b.Retried && i == 0}
			return nil
		})
		if err != nil {
			return nil, nil, &worker.EventError{Index: i, Err: err}
		}
	}
	return all, identities, nil
}

// remember asks the inbox. That it fails is no message's fault.
func (r *consuming[Tx]) remember(ctx context.Context, tx Tx, identities []Identity) ([]Memory, error) {
	if len(identities) == 0 {
		return nil, nil
	}
	known, err := r.db.RememberTx(ctx, tx, r.name, identities)
	if err != nil {
		return nil, worker.Systemic(fmt.Errorf("ask the inbox of %s: %w", r.name, err))
	}
	if len(known) != len(identities) {
		return nil, worker.Systemic(fmt.Errorf("ask the inbox of %s: %d answers for %d messages", r.name, len(known), len(identities)))
	}
	return known, nil
}
