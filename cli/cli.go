package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
)

// Option changes the command that New returns.
type Option func(*app)

// WithPool makes the commands use the pool that open returns, in place of
// --database-url, which they then do not have. It is called once by a command
// that needs the database, and by no other. The pool stays the caller's: the
// command does not close it.
func WithPool(open func(ctx context.Context) (*pgxpool.Pool, error)) Option {
	return func(a *app) { a.open = open }
}

// WithSchema sets the default of --schema: lower-case letters, digits and
// underscores, at most 40. Default "annals". New panics on any other.
func WithSchema(name string) Option {
	return func(a *app) { a.schema = schemaFlag(name) }
}

// WithVersion sets what the version command prints, for a binary that has a
// version of its own. Default: the version of the module annals in the binary.
func WithVersion(v string) Option {
	return func(a *app) { a.version = v }
}

// WithSnapshots has verify compare the snapshots of a category with the folds of
// their events. It takes the types of the program, so a service gives its own:
//
//	cli.WithSnapshots("order", orders.VerifySnapshot)
//
// Default: of a snapshot only its checksum, and the event that it ends with, are
// compared.
func WithSnapshots(category string, verify func(ctx context.Context, id string) (bool, error)) Option {
	return func(a *app) {
		if a.snapshots == nil {
			a.snapshots = map[string]func(context.Context, string) (bool, error){}
		}
		a.snapshots[category] = verify
	}
}

const defaultTimeout = 30 * time.Second

// app is the state of one command tree: what the options say, then the flags.
type app struct {
	open      func(context.Context) (*pgxpool.Pool, error) // nil: --database-url
	version   string
	lookupEnv func(string) (string, bool)
	width     func(io.Writer) int // columns of a terminal, 0 for anything else

	databaseURL string
	schema      schemaFlag
	output      choiceFlag
	timeout     durationFlag

	snapshots map[string]func(ctx context.Context, id string) (bool, error) // by category

	codecs []Codec

	secrets []string // never to be printed; filled when a pool or registry is opened
}

// New returns the command annals with its subcommands. It does no I/O. Make one
// for each execution: cobra keeps the flags in it. It panics if WithSchema was
// given a name that is none.
func New(opts ...Option) *cobra.Command {
	a := &app{
		lookupEnv: os.LookupEnv,
		width:     terminalWidth,
		schema:    postgres.DefaultSchema,
		output:    choiceFlag{value: "table", choices: []string{"table", "json"}},
		timeout:   durationFlag(defaultTimeout),
	}
	for _, o := range opts {
		o(a)
	}
	if err := new(schemaFlag).Set(string(a.schema)); err != nil {
		panic(fmt.Sprintf("cli: option WithSchema: %q: %v", string(a.schema), err))
	}
	root := a.group("annals", "Migrate and inspect an Annals event store")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	flags := root.PersistentFlags()
	if a.open == nil {
		flags.StringVar(&a.databaseURL, "database-url", "", "connection string of the database (default: the environment variable DATABASE_URL)")
	}
	flags.Var(&a.schema, "schema", "Postgres schema that Annals lives in")
	flags.Var(&a.output, "output", "table or json, one object a line")
	flags.Var(&a.timeout, "timeout", "longest that the command may take; with log --follow, each read; with export and import, each page or chunk; with schema serve, the start; verify, schema check, rewind and relay replay have none unless it is given")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(a.output.choices, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	streams := a.group("stream", "Look at streams")
	streams.AddCommand(a.streamList(), a.streamShow())
	root.AddCommand(a.migrate(), a.roles(), a.doctor(), a.status(), a.parked(), a.relay(), a.rewind(), a.verify(), a.schemas(), streams, a.log(), a.exportCommand(), a.importCommand(), a.versionCommand())
	return root
}

// group returns a command that only has others. With Args and RunE of its own
// an unknown command is a usage error, and not a text of cobra's.
func (a *app) group(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:                        name,
		Short:                      short,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = ", did you mean " + strings.Join(near, " or ")
			}
			return usage(fmt.Errorf("%sunknown command %q%s", within(cmd), args[0], hint))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// run is the RunE of every command: whatever fn does, its error comes out fit
// to be printed.
func (a *app) run(fn func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.report(fn(cmd.Context(), cmd, args))
	}
}

// limited is run under --timeout.
func (a *app) limited(fn func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
		defer cancel()
		return a.explain(ctx, fn(ctx, cmd, args))
	})
}

// exactArgs checks the number of arguments; what names the one that is wanted,
// with an example.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage(fmt.Errorf("%sarguments: got %d, want %s", within(cmd), len(args), what))
		}
		return nil
	}
}

// within names cmd below its root, whose name Execute prints.
func within(cmd *cobra.Command) string {
	_, path, ok := strings.Cut(cmd.CommandPath(), " ")
	if !ok {
		return ""
	}
	return path + ": "
}
