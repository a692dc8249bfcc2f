package worker

import (
	"context"
	"errors"
	"time"
)

// ErrTaken says that a segment has a term that is still running, or has had
// another one since it was looked at. Nothing was changed.
var ErrTaken = errors.New("segment is taken by another worker")

// Term is the right to work on one segment of a reader until its lease runs out,
// or somebody else is given it. It is checked by the database with every write of
// a checkpoint: a worker that does not know that its term is over changes nothing.
//
// The epoch is a fencing token, after Martin Kleppmann, "How to do distributed
// locking" (2016); leases are after Gray and Cheriton, "Leases" (SOSP 1989). Leases
// decide when somebody else may try; only the epoch decides who may write.
type Term struct {
	// Segment is what the term is of. A reader of the log has "", or as many as it
	// was told to have; one of a partitioned source has one for each part.
	Segment string
	// Epoch grows with each term of the segment, from 1.
	Epoch int64
}

// Terms hands out terms. Leases go by the clock of the store alone. It is safe for
// concurrent use, and right behind a pooler that shares connections between
// transactions: nothing depends on a session.
type Terms interface {
	// Renew says that the holder works for the named reader, for another lease, and
	// extends those of the given terms that are still its. It returns who else does,
	// and all seats as they are then: a given term that is not among them with its
	// epoch is over. A term whose lease has run out, and that nobody has claimed, is
	// extended too.
	Renew(ctx context.Context, r Renewal) (Roster, error)
	// Claim begins the next term of a segment. The error matches ErrTaken if its
	// epoch is not the given one any more, or its lease still runs and c.Seize is not
	// set. Transactions that were begun under the term before are ended first, also
	// if their worker hangs or is frozen; if that cannot be done now, the error is
	// ErrTaken too.
	Claim(ctx context.Context, c Claiming) (Term, error)
	// Resign ends terms that are the holder's, so that they can be claimed at once;
	// others are left alone. With leave, the holder is no member any more.
	Resign(ctx context.Context, name, holder string, leave bool, terms ...Term) error
	// Roster returns what Renew does, and changes nothing.
	Roster(ctx context.Context, name string) (Roster, error)
}

// Renewal is what Terms.Renew is told.
type Renewal struct {
	Name   string
	Holder string
	Lease  time.Duration
	Terms  []Term
	// Reports say how it goes, by segment: the newest is kept with the seat. A
	// segment without one keeps what it has.
	Reports map[string]Report
}

// Report says how a worker does.
type Report struct {
	// Paused says why it waits; "" if it does not.
	Paused string
	// Error is the last one, "" if there was none, and Time when it was.
	Error string
	Time  time.Time
}

// Claiming is what Terms.Claim is told.
type Claiming struct {
	Name    string
	Holder  string
	Segment string
	Lease   time.Duration
	// Epoch is that of the seat, as the roster has shown it; 0: it has never had one.
	Epoch int64
	// Seize claims it though the lease may still run, and whatever the epoch is: for
	// those who were given the segment by somebody else who decides.
	Seize bool
}

// Roster is who works for a reader, and on what.
type Roster struct {
	Members []string // whose lease runs, sorted
	Seats   []Seat   // that ever had a term, sorted by segment
}

// Seat is a segment and its last term.
type Seat struct {
	Term
	Holder string
	Live   bool      // the lease runs
	Until  time.Time // the end of the lease, by the clock of the store
	Report Report
}
