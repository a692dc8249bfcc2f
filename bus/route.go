package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Route is the part of a Consumer that takes some of its messages. Build it with On or
// OnMessage.
type Route[Tx any] struct {
	events bool // it takes events only, by their names
	takes  func(m Received, name string) bool
	apply  func(ctx context.Context, tx Tx, a *arrived) error
}

// On returns a Route that calls fn for each event of the codec's families, decoded and
// upcast, in the order of its stream. Events of other families are not its business. One
// that the codec cannot decode, because its name or its schema version is not known here
// or its bytes are damaged, is parked. The context carries metadata that names the event
// as the cause of what is appended under it.
func On[E, Tx any](c *codec.Codec[E], fn func(ctx context.Context, tx Tx, e event.Of[E]) error) Route[Tx] {
	return Route[Tx]{
		events: true,
		takes:  func(_ Received, name string) bool { return name != "" && c.Covers(name) },
		apply: func(ctx context.Context, tx Tx, a *arrived) error {
			r, err := a.event()
			if err != nil {
				return worker.Permanent(err)
			}
			events, err := c.Decode(r)
			if err != nil {
				return ofTheEvent(err)
			}
			for _, e := range events {
				if err := fn(ctx, tx, e); err != nil {
					return fmt.Errorf("handle %s: %w", r, err)
				}
			}
			return nil
		},
	}
}

// ofTheEvent marks an error of a codec or a mapper: it is the event's, unless what is
// needed for all of them is away.
func ofTheEvent(err error) error {
	if errors.Is(err, codec.ErrUnavailable) {
		return worker.Systemic(err)
	}
	return worker.Permanent(err)
}

// OnMessage returns a Route that calls fn for each message that matches, whoever has
// published it: as it is, in the order of its key. The context is as in On if it is an
// event.
func OnMessage[Tx any](match Match, fn func(ctx context.Context, tx Tx, m Received) error) Route[Tx] {
	return Route[Tx]{
		takes: func(m Received, _ string) bool { return match(m) },
		apply: func(ctx context.Context, tx Tx, a *arrived) error {
			if err := fn(ctx, tx, a.Received); err != nil {
				return fmt.Errorf("handle %s: %w", a.Received, err)
			}
			return nil
		},
	}
}

// Match reports whether a message is for a route. It must be pure, and safe for
// concurrent use. One that panics has the message parked.
type Match func(m Received) bool

// And matches what all of them match.
func (m Match) And(others ...Match) Match {
	return func(r Received) bool {
		return m(r) && !slices.ContainsFunc(others, func(o Match) bool { return !o(r) })
	}
}

// Named matches messages by HeaderName, or by the type of a CloudEvent, ce_type, if there
// is none.
func Named(names ...string) Match {
	return func(m Received) bool {
		name, ok := m.header(HeaderName)
		if !ok {
			name, ok = m.header(HeaderCEType)
		}
		return ok && slices.Contains(names, string(name))
	}
}

// HasHeader matches messages that have a header of the value.
func HasHeader(key, value string) Match {
	return func(m Received) bool {
		v, ok := m.header(key)
		return ok && string(v) == value
	}
}

// InTopic matches all messages of the topics.
func InTopic(topics ...string) Match {
	return func(m Received) bool { return slices.Contains(topics, m.Topic) }
}

// arrived is a message on its way through the routes, with what inspect has found: that
// of an event is read once.
type arrived struct {
	Received
	name    string
	isEvent bool

	read     bool
	recorded event.Recorded
	err      error
}

func arrive(m Received) *arrived {
	about := inspect(m.Message, "")
	return &arrived{Received: m, name: about.name, isEvent: about.isEvent}
}

func (a *arrived) event() (event.Recorded, error) {
	if !a.read {
		if a.recorded, a.err = EventOf(a.Message); a.err == nil && !a.isEvent {
			_, err := eventstore.ParseLineage(LineageOf(a.Message))
			a.err = fmt.Errorf("read message of topic %s: %w: header %s: %w", a.Topic, ErrForeign, HeaderLineage, err)
		}
		a.read = true
	}
	return a.recorded, a.err
}

// context returns one for handlers of the message.
func (a *arrived) context(ctx context.Context) context.Context {
	if a.isEvent {
		if r, err := a.event(); err == nil {
			return event.WithCause(ctx, r)
		}
	}
	parent, _ := a.header(HeaderTraceParent)
	state, _ := a.header(HeaderTraceState)
	return event.WithMetadata(ctx, event.Metadata{TraceParent: string(parent), TraceState: string(state)})
}
