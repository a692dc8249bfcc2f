package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

var errTwoBeginnings = errors.New("--after and --since: want one of them")

func (a *app) log() *cobra.Command {
	after := &numberFlag{most: maxPosition}
	limit := limitFlag()
	categories, names := &namesFlag{check: event.ValidateCategory}, &namesFlag{check: event.ValidateName}
	since := &timeFlag{}
	var follow bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show the events of all streams",
		Long: `Show the events of all streams in the order of their positions, as far as it is final: nothing ever
appears before an event that was shown.

With --category and --name it shows the selected events alone, without reading the others. With --since it
begins at a recorded time, which is a note of the server's clock: positions order the log, times do not.

With --follow it waits for more until it is interrupted. It then has no limit unless --limit is given, and
--timeout bounds each read.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("after") && cmd.Flags().Changed("since") {
				return usage(errTwoBeginnings)
			}
			q := eventstore.LogQuery{After: event.Position(after.value), Categories: categories.names, Names: names.names}
			most := int(limit.value)
			if !follow {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
				defer cancel()
				return a.readLog(ctx, cmd, q, since.value, most, false)
			}
			if !cmd.Flags().Changed("limit") {
				most = math.MaxInt
			}
			if err := a.readLog(ctx, cmd, q, since.value, most, true); ctx.Err() == nil {
				return err
			}
			return nil // interrupted, as it is meant to end
		}),
	}
	cmd.Flags().Var(after, "after", "show the events after this position")
	cmd.Flags().Var(since, "since", "show the events recorded at or after this time")
	cmd.Flags().Var(categories, "category", "show the events of these categories of streams")
	cmd.Flags().Var(names, "name", "show the events with these names")
	cmd.Flags().Var(limit, "limit", "most events to show")
	cmd.Flags().BoolVar(&follow, "follow", false, "wait for more events until interrupted")
	return cmd
}

func (a *app) readLog(ctx context.Context, cmd *cobra.Command, q eventstore.LogQuery, since time.Time, limit int, follow bool) error {
	opening, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	db, done, err := a.store(opening)
	if err != nil {
		return a.explain(opening, err)
	}
	defer done()
	if !since.IsZero() {
		if q.After, err = db.PositionBefore(opening, since); err != nil {
			return a.explain(opening, err)
		}
	}
	p := a.printer(cmd, logHeader...)
	for left := limit; left > 0; {
		q.Limit = min(left, pageRows)
		page, err := a.page(ctx, db, q)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			if err := p.print(logRow{newEventRecord(e)}); err != nil {
				return err
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
		left -= len(page.Events)
		more := page.Next != q.After
		q.After = page.Next
		if more {
			continue
		}
		if !follow {
			return nil
		}
		if err := db.Wait(ctx, q.After); err != nil {
			return err
		}
	}
	a.stopped(cmd, limit, fmt.Sprintf("--after %d", q.After))
	return nil
}

// page reads under a deadline of its own: a follower has no other.
func (a *app) page(ctx context.Context, db *postgres.DB, q eventstore.LogQuery) (eventstore.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	page, err := db.ReadLog(ctx, q)
	return page, a.explain(ctx, err)
}
