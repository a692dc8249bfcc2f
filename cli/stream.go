package cli

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

func (a *app) streamList() *cobra.Command {
	var after streamFlag
	limit := limitFlag()
	cmd := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List streams, without reading their events",
		Long: `List streams in the byte order of their names, with the last event of each. The cost grows with the
streams listed, not with their events.

PREFIX is how the names begin: "order" lists the categories order and order_item, "order-" only the
first, "order-53" those ids of it that begin with 53. No character in it has another meaning.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs(1, "at most one PREFIX, such as order-")(cmd, args)
			}
			return nil
		},
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			q := postgres.StreamsQuery{After: after.Stream}
			if len(args) == 1 {
				q.Prefix = args[0]
			}
			return a.list(ctx, cmd, q, int(limit.value))
		}),
	}
	cmd.Flags().Var(&after, "after", "list the streams that come after this one, which need not exist")
	cmd.Flags().Var(limit, "limit", "most streams to list")
	return cmd
}

func (a *app) list(ctx context.Context, cmd *cobra.Command, q postgres.StreamsQuery, limit int) error {
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	p := a.printer(cmd, listHeader...)
	for left := limit; left > 0; {
		q.Limit = min(left, eventstore.DefaultPage)
		page, err := db.Streams(ctx, q)
		if errors.Is(err, event.ErrInvalidName) {
			return usage(err)
		}
		if err != nil {
			return err
		}
		for _, s := range page {
			if err := p.print(newStreamRecord(s)); err != nil {
				return err
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
		if left -= len(page); len(page) < q.Limit {
			return nil
		}
		q.After = page[len(page)-1].Stream
	}
	a.stopped(cmd, limit, "--after and the last stream above")
	return nil
}

func (a *app) streamShow() *cobra.Command {
	from := &numberFlag{least: 1, most: math.MaxInt64}
	limit := limitFlag()
	var backward bool
	cmd := &cobra.Command{
		Use:          "show STREAM",
		Short:        "Show the events of a stream",
		Long:         `Show the events of a stream, such as order-o-1, oldest first.`,
		Args:         exactArgs(1, "one STREAM, such as order-o-1"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			s, err := event.ParseStream(args[0])
			if err != nil {
				return usage(fmt.Errorf("show stream: %w", err))
			}
			return a.show(ctx, cmd, s, eventstore.StreamQuery{From: event.Version(from.value), Limit: int(limit.value), Backward: backward})
		}),
	}
	cmd.Flags().Var(from, "from", "version to begin at (default: the oldest, or the newest with --backward)")
	cmd.Flags().Var(limit, "limit", "most events to show")
	cmd.Flags().BoolVar(&backward, "backward", false, "newest first")
	return cmd
}

func (a *app) show(ctx context.Context, cmd *cobra.Command, s event.Stream, q eventstore.StreamQuery) error {
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	p := a.printer(cmd, streamHeader...)
	shown, last := 0, event.Version(0)
	for e, err := range db.ReadStream(ctx, s, q) {
		if err != nil {
			return err
		}
		if err := p.print(streamRow{newEventRecord(e)}); err != nil {
			return err
		}
		if shown, last = shown+1, e.Version; shown%pageRows == 0 {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if shown == 0 && q.From == 0 {
		return fmt.Errorf("show stream %s: it has no events", s)
	}
	if err := p.flush(); err != nil {
		return err
	}
	next := last + 1
	if q.Backward {
		next = last - 1
	}
	if shown == q.Limit && next > 0 {
		a.stopped(cmd, q.Limit, fmt.Sprintf("--from %d", next))
	}
	return nil
}

// stopped tells people that there may be more. Programs count the lines.
func (a *app) stopped(cmd *cobra.Command, limit int, next string) {
	if a.output.value != "json" {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "stopped at --limit %d, continue with %s\n", limit, next)
	}
}
