package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Lineage returns the text of the history that the relay publishes in: what its
// messages carry, and what worker.RewindParts wants; "" if it has not begun.
func (r *Relay) Lineage(ctx context.Context) (string, error) {
	c, err := r.from.Checkpoint(ctx, r.name)
	if err != nil {
		return "", fmt.Errorf("read lineage of %s: %w", r.name, err)
	}
	return c[logPart].Lineage, nil
}

// Rewind lets a relay go on that has published events which its log has lost: it
// begins an incarnation that shares with the one before what the mark of the
// relay stands for, and returns that position. From there on the log is published
// again, and consumers that were given more stop with a *worker.DivergedError; the
// others go on. Unless forced it is refused while nothing has diverged; a relay
// that found it in a topic which it met for the first time wants force.
// Errors: worker.ErrNotDiverged, worker.ErrFenced if the relay runs.
func (r *Relay) Rewind(ctx context.Context, force bool) (event.Position, error) {
	to, err := r.rewind(ctx, force)
	if err != nil {
		return 0, fmt.Errorf("rewind %s: %w", r.name, err)
	}
	return to, nil
}

func (r *Relay) rewind(ctx context.Context, force bool) (event.Position, error) {
	marks, err := r.from.Checkpoint(ctx, r.name)
	if err != nil {
		return 0, err
	}
	log, err := r.from.Lineage(ctx)
	if err != nil {
		return 0, err
	}
	stored := marks[logPart]
	run := relayRun{Relay: r, marks: marks}
	err = run.resume(ctx)
	to := stored.Position
	var diverged *worker.DivergedError
	switch {
	case errors.As(err, &diverged):
		to = stored.Common(diverged.From - 1)
	case err != nil:
		return 0, err
	case !force:
		return 0, worker.ErrNotDiverged
	}
	lineage, err := eventstore.ParseLineage(stored.Lineage)
	if err != nil {
		return 0, fmt.Errorf("the mark: %w", err)
	}
	if lineage == nil {
		lineage = log
	}
	back, _ := stored.Back(to)
	back.Lineage = append(lineage, eventstore.Generation{Incarnation: event.NewID(), Since: to}).String()
	back.Server = log.Now().Server
	next := worker.Checkpoint{}
	for p, m := range marks {
		m.Position = min(m.Position, to)
		next[p] = m
	}
	next[logPart] = back
	return to, r.from.SaveCheckpoint(ctx, r.name, next)
}
