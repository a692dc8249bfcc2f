package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// The defaults of a Reader.
const (
	DefaultBatch   = 500
	DefaultTimeout = time.Minute
	DefaultLease   = 10 * time.Second
	// MaxSegments is the most segments of a reader, and MaxBatch the most events of a
	// batch. MinTimeout and MinLease are the least of those.
	MaxSegments = 256
	MaxBatch    = 10_000
	MinTimeout  = time.Millisecond
	MinLease    = 10 * time.Millisecond
	// MaxParked is the most keys of one part that can be parked. With more the reader
	// pauses: so many are no poison.
	MaxParked = 10_000
)

// Reader is what relays, consumers and projections run on: it claims a term, reads a
// batch, has it applied, and stores how far it has come, over and over. What fails
// is tried again, alone; what fails for good is parked with all that comes behind it
// in its key, and the others go on.
//
// Name, Store and Apply are required, and Log and Begin for Run and RunTo. A Reader is
// not changed by running; several with one Name may run at once, in any process, and
// share the segments out among themselves.
type Reader struct {
	Name  string
	Store Keeper
	// Log is what Run reads, and where parked events are that were only pointed at.
	Log eventstore.Log
	// Segments is into how many the keys are spread, each with a mark and a term of its
	// own: up to so many workers can share the work. 0 and 1: one.
	Segments int
	// Key returns what events have in common whose order matters. nil: their stream.
	Key func(event.Recorded) string
	// Covers reports whether an event is any business of Apply. nil: all are.
	Covers func(event.Recorded) bool
	// Begin returns the mark to go on from, as a place in the log as it is now, and the
	// position to read from, which may lie before it. It is called when a term begins,
	// and again after whatever may have changed the checkpoint.
	Begin func(ctx context.Context, part string, c Checkpoint) (Mark, event.Position, error)
	// Apply makes the events of a batch take effect and its Write stored: together
	// where the effects are in the same database, else in this order. If the stored
	// mark is not at the revision in the Write it does neither, and returns ErrFenced.
	// Which event has failed it says with an *EventError.
	Apply func(ctx context.Context, b Batch) error
	// Waiting is told of an event before it, and with it its key, is parked as Waiting,
	// each time that happens: for a copy elsewhere, at least once, and also of one that is
	// not parked after all, because too many others fail. After an error nothing is parked,
	// and it is tried again. May be nil.
	Waiting func(ctx context.Context, p Parked, e event.Recorded) error

	Batch int // the most events of one; 0: DefaultBatch
	// FirstBatch is the most events of the first batches that Run and RunTo apply: full
	// ones that take effect make the next one larger, up to Batch. 0: Batch.
	FirstBatch int

	Timeout time.Duration // of one batch; 0: DefaultTimeout
	Lease   time.Duration // of a term; 0: DefaultLease
	Retry   Retry
	Breaker Breaker // of what Apply depends on; nil: none
	// Stop makes the reader stop, with the error, where it would park.
	Stop bool

	Hooks   Hooks
	Logger  *slog.Logger // nil: slog.Default()
	Health  *Health      // told how the reader does; may be nil
	Holder  string       // who this is, unlike any other; "": host, process and a random part
	Version string       // of the program, for what it parks; "": what the build says
}

// Batch is what Reader.Apply is given.
type Batch struct {
	Term Term
	Part string
	// Page is what was read: of the log, with all that is in it.
	Page eventstore.Page
	// Events are those to be applied, in order.
	Events []event.Recorded
	// Drain: they were parked.
	Drain bool
	// Retried: of a drain, the first event was tried before, and failed. What lies behind
	// it, and one during which the process has ended, may not have been tried at all.
	Retried bool
	// Write is to be stored with their effects.
	Write Write
	// Repeated is for Apply to fill in, by index: which of the events it has found to have
	// taken effect before. They are applied, and Hooks.Applied is told of the others.
	Repeated map[int]bool
}

// effective returns the events that had an effect.
func (b Batch) effective() []event.Recorded {
	if len(b.Repeated) == 0 {
		return b.Events
	}
	var out []event.Recorded
	for i, e := range b.Events {
		if !b.Repeated[i] {
			out = append(out, e)
		}
	}
	return out
}

// errTermOver ends the work on a segment that somebody else has by now.
var errTermOver = fmt.Errorf("term is over: %w", ErrFenced)

// OrDefaults returns r with the defaults in place of what is zero.
func (r Reader) OrDefaults() Reader {
	if r.Segments == 0 {
		r.Segments = 1
	}
	if r.Key == nil {
		r.Key = func(e event.Recorded) string { return e.Stream.String() }
	}
	if r.Covers == nil {
		r.Covers = func(event.Recorded) bool { return true }
	}
	if r.Batch == 0 {
		r.Batch = DefaultBatch
	}
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	if r.Lease == 0 {
		r.Lease = DefaultLease
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	if r.Version == "" {
		r.Version = buildVersion()
	}
	return r
}

// Validate returns an error if a field is out of range, which a zero is here: see
// OrDefaults. It names the option With... of projections and relays that sets it.
func (r Reader) Validate() error {
	switch {
	case r.Segments < 1 || r.Segments > MaxSegments:
		return fmt.Errorf("option WithSegments: %d: want 1 to %d", r.Segments, MaxSegments)
	case r.Key == nil:
		return errors.New("option WithKey: the function is nil")
	case r.Batch < 1 || r.Batch > MaxBatch:
		return fmt.Errorf("option WithBatch: %d: want 1 to %d", r.Batch, MaxBatch)
	case r.Timeout < MinTimeout:
		return fmt.Errorf("option WithTimeout: %v: want at least %v", r.Timeout, MinTimeout)
	case r.Lease < MinLease:
		return fmt.Errorf("option WithLease: %v: want at least %v", r.Lease, MinLease)
	case r.Logger == nil:
		return errors.New("option WithLogger: the logger is nil")
	case r.Version == "":
		return errors.New("option WithVersion: empty")
	}
	if err := r.Retry.Validate(); err != nil {
		return fmt.Errorf("option WithRetry: %w", err)
	}
	return nil
}

func someHolder() string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // it never fails
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return info.Main.Version + " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

// Detach returns a context that goes on when ctx ends and has a deadline of its
// own.
func Detach(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err() == nil
}
