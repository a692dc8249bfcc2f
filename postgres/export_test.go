package postgres

import (
	"context"
	"time"

	"github.com/annals-go/annals/event"
)

// HoldLanes takes both lanes, so that appends gather. Release sends what has
// gathered, on one of them.
func (d *DB) HoldLanes() (release func()) {
	g := d.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lanes += groupLanes
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lanes -= groupLanes
		g.goOnLocked()
	}
}

// Gathered returns how many appends wait for a lane, or behind another one of
// their stream.
func (d *DB) Gathered() int {
	g := d.group
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.ready)
	for _, behind := range g.streams {
		n += len(behind)
	}
	return n
}

// Idle reports that no append is on its way and no goroutine of the group runs.
func (d *DB) Idle() bool {
	g := d.group
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lanes == 0 && len(g.ready) == 0 && len(g.streams) == 0
}

// Bound returns what the tracker knows.
func (d *DB) Bound() (event.Position, time.Time) {
	b := d.bound.on(time.Time{})
	return b.upTo, b.server
}

// KnowBound makes the tracker know a bound, as if a server had said so.
func (d *DB) KnowBound(upTo event.Position, server time.Time) {
	d.bound.mu.Lock()
	defer d.bound.mu.Unlock()
	d.bound.known = bound{upTo, server}
}

// Tracker is a tracker by itself.
type Tracker struct{ tracker }

// NewTracker returns one that knows nothing.
func NewTracker() *Tracker { return &Tracker{tracker{turn: make(chan struct{}, 1)}} }

// Refresh asks with the function given.
func (t *Tracker) Refresh(ctx context.Context, ask func(context.Context) (event.Position, time.Time, error)) (event.Position, error) {
	b, err := t.refresh(ctx, func(ctx context.Context) (bound, error) {
		upTo, server, err := ask(ctx)
		return bound{upTo, server}, err
	})
	return b.upTo, err
}

// Checksum is checksum.
var Checksum = checksum
