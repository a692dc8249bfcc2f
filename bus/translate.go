package bus

import (
	"errors"
	"fmt"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
)

// ErrSplit is matched by *SplitError.
var ErrSplit = errors.New("event is split")

// SplitError says that Translate was given an event that an upcaster splits. A message
// has the id and the position of its event, which consumers know repeats by, so there can
// be one message of it and no more.
type SplitError struct {
	Event  event.Recorded
	Events int // that it is split into
}

func (e *SplitError) Error() string {
	return fmt.Sprintf("translate %s: an upcaster splits it into %d events, and there can be one message of it: use TranslateAll", e.Event, e.Events)
}

// Is reports whether target is ErrSplit.
func (e *SplitError) Is(target error) bool { return target == ErrSplit }

// Translate publishes integration messages in the place of domain events, so that these
// can change as the domain does: an event is decoded through in, with its upcasters, fn
// makes the message of it, or holds it back with false, and out encodes that. The message
// has the name, schema version, content type and payload that out gives it, and the id,
// stream, version, position and metadata of the event; to decides about topic and headers.
//
// Events of families that in does not cover, and those that an upcaster drops, are held
// back. An error is the event's, and has it parked: one of fn, or of a codec, or a
// *SplitError. fn must be pure: what it says of an event must not change while the topic
// lives. With in for out, and fn returning the event, events are published in the shapes
// of today.
func Translate[E, M any](in *codec.Codec[E], out *codec.Codec[M], fn func(e event.Of[E]) (M, bool, error), to Mapper) Mapper {
	return TranslateAll(in, out, func(es []event.Of[E]) (M, bool, error) {
		if len(es) > 1 {
			var none M
			return none, false, &SplitError{es[0].Recorded, len(es)}
		}
		return fn(es[0])
	}, to)
}

// TranslateAll is Translate for events that upcasters split: fn is given all of those that
// a stored event stands for, at least one, and makes one message of them.
func TranslateAll[E, M any](in *codec.Codec[E], out *codec.Codec[M], fn func(es []event.Of[E]) (M, bool, error), to Mapper) Mapper {
	return func(r event.Recorded) (Message, bool, error) {
		if !in.Covers(r.Name) {
			return Message{}, false, nil
		}
		es, err := in.Decode(r)
		if err != nil || len(es) == 0 {
			return Message{}, false, err
		}
		m, ok, err := fn(es)
		if err != nil || !ok {
			return Message{}, false, err
		}
		raw, err := out.Encode(m)
		if err != nil {
			return Message{}, false, err
		}
		r.Name, r.Schema, r.ContentType, r.Payload = raw.Name, raw.Schema, raw.ContentType, raw.Payload
		return to(r)
	}
}
