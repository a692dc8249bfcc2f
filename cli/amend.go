package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// amending is what the commands that change something parked have in common.
type amending struct{ part, actor string }

func (f *amending) add(cmd *cobra.Command) {
	partFlag(cmd, &f.part)
	cmd.Flags().StringVar(&f.actor, "actor", "", "who asks for it, for the audit (default: user@host)")
}

// someActor is who runs the command, as far as the system knows.
func someActor() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	return name + "@" + host
}

// amender opens the store for changes of the named reader.
func (f *amending) amender(ctx context.Context, a *app, cmd *cobra.Command, name string) (worker.Amender, *postgres.DB, func(), error) {
	db, full, done, err := a.storeOf(ctx, name)
	if err != nil {
		return worker.Amender{}, nil, nil, err
	}
	if !cmd.Flags().Changed("actor") {
		f.actor = someActor()
	}
	return worker.Amender{Store: db, Name: full, Actor: f.actor}, db, done, nil
}

// amend runs a change of one key.
func (a *app) amend(f *amending, told string, change func(ctx context.Context, w worker.Amender, key worker.Key, args []string) error) func(*cobra.Command, []string) error {
	return a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		w, db, done, err := f.amender(ctx, a, cmd, args[0])
		if err != nil {
			return err
		}
		defer done()
		p, err := parkedKey(ctx, db, w.Name, args[1], chosenPart(cmd, &f.part))
		if err != nil {
			return err
		}
		if err := change(ctx, w, p.Key, args[2:]); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: key %s %s\n", escape(w.Name), escape(p.Key.Key), told)
		return err
	})
}

func (a *app) parkedRetry() *cobra.Command {
	var (
		f   amending
		all bool
	)
	rate := &numberFlag{value: worker.DefaultRetryRate, least: 1, most: 1000}
	cmd := &cobra.Command{
		Use:   "retry NAME [KEY...]",
		Short: "Have parked keys tried again",
		Long: `Have parked keys tried again, each from its first event on, one after the other. A worker that runs does it;
this command does not wait for the result.

With --all it goes through all keys that wait, as slowly as --rate says. It can be broken off and run again: it
goes on with those that still wait.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage(fmt.Errorf("%sarguments: got 0, want NAME and KEY, or NAME and --all", within(cmd)))
			case all == (len(args) > 1):
				return usage(fmt.Errorf("%swant either keys or --all", within(cmd)))
			}
			return nil
		},
		SilenceUsage: true,
		RunE: a.patient(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			w, db, done, err := f.amender(ctx, a, cmd, args[0])
			if err != nil {
				return err
			}
			defer done()
			part := chosenPart(cmd, &f.part)
			if all {
				return retryAll(ctx, cmd, w, float64(rate.value), part)
			}
			var keys []worker.Key
			for _, key := range args[1:] {
				p, err := parkedKey(ctx, db, w.Name, key, part)
				if err != nil {
					return err
				}
				keys = append(keys, p.Key)
			}
			n, err := w.RetryParked(ctx, float64(rate.value), keys...)
			if err != nil {
				return fmt.Errorf("%w (%d of %d keys are done)", err, n, len(keys))
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s will be tried again\n", escape(w.Name), counted(int64(n), "key"))
			return err
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all keys that wait")
	cmd.Flags().Var(rate, "rate", "keys a second")
	return cmd
}

func retryAll(ctx context.Context, cmd *cobra.Command, w worker.Amender, rate float64, part *string) error {
	n, err := w.RetryAll(ctx, rate, part, func(done int) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s will be tried again\n", escape(w.Name), counted(int64(done), "key"))
	})
	if err != nil {
		return fmt.Errorf("%w (%s are done, run it again for the others)", err, counted(int64(n), "key"))
	}
	return nil
}

func (a *app) parkedDiscard() *cobra.Command {
	var (
		f   amending
		why string
		yes bool
	)
	seq := &numberFlag{least: -1 << 63, most: 1<<63 - 1}
	cmd := &cobra.Command{
		Use:   "discard NAME KEY --seq N --why TEXT --yes",
		Short: "Give up the first event of a parked key for good",
		Long: `Give up the first event of a parked key for good: it never takes effect in this reader. The event itself stays
in the log. The others of the key are tried again. --seq is that of the event, as annals parked show prints it:
the command is refused if another one is first.`,
		Args:         exactArgs(2, "NAME and KEY, such as projection/totals order-o-1"),
		SilenceUsage: true,
	}
	run := a.amend(&f, "has lost its first event", func(ctx context.Context, w worker.Amender, key worker.Key, _ []string) error {
		return w.DiscardParked(ctx, key, seq.value, why)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !cmd.Flags().Changed("seq"):
			return usage(errors.New("parked discard: say with --seq which event: annals parked show prints it"))
		case why == "":
			return usage(errors.New("parked discard: say with --why what for"))
		case !yes:
			return usage(fmt.Errorf("parked discard: event %d of key %s would never take effect in %s: confirm with --yes", seq.value, args[1], args[0]))
		}
		return run(cmd, args)
	}
	f.add(cmd)
	cmd.Flags().Var(seq, "seq", "the event: its position in the log")
	cmd.Flags().StringVar(&why, "why", "", "the reason, for the audit")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (a *app) parkedAssign() *cobra.Command {
	var f amending
	cmd := &cobra.Command{
		Use:          "assign NAME KEY OWNER",
		Short:        "Say who looks after a parked key",
		Args:         exactArgs(3, `NAME, KEY and OWNER, such as projection/totals order-o-1 ada; "" for nobody`),
		SilenceUsage: true,
		RunE: a.amend(&f, "is assigned", func(ctx context.Context, w worker.Amender, key worker.Key, args []string) error {
			return w.AssignParked(ctx, key, args[0])
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) parkedNote() *cobra.Command {
	var f amending
	cmd := &cobra.Command{
		Use:          "note NAME KEY TEXT",
		Short:        "Leave a note with a parked key",
		Args:         exactArgs(3, "NAME, KEY and TEXT, such as projection/totals order-o-1 'see ticket 7'"),
		SilenceUsage: true,
		RunE: a.amend(&f, "has the note", func(ctx context.Context, w worker.Amender, key worker.Key, args []string) error {
			return w.NoteParked(ctx, key, args[0])
		}),
	}
	f.add(cmd)
	return cmd
}
