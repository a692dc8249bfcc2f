package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
)

// stepRecord is the JSON form of a step that was applied, or printed with its SQL.
type stepRecord struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	SQL     string `json:"sql,omitempty"`
}

// migrateRecord is the JSON form of what migrate did. Nothing applied: the
// schema was up to date.
type migrateRecord struct {
	Schema  string       `json:"schema"`
	Applied []stepRecord `json:"applied"`
}

func (a *app) migrate() *cobra.Command {
	var printOnly bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema up to date",
		Long: `Bring the schema up to date. Each step is one transaction; several migrators at once take turns.

With --print it touches no database and prints the SQL of all steps for review. To apply them, run
annals migrate: it also records which steps the schema has.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if printOnly {
				return a.printSteps(cmd)
			}
			return a.applySteps(ctx, cmd)
		}),
	}
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the SQL of all steps, touch no database")
	return cmd
}

func (a *app) printSteps(cmd *cobra.Command) error {
	steps, err := postgres.Migrations(postgres.WithSchema(string(a.schema)))
	if err != nil {
		return err
	}
	if a.output.value == "json" {
		p := a.printer(cmd)
		for _, s := range steps {
			if err := p.object(stepRecord(s)); err != nil {
				return err
			}
		}
		return p.flush()
	}
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "-- step %s\n\n%s\n", s.Name, s.SQL)
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

// applySteps says what was applied also when a later step failed.
func (a *app) applySteps(ctx context.Context, cmd *cobra.Command) error {
	pool, done, err := a.pool(ctx)
	if err != nil {
		return err
	}
	defer done()
	applied, failed := postgres.Migrate(ctx, pool, postgres.WithSchema(string(a.schema)))
	if err := a.sayApplied(cmd, applied, failed == nil); err != nil {
		return err
	}
	return failed
}

func (a *app) sayApplied(cmd *cobra.Command, applied []postgres.Migration, complete bool) error {
	if a.output.value == "json" {
		r := migrateRecord{Schema: string(a.schema), Applied: []stepRecord{}}
		for _, s := range applied {
			r.Applied = append(r.Applied, stepRecord{Version: s.Version, Name: s.Name})
		}
		if !complete && len(applied) == 0 {
			return nil // it would read like "up to date"
		}
		p := a.printer(cmd)
		if err := p.object(r); err != nil {
			return err
		}
		return p.flush()
	}
	var b strings.Builder
	for _, s := range applied {
		fmt.Fprintf(&b, "schema %s: applied %s\n", a.schema, s.Name)
	}
	if complete && len(applied) == 0 {
		fmt.Fprintf(&b, "schema %s: up to date\n", a.schema)
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}
