// Package worker is what every long-running reader shares: terms, checkpoints, the
// retry policy, parking, the loop, and the ports to where they are kept. Relays,
// consumers and projections are a Reader with different ends.
//
// # Usage
//
// Domain code meets this package through the options of the readers (Retry, Hooks,
// Health, Breaker) and through the marks of errors (Transient, Permanent, Systemic).
// What is parked is decided on with an Amender.
//
// # Ordering
//
// A reader of the log has one part, "", or as many as it has segments. A reader of a
// partitioned copy of the log, such as a Kafka topic, has one part per partition. Each
// part is read in the order of positions and has its own mark; nothing can be concluded
// from the marks of two parts.
//
// The events of one key, which is a stream unless a reader has other keys, take effect
// in their order, through every retry, parking, and move from one worker to another.
// Those of two keys do so only while nothing of them is parked, in one part: what comes
// behind a parked event in other keys goes on without it.
//
// # Terms
//
// A worker needs a term of a part to work on it. A term is extended while the worker
// gives signs of life. When its lease has run out, somebody else is given the next one.
// Leases only decide when somebody may try; who may write is decided by the epoch of the
// term, which the database compares in the transaction of every write. So a worker that
// was frozen, or cut off, for longer than its lease changes nothing there when it wakes:
// it gets ErrFenced.
//
// That protects effects in the same database and the checkpoint, and nothing else. What
// such a worker has sent elsewhere, or sends before its next write, is sent; its
// successor sends it again. Receivers tell both by the id of the event.
//
// # Failure
//
// A mark moves in the same transaction as the effects it stands for, where the
// effects are in the same database. Every write of a mark names the revision
// it has read; a writer that was overtaken gets ErrFenced and changes nothing.
//
// An event that was read takes effect, is parked, or holds up its part. It is never
// left out. Which of them depends on the Class of the error, see Retry:
//
//   - A transient one has its key parked as Retrying: the event, and all later ones of
//     its key, are held aside and tried again by themselves, in order, as often as Retry
//     allows. Then they are Waiting.
//   - A permanent one, a panic too, has its key parked as Waiting: somebody decides,
//     with an Amender. So has an event during which
//     the process has ended too often.
//   - A systemic one, an open breaker, and the failure of most keys, are no event's
//     fault: the reader pauses, tries again within its budget, and goes on by itself.
//     Nothing is parked, and no attempt counts.
//   - What no waiting mends, see Halt, ends the reader. So does, with Reader.Stop, what
//     would be parked.
//
// Parked events of the log are only pointed at, and are decoded again, by the program of
// that day, when they are tried; those of a source are kept, in their stored
// form, because it forgets.
//
// A handler that ignores its context holds up its part for as long as it hangs. Nothing
// can end it but the end of the process; Health tells.
//
// A store can be set back, by a failover that loses commits or by a restore. A mark
// names the history that it is a place in; a reader that was given what its store
// has lost stops with a *DivergedError, see Resume and Receive. Rewind and
// RewindParts set it back. A mark that no worker has written is an *AlteredError.
package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
)

// ErrFenced says that somebody else has moved the mark since it was read, or was
// given the term. Nothing was changed; read it again.
var ErrFenced = errors.New("checkpoint was moved by another worker")

// Mark is how far one part has been read.
type Mark struct {
	// Position: every event of the part up to it has taken effect.
	Position event.Position
	// Source names the incarnation of what was read, such as the id of a Kafka
	// topic. Another one makes Offset void, and leaves Position as it is.
	Source string
	// Offset is the next place to read in Source. 0 for the log.
	Offset int64
	// Of is the number of parts when the mark was made: with another number the
	// events are spread differently and Position says nothing. 0: not counted.
	Of int
	// Lineage is the text of the eventstore.Lineage that Position is a place in, and
	// Server, of a reader of the log, its present server. A store that holds the log
	// itself refuses a mark of another server than it is: see Checkpoints.
	Lineage string
	Server  string
	// Digest is that of every event that a reader of the log was given, and Trail how
	// it came there: what a history is compared by.
	Digest Digest
	Trail  Trail
	// Claim is what a worker has begun behind the mark, if it said so: see Claim.
	Claim Claim
	// Epoch is that of the term under which the mark was written, 0: none. Only a
	// store changes it, and never to a lower one.
	Epoch int64
	// Revision grows with each write of the mark. Only a store changes it.
	Revision int64
}

// Claim says that a worker has begun with the events between the mark and a
// position. It is written before they are applied, and taken back together with
// what they effect: one that is still there afterwards stands for a worker that
// has ended meanwhile, and was perhaps ended by one of them.
type Claim struct {
	To     event.Position
	Events int // how many there are, at least 1; 0: there is no claim
	Times  int // how often it was begun with them
}

// Source is a partitioned copy of the log that delivers its events, such as a
// Kafka consumer.
type Source interface {
	// Consume delivers until ctx ends, and then returns nil after the last
	// delivery has returned. Before it delivers from a part it asks the sink for
	// the checkpoint, and begins where the mark of the part says, or at
	// the first event there ever was if there is none or it is of another
	// incarnation; what the source has lost of it is an error. Deliveries
	// of one part do not overlap. It returns the first error of the sink.
	Consume(ctx context.Context, to Sink) error
	// Owns reports whether a part of a checkpoint is one of this source's.
	Owns(part string) bool
}

// Sink takes what a Source delivers.
type Sink interface {
	// Begin returns the checkpoint, before the source delivers from the given parts.
	// Whatever had them before is fenced: they are the source's to give.
	Begin(ctx context.Context, parts ...string) (Checkpoint, error)
	// Deliver returns when the events of the delivery have taken effect or are parked,
	// and its mark is stored. It ends early, with an error, when ctx ends: what is left of
	// the delivery is for whoever has the part next. The error matches ErrFenced if the
	// part was begun again since, by whomever.
	Deliver(ctx context.Context, d Delivery) error
}

// Delivery is a batch of events of one part, in the order of the source. It may
// repeat events, never skip any.
type Delivery struct {
	Part   string
	Source string
	Of     int
	// Lineage is that of the log which the events were read from, as text; "" if the
	// source does not tell.
	Lineage string
	// Late says that the events were held aside on their way to the source, so that
	// they come behind newer ones of other keys, and their positions do not tell whether
	// they took effect before: they are parked for somebody to decide.
	Late bool
	// First is where this delivery begins in Source, Next where the next one will.
	First, Next int64
	Events      []event.Recorded
	// Offsets are where the events are in Source, rising, if the reader itself tells
	// repeats from others, by something else than their positions. They take the place of
	// positions then in what is claimed and parked: see Item.Seq. nil: an event at or
	// before the position of the mark is a repeat, and is left out.
	Offsets []int64
}

// GapError says that a delivery begins behind the place that the mark names, so
// that what lies between would be skipped.
type GapError struct {
	Name, Part string
	Want, Got  int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("advance %s: part %s continues at %d, got a delivery from %d: rebuild the read model, or restore what is missing", e.Name, e.Part, e.Want, e.Got)
}

// PartsError says that a source has another number of parts than when the
// checkpoint was made, so the checkpoint does not fit it.
type PartsError struct {
	Name, Part string
	Was, Is    int
}

func (e *PartsError) Error() string {
	return fmt.Sprintf("advance %s: part %s is one of %d, but the checkpoint was made with %d, so keys have moved: rebuild the read model; set a consumer with an inbox back with RewindParts", e.Name, e.Part, e.Is, e.Was)
}
