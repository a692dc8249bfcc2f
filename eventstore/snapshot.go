package eventstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
)

// Snapshots keeps states that were folded from streams, so that a later load
// reads the events behind them only. It is what a Store can be as well, or a
// store of its own.
//
// It is a cache and never a source. What it returns may be old, of another
// history of the stream, or damaged: the reader checks it against the events,
// and any of it may be deleted at any time. Implementations are safe for
// concurrent use.
type Snapshots interface {
	SnapshotReader

	// SaveSnapshot keeps s as the only snapshot of its stream and fingerprint,
	// and reports whether it did: one of the same or a higher version stays, so
	// that a slow writer does not put an old one over a new one.
	//
	// Errors: *event.NameError, *SnapshotSizeError (ErrLimit).
	SaveSnapshot(ctx context.Context, s Snapshot) (bool, error)

	// DropSnapshot deletes the snapshot of the stream and fingerprint of s, if
	// it still has the version and the checksum of s, and reports whether it did.
	DropSnapshot(ctx context.Context, s Snapshot) (bool, error)

	// DeleteSnapshots deletes what q selects, in bounded batches that are each
	// atomic, and returns how many that were. After an error those before it are
	// gone. One that is saved while it runs may stay.
	DeleteSnapshots(ctx context.Context, q SnapshotQuery) (int, error)
}

// SnapshotReader reads snapshots. A Store within a transaction of the caller is
// this, if its Store is a Snapshots, and no more: what the transaction has
// appended may never come to be.
type SnapshotReader interface {
	// LoadSnapshot returns the snapshot of the stream for the fingerprint, or
	// one of version 0 if there is none; others then reports whether the stream
	// has any for another fingerprint. Within a transaction an error leaves the
	// transaction usable, unless its connection is lost.
	LoadSnapshot(ctx context.Context, s event.Stream, f Fingerprint) (snapshot Snapshot, others bool, err error)
}

// Fingerprint says which program understands a snapshot: a digest of all that
// the bytes of the state, and what they mean, depend on.
type Fingerprint [sha256.Size]byte

// String returns 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// SnapshotFormat is the newest version of Snapshot's fields, and of what they
// mean, that this program knows.
const SnapshotFormat = 1

// MaxSnapshotBytes is the greatest size of Snapshot.State.
const MaxSnapshotBytes = 8 << 20

// Snapshot is the state of a stream after one of its events.
type Snapshot struct {
	// Format is the version of this form: SnapshotFormat, when it is made.
	Format int
	Stream event.Stream
	// Version, Position and EventID are those of the last event that the state
	// knows of. A stream without that very event has another history.
	Version     event.Version
	Position    event.Position
	EventID     event.ID
	Fingerprint Fingerprint
	// ContentType says how State is encoded.
	ContentType string
	State       []byte
	// Checksum is Sum when the snapshot was made.
	Checksum [sha256.Size]byte
}

// Sum returns the SHA-256 of all fields but Checksum. It finds damage, not
// malice: whoever can write snapshots can compute it.
func (s Snapshot) Sum() [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	number := func(i int64) {
		binary.BigEndian.PutUint64(n[:], uint64(i))
		_, _ = h.Write(n[:]) // a hash takes everything
	}
	text := func(b []byte) {
		number(int64(len(b)))
		_, _ = h.Write(b)
	}
	number(int64(s.Format))
	text([]byte(s.Stream.Category))
	text([]byte(s.Stream.ID))
	number(int64(s.Version))
	number(int64(s.Position))
	text(s.EventID[:])
	text(s.Fingerprint[:])
	text([]byte(s.ContentType))
	text(s.State)
	return [sha256.Size]byte(h.Sum(nil))
}

// Validate returns an error unless s can be saved. Every Snapshots calls it
// before it does anything else.
//
// Errors: *event.NameError, *SnapshotSizeError.
func (s Snapshot) Validate() error {
	if err := s.Stream.Validate(); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if s.Format < 1 || s.Format > 1<<15-1 || s.Version < 1 {
		return fmt.Errorf("save snapshot of %s: format %d, version %d: want both from 1", s.Stream, s.Format, s.Version)
	}
	if s.ContentType == "" || len(s.ContentType) > event.MaxNameBytes || !printable(s.ContentType) {
		return fmt.Errorf("save snapshot of %s: %w", s.Stream, &event.NameError{What: "content type", Name: s.ContentType, Reason: "want 1 to 128 printable ASCII characters"})
	}
	if len(s.State) > MaxSnapshotBytes {
		return &SnapshotSizeError{s.Stream, len(s.State), MaxSnapshotBytes}
	}
	return nil
}

// SnapshotSizeError says that a state is too large to be kept.
type SnapshotSizeError struct {
	Stream event.Stream
	Got    int // bytes
	Max    int
}

func (e *SnapshotSizeError) Error() string {
	return fmt.Sprintf("save snapshot of %s: state of %d bytes, at most %d", e.Stream, e.Got, e.Max)
}

// Is reports whether target is ErrLimit.
func (e *SnapshotSizeError) Is(target error) bool { return target == ErrLimit }

// SnapshotQuery selects snapshots: those that all of its fields allow. The zero
// value selects all.
type SnapshotQuery struct {
	// Category, if not empty: of its streams only.
	Category string
	// Stream, if not zero: of this one only, whatever Category says.
	Stream event.Stream
	// Except, if not empty: not those of these fingerprints.
	Except []Fingerprint
	// Before, if not zero: saved before it, by the clock of the store.
	Before time.Time
}

// Validate returns a *event.NameError if the category or the stream cannot be one.
func (q SnapshotQuery) Validate() error {
	if q.Stream != (event.Stream{}) {
		return q.Stream.Validate()
	}
	if q.Category != "" {
		return event.ValidateCategory(q.Category)
	}
	return nil
}
