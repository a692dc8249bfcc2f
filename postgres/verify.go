package postgres

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Fault is a kind of damage that Verify finds.
type Fault string

// The faults.
const (
	// FaultChecksum: an event is not what was appended.
	FaultChecksum Fault = "checksum"
	// FaultVersions: the versions of a stream are not 1, 2, 3 and so on.
	FaultVersions Fault = "versions"
	// FaultOrder: a later version of a stream has an earlier position.
	FaultOrder Fault = "order"
	// FaultClosed: a stream goes on behind an event that closed it.
	FaultClosed Fault = "closed"
	// FaultIndex: the log and the streams do not have the same number of events, as
	// when an index of the table is damaged.
	FaultIndex Fault = "index"
	// FaultGiven: the log is not what a reader was given.
	FaultGiven Fault = "given"
	// FaultSnapshot: a snapshot is not what the events of its stream make.
	FaultSnapshot Fault = "snapshot"
	// FaultAhead: a reader is ahead of the log.
	FaultAhead Fault = "ahead"
	// FaultAltered: a mark was not written by a worker.
	FaultAltered Fault = "altered"
)

// Finding is one place that is damaged. Fields that say nothing are zero.
type Finding struct {
	Fault    Fault
	Stream   event.Stream
	Version  event.Version
	Position event.Position
	Name     string // of a reader
	Text     string // what is there, and what should be
}

// Verification says what Verify does beside reading.
type Verification struct {
	// Found is called for each finding, in no order. Required.
	Found func(Finding)
	// Elsewhere are stores that keep checkpoints of readers of this log, see
	// worker.Join. Those in this store are always looked at.
	Elsewhere []*DB
	// Snapshot, if not nil, compares the snapshot of a stream with the fold of its
	// events, which takes the types of the program: aggregate.Repository.VerifySnapshot.
	// It is called for snapshots that are sound otherwise.
	Snapshot func(ctx context.Context, s event.Stream) error
	// Progress, if not nil, is called from time to time with the share that is done,
	// 0 to 1.
	Progress func(done float64)
}

// Verified says what Verify has looked at.
type Verified struct {
	// UpTo is the position that was final when it began; it looks at no later one.
	UpTo        event.Position
	Events      int64
	Streams     int64
	Checkpoints int64
	Snapshots   int64
	Findings    int64
}

// Verify reads the whole store and looks for damage: every event in the order of the
// log, next to what readers were given, in the order of the streams, and next to
// its checksum; then every snapshot. It holds no more than a page,
// and a digest for each checkpoint. Appends go on meanwhile. It changes nothing.
//
// It finds what happened to stored events by accident, and by hands that did not
// take the trouble to hide it. It is no proof against an owner of the database, who
// can compute checksums and digests again. Recorded times are not covered, and
// positions only by what readers were given.
//
// The error says that it could not go on, not that something is damaged.
func (d *DB) Verify(ctx context.Context, v Verification) (Verified, error) {
	a := &auditor{db: d, Verification: v}
	steps := []func(context.Context) error{a.begin, a.readLog, a.readStreams, a.readSums, a.readSnapshots, a.conclude}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return a.Verified, fmt.Errorf("verify schema %s: %w", d.schema, err)
		}
	}
	return a.Verified, nil
}

// auditor is one Verify.
type auditor struct {
	db *DB
	Verification
	Verified
	server  string
	readers []*given
	whole   worker.Digest // of the log so far
	keyed   int64         // events seen in the order of the streams
}

func (a *auditor) find(f Finding) {
	a.Findings++
	a.Found(f)
}

func (a *auditor) progress(done float64) {
	if a.Progress != nil {
		a.Progress(min(done, 1))
	}
}

// begin finds out how far the log is final, and reads the checkpoints: in this
// order they are ahead of the log for a moment, so that is looked at again later.
func (a *auditor) begin(ctx context.Context) error {
	lineage, err := a.db.Lineage(ctx)
	if err != nil {
		return err
	}
	a.server = lineage.Now().Server
	b, err := a.db.bound.refresh(ctx, a.db.askBound)
	if err != nil {
		return missing(err)
	}
	a.UpTo = b.upTo
	for _, keeper := range append([]*DB{a.db}, a.Elsewhere...) {
		for m, err := range keeper.Marks(ctx) {
			if err != nil {
				return err
			}
			if m.Altered != nil {
				a.find(Finding{Fault: FaultAltered, Name: m.Name, Position: m.Position, Text: m.Altered.Error()})
			}
			if m.Part != "" || m.Position == 0 || m.Server == "" || m.Own() != (keeper == a.db) {
				continue // of a topic, or of another log
			}
			a.readers = append(a.readers, newGiven(m))
			a.Checkpoints++
		}
	}
	return nil
}

func (a *auditor) readLog(ctx context.Context) error {
	q := eventstore.LogQuery{Server: a.server}
	for {
		page, err := a.db.ReadLog(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if e.Position > a.UpTo {
				break
			}
			a.Events++
			a.whole = a.whole.Next(e)
			for _, r := range a.readers {
				r.next(e, a.whole)
			}
		}
		if page.Next >= a.UpTo || page.Next == q.After {
			return nil
		}
		q.After = page.Next
		a.progress(float64(page.Next) / float64(a.UpTo) / 3)
	}
}

// conclude looks at what can be said in the end only.
func (a *auditor) conclude(ctx context.Context) error {
	if a.keyed != a.Events {
		a.find(Finding{Fault: FaultIndex, Text: fmt.Sprintf("the log has %d events up to position %d, the streams have %d: REINDEX TABLE %s.events, and verify again", a.Events, a.UpTo, a.keyed, a.db.schema)})
	}
	now, err := a.db.bound.refresh(ctx, a.db.askBound) // readers went on meanwhile, and so did the log
	if err != nil {
		return missing(err)
	}
	for _, r := range a.readers {
		if from, to, bad := r.verdict(a.UpTo); bad {
			a.find(Finding{Fault: FaultGiven, Name: r.Name, Position: from, Text: fmt.Sprintf("the events at positions %d to %d are not what this reader was given", from, to)})
		} else if r.Position > now.upTo {
			a.find(Finding{Fault: FaultAhead, Name: r.Name, Position: r.Position, Text: fmt.Sprintf("this reader was given position %d, the log is final up to %d", r.Position, now.upTo)})
		}
	}
	a.progress(1)
	return nil
}

// given is what a reader of the log was given, held against the log while that is
// read.
type given struct {
	StoredMark
	way  []worker.Waypoint // still to come
	good event.Position    // up to here the log is right
	bad  event.Position    // and here it is not
	own  bool              // its digest begins at a place that was set by hand
	at   worker.Digest     // if so
}

func newGiven(m StoredMark) *given {
	g := &given{StoredMark: m}
	for _, w := range append(m.Trail.Waypoints(), worker.Waypoint{Position: m.Position, Digest: m.Digest}) {
		switch n := len(g.way); {
		case w.Digest == worker.Digest{}:
			g.good, g.own, g.way = w.Position, true, nil
		case n > 0 && g.way[n-1].Position == w.Position: // the mark is mostly the last waypoint
		default:
			g.way = append(g.way, w)
		}
	}
	return g
}

// next is called for each event of the log, with the digest of the log up to it.
func (g *given) next(e event.Recorded, digest worker.Digest) {
	if g.bad != 0 || len(g.way) == 0 || g.own && e.Position <= g.good {
		return
	}
	if g.own {
		g.at = g.at.Next(e)
		digest = g.at
	}
	switch here := g.way[0]; {
	case e.Position < here.Position:
	case e.Position == here.Position && digest == here.Digest:
		g.good, g.way = e.Position, g.way[1:]
	default:
		g.bad = here.Position
	}
}

// verdict returns between which positions the log is not what the reader was given.
func (g *given) verdict(upTo event.Position) (from, to event.Position, bad bool) {
	if g.bad == 0 && len(g.way) > 0 && g.way[0].Position <= upTo {
		g.bad = g.way[0].Position // it ends before
	}
	return g.good + 1, g.bad, g.bad != 0
}
