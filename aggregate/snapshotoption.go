package aggregate

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-go/annals/event"
)

type snapshotConfig struct {
	every    event.Version
	slow     time.Duration
	edition  string
	states   int
	bytes    int
	deadline time.Duration
	now      func() time.Time
	hooks    SnapshotHooks
	log      *slog.Logger
}

var defaultSnapshots = snapshotConfig{every: 100, slow: 50 * time.Millisecond, states: 1000, bytes: 64 << 20, deadline: 10 * time.Second, now: time.Now}

// fewest is how many events a load must have folded for its duration to mean
// something: with fewer it is not the stream that is slow.
const fewest = 10

// SnapshotOption changes a Snapshotter.
type SnapshotOption func(*snapshotConfig) error

// WithEvery sets after how many events since the last snapshot a load asks for
// the next. Default 100, at least 1. Raise it for states that are large beside
// their events; a lower one saves less than it costs.
func WithEvery(events int) SnapshotOption {
	return func(c *snapshotConfig) error {
		if events < 1 {
			return fmt.Errorf("option WithEvery: %d: want at least 1", events)
		}
		c.every = event.Version(events)
		return nil
	}
}

// WithSlowLoad makes a load that took at least this long ask for a snapshot
// too, if it has folded 10 events or more. Default 50 ms; 0: only WithEvery
// counts. Lower it where folding is expensive.
func WithSlowLoad(took time.Duration) SnapshotOption {
	return func(c *snapshotConfig) error {
		if took < 0 {
			return fmt.Errorf("option WithSlowLoad: %v: want at least 0", took)
		}
		c.slow = took
		return nil
	}
}

// WithEdition names what Evolve and the upcasters mean today. Any other text
// makes all snapshots of before unreadable, so the next load folds the events
// again. Default empty.
//
// Change it in the same commit as any of their code that gives another state
// for the same events: a fingerprint sees types and not code. Without it a
// state that the old code folded is carried on by the new code, and differs from
// what the events say, for as long as the stream lives.
func WithEdition(name string) SnapshotOption {
	return func(c *snapshotConfig) error {
		c.edition = name
		return nil
	}
}

// WithQueue sets how many snapshots, and how many bytes of them, may wait for
// Run. What comes on top is dropped and told to the hooks. Default 1000 and 64
// MiB, at least 1 each. Raise it if Dropped is called while Run is running.
func WithQueue(snapshots, bytes int) SnapshotOption {
	return func(c *snapshotConfig) error {
		if snapshots < 1 || bytes < 1 {
			return fmt.Errorf("option WithQueue: %d, %d: want at least 1 each", snapshots, bytes)
		}
		c.states, c.bytes = snapshots, bytes
		return nil
	}
}

// WithSaveDeadline sets how long the writing of one snapshot may take, and how
// long Run goes on with what is left when its context has ended. Default 10 s.
func WithSaveDeadline(d time.Duration) SnapshotOption {
	return func(c *snapshotConfig) error {
		if d <= 0 {
			return fmt.Errorf("option WithSaveDeadline: %v: want more than 0", d)
		}
		c.deadline = d
		return nil
	}
}

// WithLoadClock sets what WithSlowLoad measures with. Default time.Now. Set it
// in tests.
func WithLoadClock(now func() time.Time) SnapshotOption {
	return func(c *snapshotConfig) error {
		if now == nil {
			return errors.New("option WithLoadClock: nil: want a clock")
		}
		c.now = now
		return nil
	}
}

// WithSnapshotHooks sets functions that are called as snapshots are used and
// made. Default none.
func WithSnapshotHooks(h SnapshotHooks) SnapshotOption {
	return func(c *snapshotConfig) error {
		c.hooks = h
		return nil
	}
}

// WithSnapshotLogger sets where damaged snapshots and those that could not be
// saved are noted. Default slog.Default().
func WithSnapshotLogger(l *slog.Logger) SnapshotOption {
	return func(c *snapshotConfig) error {
		if l == nil {
			return errors.New("option WithSnapshotLogger: nil: want a logger")
		}
		c.log = l
		return nil
	}
}

// SnapshotHooks are called by loads and by Snapshotter.Run, for metrics. Each
// may be nil. They are called from many goroutines, and hold up the caller while
// they run.
type SnapshotHooks struct {
	// Loaded: a load began at the snapshot of this version and folded as many
	// events behind it.
	Loaded func(s event.Stream, at event.Version, folded int)
	// Ignored: a load folded all events, for this reason. The error says more
	// about Damaged and Unavailable and is nil otherwise.
	Ignored func(s event.Stream, why Ignored, err error)
	// Saved: the snapshot of this version, with a state of as many bytes, is stored.
	Saved func(s event.Stream, at event.Version, bytes int)
	// Dropped: one was due, but no Run is running or too many wait for it.
	Dropped func(s event.Stream)
	// Failed: one was due, but could not be encoded or stored.
	Failed func(s event.Stream, err error)
}

// Ignored says why a snapshot was not used.
type Ignored string

// The reasons.
const (
	// Stale: there are only snapshots of other fingerprints, which another
	// program has made.
	Stale Ignored = "stale"
	// Newer: its format is newer than eventstore.SnapshotFormat.
	Newer Ignored = "newer"
	// Damaged: its checksum does not match, or its state does not decode.
	Damaged Ignored = "damaged"
	// Foreign: the stream does not have the event that it ends with, so it
	// belongs to another history: the store went back, by a restore or a failover.
	Foreign Ignored = "foreign"
	// Unavailable: the store of snapshots returned an error.
	Unavailable Ignored = "unavailable"
)
