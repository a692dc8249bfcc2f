package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// parked is the group of commands about what is parked.
func (a *app) parked() *cobra.Command {
	group := a.group("parked", "Look at events that were parked, and decide on them")
	group.AddCommand(a.parkedList(), a.parkedShow(), a.parkedRetry(), a.parkedDiscard(), a.parkedAssign(), a.parkedNote(), a.parkedAudit())
	return group
}

// partFlag is a part that may be the empty one, and may be left out.
func partFlag(cmd *cobra.Command, part *string) {
	cmd.Flags().StringVar(part, "part", "", "part of the reader (default: all)")
}

func chosenPart(cmd *cobra.Command, part *string) *string {
	if cmd.Flags().Changed("part") {
		return part
	}
	return nil
}

func (a *app) parkedList() *cobra.Command {
	var part, key string
	state := choiceFlag{choices: []string{string(worker.Waiting), string(worker.Retrying)}}
	limit := limitFlag()
	cmd := &cobra.Command{
		Use:   "ls [NAME]",
		Short: "List keys that are parked",
		Long: `List keys that are parked: those that wait for somebody to decide, and those that are retried without being
asked for. NAME is a reader, such as projection/totals, or totals if that is clear.`,
		Args:         atMostOne("NAME, such as projection/totals"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			q := worker.ParkedQuery{Part: chosenPart(cmd, &part), Key: key, State: worker.State(state.value)}
			return a.listParked(ctx, cmd, args, q, int(limit.value))
		}),
	}
	partFlag(cmd, &part)
	cmd.Flags().StringVar(&key, "key", "", "key, which is a stream unless the reader has other keys")
	cmd.Flags().Var(&state, "state", "waiting or retrying (default: both)")
	cmd.Flags().Var(limit, "limit", "most keys to list")
	return cmd
}

func (a *app) listParked(ctx context.Context, cmd *cobra.Command, args []string, q worker.ParkedQuery, limit int) error {
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	names, err := chosenReaders(ctx, db, args)
	if err != nil {
		return err
	}
	p := a.printer(cmd, parkedHeader...)
	left := limit
	for _, q.Name = range names {
		q.After = worker.Key{}
		for left > 0 {
			q.Limit = min(left, pageRows)
			page, err := db.Parked(ctx, q)
			if err != nil {
				return err
			}
			for _, k := range page {
				if err := p.print(newParkedRecord(q.Name, k)); err != nil {
					return err
				}
				q.After = k.Key
			}
			if left -= len(page); len(page) < q.Limit {
				break
			}
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if left == 0 {
		a.stopped(cmd, limit, "a greater one, --part or --key")
	}
	return nil
}

// parkedKey returns the one key that is meant.
func parkedKey(ctx context.Context, db *postgres.DB, reader, key string, part *string) (worker.Parked, error) {
	page, err := db.Parked(ctx, worker.ParkedQuery{Name: reader, Part: part, Key: key})
	if err != nil {
		return worker.Parked{}, err
	}
	var parts []string
	var found worker.Parked
	for _, p := range page {
		if p.Key.Key == key { // an empty key selects all
			parts, found = append(parts, fmt.Sprintf("%q", p.Part)), p
		}
	}
	switch len(parts) {
	case 0:
		return worker.Parked{}, fmt.Errorf("parked key %q of %s: %w", key, reader, worker.ErrNotParked)
	case 1:
		return found, nil
	}
	return worker.Parked{}, usage(fmt.Errorf("parked key %q of %s: it is parked in several parts, name one with --part: %s", key, reader, strings.Join(parts, ", ")))
}

func (a *app) parkedShow() *cobra.Command {
	var part string
	limit := limitFlag()
	cmd := &cobra.Command{
		Use:          "show NAME KEY",
		Short:        "Show all that is known of a parked key: error, stack, attempts, events",
		Args:         exactArgs(2, "NAME and KEY, such as projection/totals order-o-1"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			db, name, done, err := a.storeOf(ctx, args[0])
			if err != nil {
				return err
			}
			defer done()
			k, err := parkedKey(ctx, db, name, args[1], chosenPart(cmd, &part))
			if err != nil {
				return err
			}
			r := newParkedRecord(name, k)
			if r.Items, err = itemRecords(ctx, db, name, k, int(limit.value)); err != nil {
				return err
			}
			if a.output.value != "json" {
				return r.page(cmd.OutOrStdout())
			}
			p := a.printer(cmd)
			if err := p.object(r); err != nil {
				return err
			}
			return p.flush()
		}),
	}
	partFlag(cmd, &part)
	cmd.Flags().Var(limit, "limit", "most events to show")
	return cmd
}

// itemRecords are the events of a parked key; those that are only pointed at are looked
// up in the log.
func itemRecords(ctx context.Context, db *postgres.DB, name string, k worker.Parked, limit int) ([]itemRecord, error) {
	items, err := db.Items(ctx, name, k.Key, k.First-1, limit)
	if err != nil {
		return nil, err
	}
	out := make([]itemRecord, 0, len(items))
	for _, i := range items {
		if i.Data != nil {
			out = append(out, keptItem(i))
			continue
		}
		r := itemRecord{Seq: i.Seq, Gone: true}
		page, err := db.ReadLog(ctx, eventstore.LogQuery{After: event.Position(i.Seq - 1), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Events) > 0 && int64(page.Events[0].Position) == i.Seq {
			e := page.Events[0]
			r = itemRecord{Seq: i.Seq, Stream: e.Stream.String(), Version: int64(e.Version), Name: e.Name}
		}
		out = append(out, r)
	}
	return out, nil
}

func (a *app) parkedAudit() *cobra.Command {
	limit := limitFlag()
	cmd := &cobra.Command{
		Use:          "audit NAME",
		Short:        "Show who has asked for what, newest first",
		Args:         exactArgs(1, "one NAME, such as projection/totals"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			db, name, done, err := a.storeOf(ctx, args[0])
			if err != nil {
				return err
			}
			defer done()
			all, err := db.Audits(ctx, name, time.Time{}, int(limit.value))
			if err != nil {
				return err
			}
			p := a.printer(cmd, auditHeader...)
			for _, x := range all {
				if err := p.print(auditRecord{x.Time, x.Actor, x.Action, x.Part, x.Key.Key, x.Seq, x.Detail}); err != nil {
					return err
				}
			}
			return p.flush()
		}),
	}
	cmd.Flags().Var(limit, "limit", "most entries to show")
	return cmd
}
