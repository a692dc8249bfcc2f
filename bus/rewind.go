package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"

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
// begins an incarnation that shares with the one before what lies before the first
// of them, and returns that position. From its mark on, or from before the first,
// the log is published again. Consumers that were given more than is shared stop
// with a *worker.DivergedError, the others go on. Unless forced it is refused while
// nothing has diverged. Errors: worker.ErrNotDiverged, worker.ErrFenced if the relay
// runs.
func (r *Relay) Rewind(ctx context.Context, force bool) (event.Position, error) {
	to, err := r.rewind(ctx, force)
	if err != nil {
		return 0, fmt.Errorf("rewind %s: %w", r.name, err)
	}
	return to, nil
}

func (r *Relay) rewind(ctx context.Context, force bool) (event.Position, error) {
	if err := worker.Stopped(ctx, r.from, r.name, force); err != nil {
		return 0, err
	}
	var anew func(string, worker.Mark) worker.Mark
	if force {
		anew = beginning
	}
	marks, altered, err := worker.Mended(ctx, r.from, r.name, anew)
	if err != nil {
		return 0, err
	}
	log, err := r.from.Lineage(ctx)
	if err != nil {
		return 0, err
	}
	stored := marks[logPart]
	run := relayRun{Relay: r, marks: maps.Clone(marks)}
	if err = run.resume(ctx); err == nil {
		err = run.lookAhead(ctx)
	}
	common := stored.Position
	var diverged *worker.DivergedError
	switch {
	case errors.As(err, &diverged):
		common = diverged.From - 1
	case err != nil:
		return 0, err
	case !force:
		return 0, worker.ErrNotDiverged
	case altered:
		return 0, nil
	}
	lineage, err := eventstore.ParseLineage(stored.Lineage)
	if err != nil {
		return 0, fmt.Errorf("the mark: %w", err)
	}
	if lineage == nil {
		lineage = log
	}
	back, _ := stored.Back(stored.Common(common))
	back.Lineage = append(lineage, eventstore.Generation{Incarnation: event.NewID(), Since: common}).String()
	back.Server = log.Now().Server
	next := worker.Checkpoint{}
	for p, m := range marks {
		m.Position = min(m.Position, back.Position)
		next[p] = m
	}
	next[logPart] = back
	return common, worker.SetBack(ctx, r.from, r.name, next)
}

// beginning is what is put in the place of a mark that was changed by other means.
// The consumers know the lineage, so it stays if it is one.
func beginning(_ string, stored worker.Mark) worker.Mark {
	if _, err := eventstore.ParseLineage(stored.Lineage); err != nil {
		return worker.Mark{}
	}
	return worker.Mark{Lineage: stored.Lineage}
}

// lookAhead compares the topics that the relay will meet in its next page.
func (r *relayRun) lookAhead(ctx context.Context) error {
	mark := r.marks[logPart]
	page, err := r.from.ReadLog(ctx, eventstore.LogQuery{After: mark.Position, Limit: r.worker.Batch, Server: mark.Server})
	if err != nil {
		return err
	}
	mapped, err := r.mapAll(page.Events)
	if err != nil {
		return err
	}
	return r.compare(ctx, r.strange(r.fresh(mapped)), 0)
}
