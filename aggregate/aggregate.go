package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// State is what decisions need to know. Evolve returns the state after the
// event; it must be pure and total, and must not fail: the event has happened.
type State[S, E any] interface{ Evolve(E) S }

// Command is a request with its decision. Decide returns the events that follow
// from it, none if what it asks for is already so, or an error that says why
// not. It must be pure: a version conflict calls it again.
type Command[S, E any] interface{ Decide(S) ([]E, error) }

// Repository executes commands on the aggregates of one category. It is safe
// for concurrent use, unless With has bound it to a transaction.
type Repository[S State[S, E], E any] struct {
	store    eventstore.Store
	category string
	codec    *codec.Codec[E]
	config

	snapshots   *Snapshotter[S] // nil: none
	fingerprint eventstore.Fingerprint
	from        eventstore.SnapshotReader // of the snapshots; nil: none are read
	inTx        bool                      // none are made
}

// Result says what a command led to.
type Result struct {
	// Version and Position are those of the last event of the stream that the
	// decision knows of: its own, or the last one loaded if it appended none. A
	// projection that has reached Position shows all that the decision was based
	// on. Both are 0 if the stream has no event.
	Version  event.Version
	Position event.Position
	// Events is the number of events appended.
	Events int
}

// Loaded is the state of one aggregate.
type Loaded[S any] struct {
	State S
	// Version and Position are those of the last event; 0 if there is none.
	Version  event.Version
	Position event.Position
}

// New returns the repository of a category. S is the state; the family of
// events is that of the codec. It panics if the category or an option is
// outside its bounds: both are source code.
func New[S State[S, E], E any](store eventstore.Store, category string, c *codec.Codec[E], opts ...Option) *Repository[S, E] {
	if err := (event.Stream{Category: category, ID: "x"}).Validate(); err != nil {
		panic("aggregate: " + err.Error())
	}
	r := &Repository[S, E]{store: store, category: category, codec: c, config: defaults}
	for _, o := range opts {
		if err := o(&r.config); err != nil {
			panic("aggregate: " + err.Error())
		}
	}
	return r
}

// With returns a copy that works on another store, which is the same one within
// a transaction of the caller: orders.With(db.Tx(tx)). A version conflict is
// returned there and not retried, because the caller may have read and decided
// other things in the same transaction.
func (r *Repository[S, E]) With(store eventstore.Store) *Repository[S, E] {
	bound := *r
	bound.store = store
	bound.attempts = 1
	bound.inTx = true
	bound.lookAt(store)
	return &bound
}

// Execute loads the aggregate, asks cmd to decide, and appends the events. On a
// version conflict it does all of it again, at most as often as WithAttempts
// says, after a random wait. An error that matches eventstore.ErrConflict says
// that the attempts are used up.
func (r *Repository[S, E]) Execute(ctx context.Context, id string, cmd Command[S, E]) (Result, error) {
	return r.Update(ctx, id, cmd.Decide)
}

// Update is Execute for a decision written in place.
func (r *Repository[S, E]) Update(ctx context.Context, id string, decide func(S) ([]E, error)) (Result, error) {
	for attempt := 1; ; attempt++ {
		res, err := r.attempt(ctx, id, decide)
		if !errors.Is(err, eventstore.ErrConflict) {
			return res, err
		}
		if attempt >= r.attempts {
			if attempt > 1 {
				err = fmt.Errorf("execute on %s: %d attempts: %w", r.stream(id), attempt, err)
			}
			return Result{}, err
		}
		select {
		case <-ctx.Done():
			return Result{}, fmt.Errorf("execute on %s: %w, after: %w", r.stream(id), ctx.Err(), err)
		case <-time.After(r.wait(attempt)):
		}
	}
}

func (r *Repository[S, E]) attempt(ctx context.Context, id string, decide func(S) ([]E, error)) (Result, error) {
	at, err := r.Load(ctx, id)
	if err != nil {
		return Result{}, err
	}
	events, err := decide(at.State)
	if err != nil {
		return Result{Version: at.Version, Position: at.Position}, err
	}
	if len(events) == 0 {
		return Result{Version: at.Version, Position: at.Position}, nil
	}
	raws := make([]event.Raw, len(events))
	metadata := event.MetadataFrom(ctx)
	for i, e := range events {
		if raws[i], err = r.codec.Encode(e); err != nil {
			return Result{}, fmt.Errorf("execute on %s: %w", r.stream(id), err)
		}
		raws[i].Metadata = metadata
		raws[i].Metadata.ID = event.NewID()
	}
	res, err := r.store.Append(ctx, r.stream(id), eventstore.Exactly(at.Version), raws...)
	if err != nil {
		return Result{}, err
	}
	return Result{Version: res.Version, Position: res.Position, Events: len(raws)}, nil
}

// Load folds the events of the aggregate into its state. The aggregate without
// events is the zero value of S at version 0, and no error. A state is never of
// a part of the events: a *IncompleteError says that the store lacks some.
func (r *Repository[S, E]) Load(ctx context.Context, id string) (Loaded[S], error) {
	if r.snapshots != nil {
		return r.loadSnapshot(ctx, r.stream(id))
	}
	at, _, err := r.fold(ctx, r.stream(id), Loaded[S]{})
	return at, err
}

func (r *Repository[S, E]) stream(id string) event.Stream {
	return event.Stream{Category: r.category, ID: id}
}
