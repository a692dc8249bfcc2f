package scenario_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
)

// follower reads the log while it grows.
type follower struct {
	log    eventstore.Log
	reader *oracle.Reader
	// restarts, if not nil, draws when the reader starts again from a cursor that
	// it had some pages ago, as one does that is killed between two checkpoints.
	restarts *rand.Rand
	saved    event.Position
}

// page reads one page and reports whether there was anything.
func (f *follower) page(ctx context.Context) (bool, error) {
	if f.restarts != nil {
		switch f.restarts.IntN(50) {
		case 0:
			f.reader.Restart(f.saved)
		case 1, 2, 3:
			f.saved = f.reader.Cursor()
		}
	}
	page, err := f.log.ReadLog(ctx, f.reader.Query())
	if err != nil {
		return false, err
	}
	f.reader.Page(page)
	return page.Next > page.After, nil
}

// follow reads until written is closed, and then to the head.
func (f *follower) follow(ctx context.Context, written <-chan struct{}) error {
	for {
		more, err := f.page(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-written:
			f.restarts = nil
			return f.toHead(ctx)
		default:
		}
		if err := f.log.Wait(ctx, f.reader.Cursor()); err != nil {
			return err
		}
	}
}

// toHead reads on to the newest event there is now. It gives up after a while:
// once the writers have ended, nothing may hold readers back.
func (f *follower) toHead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	head, err := f.log.Head(ctx)
	if err != nil {
		return err
	}
	for f.reader.Cursor() < head {
		more, err := f.page(ctx)
		if err == nil && !more {
			err = f.log.Wait(ctx, f.reader.Cursor())
		}
		if err != nil {
			return fmt.Errorf("at position %d of %d: %w", f.reader.Cursor(), head, err)
		}
	}
	return nil
}
