package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// scriptRecord is the JSON form of a file for another tool. Without text it was
// written to a directory.
type scriptRecord struct {
	File string `json:"file"`
	Text string `json:"text,omitempty"`
}

// migrateRecord is the JSON form of what migrate did. Nothing applied: the
// schema was up to date.
type migrateRecord struct {
	Schema  string       `json:"schema"`
	Applied []stepRecord `json:"applied"`
}

// migrateFlags say whether and how the steps are printed.
type migrateFlags struct {
	print  bool
	format choiceFlag // of print
	dir    string     // where print writes files; empty: to the output
}

func (a *app) migrate() *cobra.Command {
	f := migrateFlags{format: choiceFlag{value: string(postgres.FormatPlain)}}
	for _, format := range postgres.Formats {
		f.format.choices = append(f.format.choices, string(format))
	}
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema up to date",
		Long: `Bring the schema up to date. Each step is one transaction; several migrators at once take turns. It may
run under load: it waits for a lock for a moment only, and tries again for a while. If it gives up it says
which transaction is in the way. Run it again then.

With --print it touches no database and prints the SQL of all steps, to be reviewed, or to be applied by
psql, goose, atlas or flyway, as --format says. With --dir it writes each step into a file of its own there.
What another tool applies is recorded as what annals migrate applies. After it run annals roles, if the
store has roles.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if f.print || f.dir != "" || cmd.Flags().Changed("format") {
				return a.printSteps(cmd, f)
			}
			return a.applySteps(ctx, cmd)
		}),
	}
	cmd.Flags().BoolVar(&f.print, "print", false, "print the SQL of all steps, touch no database")
	cmd.Flags().Var(&f.format, "format", "what the SQL is printed for")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory to write the files to, which exists; implies --print")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(f.format.choices, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return cmd
}

func (a *app) printSteps(cmd *cobra.Command, f migrateFlags) error {
	schema := postgres.WithSchema(string(a.schema))
	files, err := postgres.Scripts(postgres.Format(f.format.value), schema)
	if err != nil {
		return err
	}
	switch {
	case f.dir != "":
		return a.writeScripts(cmd, f.dir, files)
	case a.output.value != "json":
		return printScripts(cmd, f.format.value, files)
	}
	p := a.printer(cmd)
	if f.format.value != string(postgres.FormatPlain) {
		for _, s := range files {
			if err := p.object(scriptRecord{s.Name, s.Text}); err != nil {
				return err
			}
		}
		return p.flush()
	}
	steps, err := postgres.Migrations(schema)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := p.object(stepRecord(s)); err != nil {
			return err
		}
	}
	return p.flush()
}

// printScripts prints the files one after the other: for psql, or to be read.
func printScripts(cmd *cobra.Command, format string, files []postgres.Script) error {
	var b strings.Builder
	for _, s := range files {
		if format != string(postgres.FormatPlain) {
			fmt.Fprintf(&b, "-- file %s\n", s.Name)
		}
		b.WriteString(s.Text + "\n")
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

// writeScripts writes each file that is not there. One that is there with another
// text stays, and is an error: it may have been applied.
func (a *app) writeScripts(cmd *cobra.Command, dir string, files []postgres.Script) error {
	var differ []error
	p := a.printer(cmd, "FILE")
	for _, s := range files {
		name := filepath.Join(dir, s.Name)
		old, err := os.ReadFile(name) //nolint:gosec // the user names the directory
		switch {
		case err == nil && string(old) == s.Text:
			continue
		case err == nil && s.Name != "atlas.sum":
			differ = append(differ, fmt.Errorf("write migrations: %s is there with another text", name))
			continue
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("write migrations: %w", err)
		}
		if err := os.WriteFile(name, []byte(s.Text), 0o644); err != nil { //nolint:gosec // SQL without secrets, for a repository
			return fmt.Errorf("write migrations: %w", err)
		}
		if err := p.print(scriptRecord{File: name}); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	return errors.Join(differ...)
}

func (r scriptRecord) cells(int) []string { return []string{r.File} }

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
