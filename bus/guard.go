package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

var _ eventstore.Gate = (*Guard)(nil)

// ErrBacklog is matched by *BacklogError.
var ErrBacklog = errors.New("relay is too far behind")

// BacklogError says that an append was refused because the relay is too far behind.
// Nothing was appended; it may be tried again later. For a worker that appends it is
// systemic: it waits, and parks nothing.
type BacklogError struct {
	Relay      string // as Relay.Name has it
	Lag, Limit event.Position
}

func (e *BacklogError) Error() string {
	return fmt.Sprintf("%s is %d positions behind the log, at most %d: try again later, and see annals status for what holds it up", e.Relay, e.Lag, e.Limit)
}

// Is reports whether target is ErrBacklog.
func (e *BacklogError) Is(target error) bool { return target == ErrBacklog }

// Backlog says from when on a Guard holds up appends. The lag is how many positions the
// mark of the relay is behind the head of the log; some have no event, see
// event.Position. What is parked lies before the mark and does not count.
type Backlog struct {
	// Relay is the name of WithName. "": main.
	Relay string
	// Slow is the lag up to which appends go on at full speed: each waits longer the
	// greater it is beyond. 0: Refuse.
	Slow event.Position
	// Refuse is the lag up to which appends are taken. Beyond, they get a *BacklogError.
	// At least 1, and not less than Slow.
	Refuse event.Position
	// Delay is how long an append waits when the lag is Refuse. 0: DefaultDelay.
	Delay time.Duration
	// Interval is how often the lag is read. 0: DefaultInterval.
	Interval time.Duration
	// Logger is told when the lag cannot be read. nil: slog.Default().
	Logger *slog.Logger
}

// The defaults of a Backlog.
const (
	DefaultDelay    = time.Second
	DefaultInterval = time.Second
)

// Guard slows down, and then refuses, appends while a relay is far behind, so that the
// backlog of an outage stays one that can be worked off. It is an eventstore.Gate, and
// safe for concurrent use:
//
//	guard := bus.NewGuard(bus.Backlog{Slow: 100_000, Refuse: 1_000_000})
//	db, err := postgres.New(pool, postgres.WithGate(guard))
//	go guard.Watch(ctx, db)
//
// It does not take the service down: while the lag is not known, because Watch does not
// run or the store does not answer, every append is admitted. It reads the lag every
// Interval, so that more may be appended in that time than the limit says.
type Guard struct {
	Backlog
	lag atomic.Int64 // one more than it is; 0: not known
}

// patience is how many intervals it may take to read the lag.
const patience = 10

// NewGuard returns a guard, which admits everything until Watch has read the lag. It
// panics if a field of b is out of its bounds, and names it.
func NewGuard(b Backlog) *Guard {
	b.Slow = cmp.Or(b.Slow, b.Refuse)
	b.Delay = cmp.Or(b.Delay, DefaultDelay)
	b.Interval = cmp.Or(b.Interval, DefaultInterval)
	if b.Logger == nil {
		b.Logger = slog.Default()
	}
	switch {
	case b.Refuse < 1:
		panic(fmt.Sprintf("bus: NewGuard: Refuse is %d, want at least 1", b.Refuse))
	case b.Slow < 0 || b.Slow > b.Refuse:
		panic(fmt.Sprintf("bus: NewGuard: Slow is %d, want 0 to Refuse, which is %d", b.Slow, b.Refuse))
	case b.Delay < 0:
		panic(fmt.Sprintf("bus: NewGuard: Delay is %v, want at least 0s", b.Delay))
	case b.Interval < time.Millisecond:
		panic(fmt.Sprintf("bus: NewGuard: Interval is %v, want at least 1ms", b.Interval))
	}
	b.Relay = "relay/" + cmp.Or(b.Relay, "main")
	return &Guard{Backlog: b}
}

// Watched is the store whose appends a Guard holds up.
type Watched interface {
	Head(ctx context.Context) (event.Position, error)
	Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error)
}

// Watch reads the lag, every Interval, until ctx ends. One is enough for a Guard. It is
// for a goroutine of the caller's.
func (g *Guard) Watch(ctx context.Context, db Watched) {
	defer g.lag.Store(0)
	failing := false
	for {
		err := g.read(ctx, db)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.lag.Store(0)
			if !failing {
				g.Logger.WarnContext(ctx, "cannot read the lag, appends are admitted", "relay", g.Relay, "error", err)
			}
		case failing:
			g.Logger.InfoContext(ctx, "the lag can be read again", "relay", g.Relay)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(g.Interval):
		}
	}
}

func (g *Guard) read(ctx context.Context, db Watched) error {
	ctx, cancel := context.WithTimeout(ctx, patience*g.Interval)
	defer cancel()
	c, err := db.Checkpoint(ctx, g.Relay)
	if err != nil {
		return err
	}
	head, err := db.Head(ctx)
	if err != nil {
		return err
	}
	g.lag.Store(int64(max(0, head-c[logPart].Position)) + 1)
	return nil
}

// Lag returns the lag as it was read last; false if it is not known.
func (g *Guard) Lag() (event.Position, bool) {
	l := g.lag.Load()
	return event.Position(max(0, l-1)), l > 0
}

// Admit implements eventstore.Gate. It does no I/O. The error matches ErrBacklog, or is
// that of ctx.
func (g *Guard) Admit(ctx context.Context, _ int) error {
	behind, known := g.Lag()
	switch {
	case !known || behind <= g.Slow:
		return nil
	case behind > g.Refuse:
		return worker.Systemic(&BacklogError{g.Relay, behind, g.Refuse})
	}
	wait := time.NewTimer(time.Duration(float64(g.Delay) * float64(behind-g.Slow) / float64(g.Refuse-g.Slow)))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for %s, which is %d positions behind the log: %w", g.Relay, behind, ctx.Err())
	case <-wait.C:
		return nil
	}
}
