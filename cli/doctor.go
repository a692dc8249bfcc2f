package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
)

// maxDelay is how long an append may stay open before doctor names it.
const maxDelay = 10 * time.Second

// section is one thing that doctor looks at. Its error is the finding, or
// several that are joined.
type section struct {
	name string
	look func(ctx context.Context, db *postgres.DB) error
}

// findingRecord is one finding, or that a section has none.
type findingRecord struct {
	Section string `json:"section"`
	OK      bool   `json:"ok"`
	Finding string `json:"finding,omitempty"`
}

// line is the record for people. It is not cut on a terminal: a finding ends with
// what to do about it.
func (r findingRecord) line() string {
	if r.OK {
		return fmt.Sprintf("%-11s ok\n", r.Section)
	}
	return fmt.Sprintf("%-11s wrong  %s\n", r.Section, r.Finding)
}

func (a *app) doctor() *cobra.Command {
	var (
		privileges       bool
		elsewhere, relay string
	)
	roles := namesFlag{check: func(name string) error {
		if !slices.Contains(serviceRoles, name) {
			return errors.New("want " + strings.Join(serviceRoles, " or "))
		}
		return nil
	}}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what breaks promises, or soon will",
		Long: `Look for what breaks promises, or soon will: a connection over a network that is not encrypted or does not
verify the server (sslmode=verify-full), settings of the server and the schema, vacuum,
transactions that keep readers waiting, readers that were given events which the store has lost, or whose marks
were changed by other means, and those that are paused, lag without a worker, or have something parked, with the
ways on. The exit code is 1 if anything is found.

--elsewhere is a second database, which keeps checkpoints of readers of this log, in the same --schema.

With --privileges it also tries, with the credentials that it was given, what a service must not be able to
do, such as to change an event or to move the sequence. So give it those of the service. Nothing is changed
even when an attempt succeeds. --role says what the duties of the service are.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			sections := []section{
				{"setup", func(ctx context.Context, db *postgres.DB) error { return db.Check(ctx) }},
				{"vacuum", func(ctx context.Context, db *postgres.DB) error { return db.CheckVacuum(ctx) }},
				{"delays", delays},
			}
			var other *postgres.DB
			if elsewhere != "" {
				keeper, done, err := a.keeper(ctx, elsewhere)
				if err != nil {
					return err
				}
				defer done()
				other = keeper
			}
			sections = append(sections, section{"readers", readers(other, relay)}, section{"workers", workers(other)})
			if privileges || len(roles.names) > 0 {
				sections = append(sections, section{"privileges", func(ctx context.Context, db *postgres.DB) error {
					var duties []postgres.Role
					for _, r := range roles.names {
						duties = append(duties, postgres.Role(r))
					}
					return db.Privileges(ctx, duties...)
				}})
			}
			return a.examine(ctx, cmd, sections)
		}),
	}
	cmd.Flags().StringVar(&elsewhere, "elsewhere", "", "connection string of a database that keeps checkpoints of readers of this log")
	cmd.Flags().StringVar(&relay, "relay", "main", "relay that fills the topics which readers read")
	cmd.Flags().BoolVar(&privileges, "privileges", false, "try what the role of these credentials must not be able to do")
	cmd.Flags().Var(&roles, "role", "duties of the service: read, append, work, import (default append,work); implies --privileges")
	return cmd
}

// serviceRoles are the duties that a service can have.
var serviceRoles = []string{string(postgres.RoleRead), string(postgres.RoleAppend), string(postgres.RoleWork), string(postgres.RoleImport)}

// examine prints what each section finds, one after the other. A schema that is not migrated has no
// others.
func (a *app) examine(ctx context.Context, cmd *cobra.Command, sections []section) error {
	pool, done, err := a.pool(ctx)
	if err != nil {
		return err
	}
	defer done()
	db := postgres.New(pool, postgres.WithSchema(string(a.schema)))
	sections = slices.Insert(sections, 0, section{"connection", func(context.Context, *postgres.DB) error { return checkConnection(pool.Config().ConnConfig) }})
	found := 0
	say := func(r findingRecord) error {
		if a.output.value != "json" {
			_, err := fmt.Fprint(cmd.OutOrStdout(), r.line())
			return err
		}
		p := a.printer(cmd)
		if err := p.object(r); err != nil {
			return err
		}
		return p.flush()
	}
	for _, s := range sections {
		err := s.look(ctx, db)
		findings := each(err)
		found += len(findings)
		for _, f := range findings {
			if err := say(findingRecord{Section: s.name, Finding: a.report(f).Error()}); err != nil {
				return err
			}
		}
		if len(findings) == 0 {
			if err := say(findingRecord{Section: s.name, OK: true}); err != nil {
				return err
			}
		}
		if errors.Is(err, postgres.ErrNotMigrated) || ctx.Err() != nil {
			break
		}
	}
	if found == 0 {
		return nil
	}
	return fmt.Errorf("doctor: %s", counted(int64(found), "finding"))
}

// each takes errors apart that were joined, and no others that hold several.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if holds, ok := err.(interface{ Unwrap() []error }); ok {
		if all := holds.Unwrap(); errors.Join(all...).Error() == err.Error() {
			return all
		}
	}
	return []error{err}
}

func delays(ctx context.Context, db *postgres.DB) error {
	open, err := db.Delays(ctx)
	if err != nil {
		return err
	}
	var long []error
	for _, d := range open {
		if d.Open >= maxDelay {
			long = append(long, fmt.Errorf("readers wait for %s since %v, at position %d", d.Who(), d.Open, d.Mark))
		}
	}
	return errors.Join(long...)
}
