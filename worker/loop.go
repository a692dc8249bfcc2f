package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// DefaultBatchTimeout is how long one batch may take.
const DefaultBatchTimeout = time.Minute

// Loop reads the log page by page and hands each page to Apply. It is the part
// that relays and projections share. All fields but the optional ones are
// required.
type Loop struct {
	Name string
	Log  eventstore.Log
	// Batch is the most events of a page.
	Batch int
	// Start returns where to read: After, and the Server if the reader goes by one. It
	// is called first, and again after every error and when the log is held by
	// another server, so that what has happened meanwhile is taken into account.
	Start func(ctx context.Context) (eventstore.LogQuery, error)
	// Apply makes the events of a page take effect and stores the mark.
	// ErrFenced and eventstore.ErrOtherServer make the loop start again without
	// counting as a failure.
	Apply func(ctx context.Context, page eventstore.Page) error

	Retry   Retry         // zero: the defaults
	Timeout time.Duration // of one batch; zero: DefaultBatchTimeout
	Logger  *slog.Logger
}

// Run reads until ctx ends and returns nil then; a batch in flight is finished
// first, under its own deadline. It returns the first error that is permanent
// or outlives the retries. If the log is an eventstore.Listener, it listens
// meanwhile. No goroutine outlives it.
func (l Loop) Run(ctx context.Context) error {
	defer listen(ctx, l.Log)()
	return l.run(ctx, nil)
}

// listen listens until the function that it returns is called, which waits for
// the end. An error is not one of the reader, who polls.
func listen(ctx context.Context, log eventstore.Log) (stop func()) {
	listener, ok := log.(eventstore.Listener)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = listener.Listen(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// RunTo is Run, but it also returns nil once everything up to the given
// position has been applied.
func (l Loop) RunTo(ctx context.Context, to event.Position) error { return l.run(ctx, &to) }

func (l Loop) run(ctx context.Context, to *event.Position) error {
	var at eventstore.LogQuery
	started := false
	for ctx.Err() == nil {
		idle := false
		err := l.Retry.Do(ctx, l.Logger, l.Name, func() (err error) {
			at, idle, err = l.step(ctx, at, &started)
			return err
		})
		if err == nil && !started {
			pause(ctx, l.Retry.Wait(1)) // fenced: let the other one get ahead
		}
		if err == nil && started && to != nil && at.After >= *to {
			return nil
		}
		if err == nil && idle {
			err = l.Log.Wait(ctx, at.After)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// step applies one page. On an error the next step asks Start again.
func (l Loop) step(ctx context.Context, at eventstore.LogQuery, started *bool) (_ eventstore.LogQuery, idle bool, err error) {
	ok := *started
	*started = false
	reading, cancel := context.WithTimeout(ctx, l.timeout())
	defer cancel()
	if !ok {
		if at, err = l.Start(reading); err != nil {
			return at, false, l.startAgain(ctx, at, err)
		}
	}
	at.Limit = l.Batch
	page, err := l.Log.ReadLog(reading, at)
	if err == nil && len(page.Events) > 0 {
		err = l.apply(ctx, page)
	}
	if err != nil {
		return at, false, l.startAgain(ctx, at, err)
	}
	*started = true
	at.After = page.Next
	return at, page.Next == page.After, nil
}

// startAgain takes away an error that only says that the loop has to start again.
func (l Loop) startAgain(ctx context.Context, at eventstore.LogQuery, err error) error {
	switch {
	case errors.Is(err, ErrFenced):
		l.Logger.InfoContext(ctx, "another worker moved the checkpoint", "name", l.Name, "position", at.After)
	case errors.Is(err, eventstore.ErrOtherServer):
		l.Logger.InfoContext(ctx, "the log is held by another server", "name", l.Name, "position", at.After)
	default:
		return err
	}
	return nil
}

// apply outlives ctx, so that a batch is finished when the worker is told to stop.
func (l Loop) apply(ctx context.Context, page eventstore.Page) error {
	ctx, cancel := Detach(ctx, l.timeout())
	defer cancel()
	return l.Apply(ctx, page)
}

func (l Loop) timeout() time.Duration {
	if l.Timeout == 0 {
		return DefaultBatchTimeout
	}
	return l.Timeout
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Detach returns a context that goes on when ctx ends and has a deadline of its
// own.
func Detach(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}
