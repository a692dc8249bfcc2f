package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// logPart is the part of a checkpoint that stands for the whole log.
const logPart = ""

// relayPrefix is how the names of relays begin.
const relayPrefix = "relay/"

// readers compares what readers were given with the log: those beside it, and those
// whose checkpoints are kept elsewhere.
func readers(elsewhere *postgres.DB, relay string) func(context.Context, *postgres.DB) error {
	return func(ctx context.Context, db *postgres.DB) error {
		lineage, err := relayLineage(ctx, db, relay)
		if err != nil {
			return err
		}
		found, err := diverged(ctx, db, db, lineage)
		if err != nil || elsewhere == nil {
			return errors.Join(append(found, err)...)
		}
		more, err := diverged(ctx, worker.Join(db, worker.Store[pgx.Tx](elsewhere)), elsewhere, lineage)
		return errors.Join(append(append(found, more...), err)...)
	}
}

// relayLineage is the text of the history that a relay publishes in, which its mark
// has; "" if there is no such relay.
func relayLineage(ctx context.Context, db *postgres.DB, name string) (string, error) {
	c, err := db.Checkpoint(ctx, relayPrefix+name)
	if errors.Is(err, worker.ErrAltered) {
		return "", nil // a finding of its own; nothing can be compared with it
	}
	return c[logPart].Lineage, err
}

// diverged returns the findings about the marks that a store keeps, whose readers
// read the log of store.
func diverged(ctx context.Context, store worker.LogStore, keeper *postgres.DB, lineage string) (found []error, err error) {
	beside := store == worker.LogStore(keeper)
	for m, err := range keeper.Marks(ctx) {
		switch {
		case err != nil:
			return found, err
		case m.Altered != nil:
			found = append(found, m.Altered)
		case worker.OfLog(m.Part) && m.Server != "" && m.Own() != beside:
			continue // of another log
		case worker.OfLog(m.Part):
			c, err := store.Checkpoint(ctx, m.Name) // with the server as the store of the log knows it
			if errors.Is(err, worker.ErrAltered) {
				continue // another part of it
			}
			if err != nil {
				return found, err
			}
			_, err = worker.Resume(ctx, store, m.Name, c[m.Part])
			found = append(found, way(m, err))
		case strings.HasPrefix(m.Name, relayPrefix):
			continue // a topic, which goes with the relay
		default:
			_, _, err := m.Receive(m.Name, worker.Delivery{Part: m.Part, Lineage: lineage})
			found = append(found, way(m, err))
		}
	}
	return found, nil
}

// way is a finding with what to do about it, nil if there is none.
func way(m postgres.StoredMark, err error) error {
	var diverged *worker.DivergedError
	if !errors.As(err, &diverged) {
		return err
	}
	what := fmt.Sprintf("%s was given positions %d to %d, which the store does not have or has others at", m.Name, diverged.From, diverged.To)
	switch {
	case !worker.OfLog(m.Part):
		return fmt.Errorf("%s (part %s): stop it, empty its read model, and run: annals rewind %s", what, m.Part, m.Name)
	case strings.HasPrefix(m.Name, relayPrefix):
		return fmt.Errorf("%s: stop it, and run: annals rewind %s --brokers HOST:PORT", what, m.Name)
	}
	text := fmt.Sprintf("%s: stop it, empty its read model, and run: annals rewind %s --to 0", what, m.Name)
	if back := m.Common(diverged.From - 1); back > 0 {
		text += fmt.Sprintf("; or restore its read model as it was at position %d, and run it with --to %d", back, back)
	}
	return errors.New(text)
}
