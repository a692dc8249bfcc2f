package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// rewindFlags are those of the command rewind.
type rewindFlags struct {
	to        numberFlag
	elsewhere string
	kafka     kafkaFlags
	relay     string
	parts     []string
	force     bool
}

func (a *app) rewind() *cobra.Command {
	f := rewindFlags{to: numberFlag{most: maxPosition}}
	cmd := &cobra.Command{
		Use:   "rewind NAME",
		Short: "Set a reader back that was given events which the store has lost",
		Long: `Set a reader back that was given events which the store has lost, in a restore or a failover. NAME is that of
its checkpoint, as annals doctor prints it. Stop the reader first.

  annals rewind projection/totals --to 0      empty its read model before
  annals rewind projection/totals --to 4711   restore its read model as it was at that position before
  annals rewind projection/topics             for one that reads topics; empty its read model before
  annals rewind relay/main --brokers HOST     the relay publishes again what has come in place of the lost events

It is refused while a worker has a term of the reader, or if nothing has diverged, unless --force is given. With
--force it also replaces marks that were not written by a worker, those of the log only --to 0. What was parked
behind the place is read again, and not parked any more. With --elsewhere the checkpoint is in another
database than the log.`,
		Args:         exactArgs(1, "one NAME, such as projection/totals"),
		SilenceUsage: true,
		RunE: a.patient(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.rewindReader(ctx, cmd, args[0], f)
		}),
	}
	flags := cmd.Flags()
	flags.Var(&f.to, "to", "position to set a reader of the log back to: 0, or one that annals doctor names")
	flags.StringVar(&f.elsewhere, "elsewhere", "", "connection string of the database that keeps the checkpoint, if it is not that of the log")
	f.kafka.add(cmd, "brokers whose topics the relay has filled")
	flags.StringVar(&f.relay, "relay", "main", "relay that fills the topics which the reader reads")
	flags.StringSliceVar(&f.parts, "part", nil, "part of a topic that the reader has not begun to read, such as annals.order/0, so that it begins in the present history")
	flags.BoolVar(&f.force, "force", false, "also if nothing has diverged, a worker seems to run, or a mark was not written by one")
	return cmd
}

func (a *app) rewindReader(ctx context.Context, cmd *cobra.Command, name string, f rewindFlags) error {
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	var store worker.Store[pgx.Tx] = db
	var outbox bus.Outbox = db
	keeper := db
	if f.elsewhere != "" {
		other, done, err := a.keeper(ctx, f.elsewhere)
		if err != nil {
			return err
		}
		defer done()
		store, outbox, keeper = worker.Join(db, worker.Store[pgx.Tx](other)), bus.Join[pgx.Tx](db, other), other
	}
	if name, _, err = readerNamed(ctx, keeper, name); err != nil {
		return err
	}
	parts, altered, err := partsOf(ctx, keeper, name)
	if err != nil {
		return err
	}
	var told string
	relay, isRelay := strings.CutPrefix(name, relayPrefix)
	readsLog := slices.ContainsFunc(parts, worker.OfLog)
	switch {
	case len(parts) == 0 && len(f.parts) == 0:
		return fmt.Errorf("rewind %s: there is no such checkpoint", name)
	case isRelay:
		told, err = a.rewindRelay(ctx, outbox, relay, f)
		if altered {
			told = fmt.Sprintf("%s goes on at the beginning of the log, and sends its topics what they lack", name)
		}
	case readsLog && !cmd.Flags().Changed("to"):
		return usage(fmt.Errorf("rewind %s: it reads the log: say with --to to which position", name))
	case readsLog:
		err = worker.Rewind(ctx, store, name, event.Position(f.to.value), f.force)
		told = fmt.Sprintf("%s goes on behind position %d", name, f.to.value)
	default:
		told, err = rewindParts(ctx, db, keeper, name, f)
	}
	if err != nil {
		return hint(err)
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), told)
	return err
}

// partsOf returns the parts of the checkpoint of a reader, and whether one of them was
// changed by other means.
func partsOf(ctx context.Context, keeper *postgres.DB, name string) (parts []string, altered bool, err error) {
	for m, err := range keeper.Marks(ctx) {
		if err != nil {
			return nil, false, err
		}
		if m.Name == name {
			parts, altered = append(parts, m.Part), altered || m.Altered != nil
		}
	}
	return parts, altered, nil
}

// hint adds what to do about a refusal.
func hint(err error) error {
	switch {
	case errors.Is(err, worker.ErrNotDiverged):
		return fmt.Errorf("%w (--force sets it back all the same)", err)
	case errors.Is(err, worker.ErrRunning):
		return fmt.Errorf("%w (--force)", err)
	case errors.Is(err, worker.ErrFenced):
		return fmt.Errorf("%w: stop the reader first", err)
	}
	return err
}

func (a *app) rewindRelay(ctx context.Context, from bus.Outbox, name string, f rewindFlags) (string, error) {
	client, err := a.kafkaClient(f.kafka)
	if err != nil {
		return "", fmt.Errorf("rewind relay/%s: compare its topics with the log: %w", name, err)
	}
	defer client.Close()
	to, err := bus.NewRelay(from, kafka.NewPublisher(client), bus.WithName(name)).Rewind(ctx, f.force)
	return fmt.Sprintf("relay/%s begins a history that shares everything up to position %d", name, to), err
}

func rewindParts(ctx context.Context, db, keeper *postgres.DB, name string, f rewindFlags) (string, error) {
	lineage, err := relayLineage(ctx, db, f.relay)
	if err != nil {
		return "", err
	}
	if lineage == "" {
		return "", usage(fmt.Errorf("rewind %s: there is no relay/%s, name the one that fills its topics with --relay", name, f.relay))
	}
	err = worker.RewindParts(ctx, keeper, name, lineage, f.force, f.parts...)
	return fmt.Sprintf("%s goes on at the beginning of its topics", name), err
}
