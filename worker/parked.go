package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/annals-go/annals/event"
)

// ErrParked is matched by *ParkedError.
var ErrParked = errors.New("events are parked")

// ParkedError says that a reader has come to the end, and that some events have not
// taken effect: they are parked.
type ParkedError struct {
	Name string
	Keys int   // how many
	Err  error // of one of them
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("%s: %d keys are parked: see annals parked; one of them: %v", e.Name, e.Keys, e.Err)
}

// Is reports whether target is ErrParked.
func (e *ParkedError) Is(target error) bool { return target == ErrParked }

// Unwrap returns the error of one of them.
func (e *ParkedError) Unwrap() error { return e.Err }

// Key names what is parked: the events of one part of a reader that have a key in
// common, which is their stream unless the reader has other keys.
type Key struct{ Part, Key string }

// State is what becomes of a parked key.
type State string

// The states.
const (
	// Retrying: the first event is tried again, without being asked for.
	Retrying State = "retrying"
	// Waiting: for somebody to decide. It is what parked means to an operator.
	Waiting State = "waiting"
)

// Parked is a key whose first event did not take effect. It and all later events of
// the key are held aside, in order, until it does or is given up.
type Parked struct {
	Key
	State State
	// Since is when it was parked, and Next when it is tried again, if Retrying.
	Since, Next time.Time
	// Attempts is how often its present first event was tried. An attempt counts when
	// it begins, so that one which ends the process counts too.
	Attempts int
	// Error, Stack and Version are those of the last attempt: its error, the stack of
	// a panic, and the version of the program.
	Error, Stack, Version string
	// History are the last attempts, oldest first, at most MaxHistory.
	History []Attempt
	// Owner and Note are for those who look after it; a worker leaves them alone.
	Owner, Note string

	// Events is how many are held aside, and First the Seq of the first. A store fills
	// them in when it is asked; in a Write they do not count.
	Events int
	First  int64
}

// The bounds of what is kept of a parked key: MaxHistory attempts, MaxError bytes of
// its error and of its stack, MaxHistoryError of the error of an attempt.
const (
	MaxHistory      = 20
	MaxError        = 4096
	MaxHistoryError = 256
)

// Attempt is one that failed.
type Attempt struct {
	Time    time.Time `json:"time"`
	Error   string    `json:"error"`
	Version string    `json:"version,omitempty"`
}

// Item is one event that is held aside.
type Item struct {
	Key
	// Seq orders the items of a key: the position of the event, or its offset in a
	// source whose reader goes by those.
	Seq int64
	// Data is an event that came from a source, in its stored form. nil: it is the event
	// of the log whose position is Seq, and is read from there when it is needed.
	Data []byte
}

// Audit is one change of a parked key that somebody has asked for.
type Audit struct {
	Key
	Time   time.Time // zero in a Write: the clock of the store
	Actor  string    // who
	Action string    // retry, discard, assign, note
	Seq    int64     // of the event that was discarded; 0: none
	Detail string
}

// ParkedQuery selects parked keys of a reader.
type ParkedQuery struct {
	Name  string
	Part  *string // nil: all
	Key   string  // "": all
	State State   // "": any
	After Key     // the keys behind it, in the order of part and key
	Limit int     // the most; 0: 1000
}

// Parking keeps what is parked. It is safe for concurrent use.
type Parking interface {
	// Parked returns parked keys in the order of part and key.
	Parked(ctx context.Context, q ParkedQuery) ([]Parked, error)
	// Items returns what is held aside of a key, in order, behind a Seq (-1: from the
	// first one on); at most limit, which is 1000 if it is 0.
	Items(ctx context.Context, name string, key Key, after int64, limit int) ([]Item, error)
	// Audits returns what was asked for of a reader, newest first, before a time (zero:
	// up to now); at most limit, which is 1000 if it is 0.
	Audits(ctx context.Context, name string, before time.Time, limit int) ([]Audit, error)
}

// parkedPage is how many parked keys are read at a time: each can take some 14 KiB.
const parkedPage = 200

// eachParked yields all that a query selects, page by page; after an error it yields
// no more.
func eachParked(ctx context.Context, store Parking, q ParkedQuery) iter.Seq2[Parked, error] {
	q.Limit = parkedPage
	return func(yield func(Parked, error) bool) {
		for {
			page, err := store.Parked(ctx, q)
			if err != nil {
				yield(Parked{}, err)
				return
			}
			for _, p := range page {
				if !yield(p, nil) {
					return
				}
			}
			if len(page) < q.Limit {
				return
			}
			q.After = page[len(page)-1].Key
		}
	}
}

// item keeps an event of an intake, or points at it.
func (in *intake) item(key Key, i int) Item {
	item := EventItem(key, in.page.Events[i], in.own)
	item.Seq = in.seq(i)
	return item
}

// EventItem returns an item for an event. With own, the event is in the log that
// the keeper belongs to, and is only pointed at; else it is kept.
func EventItem(key Key, e event.Recorded, own bool) Item {
	i := Item{Key: key, Seq: int64(e.Position)}
	if !own {
		i.Data = encodeEvent(e)
	}
	return i
}
