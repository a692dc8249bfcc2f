package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/transfer"
)

// importRecord is the JSON form of what import found and did. With --check only
// what it found is there.
type importRecord struct {
	File    string `json:"file"`
	SHA256  string `json:"sha256"`
	Store   string `json:"store,omitempty"`
	Events  int64  `json:"events"`
	Streams int64  `json:"streams"`
	Bytes   int64  `json:"bytes"`
	Stored  *int64 `json:"stored,omitempty"`
	Skipped *int64 `json:"skipped,omitempty"`
	Before  *int64 `json:"before,omitempty"`
}

var (
	checkHeader  = []string{"EVENTS", "STREAMS", "BYTES", "SHA256", "FILE"}
	importHeader = []string{"EVENTS", "STREAMS", "STORED", "SKIPPED", "BEFORE", "SHA256", "FILE"}
)

func (r importRecord) cells(int) []string {
	if r.Stored == nil {
		return []string{number(r.Events), number(r.Streams), number(r.Bytes), r.SHA256, r.File}
	}
	return []string{number(r.Events), number(r.Streams), number(*r.Stored), number(*r.Skipped), number(*r.Before), r.SHA256, r.File}
}

// importFlags are those of import.
type importFlags struct {
	check, proceed, skip bool
	times                choiceFlag
	most                 *numberFlag
}

func (a *app) importCommand() *cobra.Command {
	f := importFlags{
		times: choiceFlag{value: "keep", choices: []string{"keep", "new"}},
		most:  &numberFlag{value: transfer.DefaultMaxBytes, least: 1, most: math.MaxInt64},
	}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Store the events of a file that export has written",
		Long: `Store the events of a file that annals export has written, behind the newest event of the log. FILE is plain
or gzip; "-" is standard input, which is copied to a temporary file first.

The whole file is checked before anything is stored, and refused as a whole, with the line and the reason.
Then the events are stored in chunks of up to 10,000. An import that was interrupted in any way goes on behind its
last chunk when it is given the same file again, and does nothing when all of it is in.

Streams that exist are refused, unless --continue lets the file go on where they end, or --skip-stored passes
over events that are there with the same id and content. Do not append to the file's streams meanwhile.

--times keep takes the recorded times of the file, which must not go back behind those of the store; new takes
the time of the import, for a store that is in use.`,
		Args:         exactArgs(1, "one FILE, such as events.ndjson.gz, or - for standard input"),
		SilenceUsage: true,
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.importFile(ctx, cmd, args[0], f)
		}),
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "only check the file, touch no database")
	cmd.Flags().BoolVar(&f.proceed, "continue", false, "let streams of the file go on where those of the store end")
	cmd.Flags().BoolVar(&f.skip, "skip-stored", false, "pass over events that the store has, with the same id and content; implies --continue")
	cmd.Flags().Var(&f.times, "times", "recorded times: those of the file (keep), or that of the import (new)")
	cmd.Flags().Var(f.most, "max-bytes", "largest file, decompressed")
	_ = cmd.RegisterFlagCompletionFunc("times", cobra.FixedCompletions(f.times.choices, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return cmd
}

func (a *app) importFile(ctx context.Context, cmd *cobra.Command, path string, f importFlags) error {
	source := transfer.File(path)
	if path == stdio {
		spool, remove, err := spoolInput(ctx, cmd.InOrStdin(), f.most.value)
		if err != nil {
			return err
		}
		defer remove()
		source = transfer.File(spool)
	}
	p := a.progress(cmd, "check", "events")
	defer p.end()
	file, err := transfer.Check(ctx, source, transfer.WithMaxBytes(f.most.value),
		transfer.WithCheckProgress(func(at transfer.Progress) { p.at(at.Events, 0) }))
	p.end()
	if err != nil {
		return err
	}
	r := importRecord{
		File: path, SHA256: hex.EncodeToString(file.SHA256[:]), Store: file.Header.Store, Events: file.Events, Streams: file.Streams, Bytes: file.Bytes,
	}
	header := checkHeader
	if !f.check {
		res, err := a.importChecked(ctx, cmd, file, f)
		if err != nil {
			return err
		}
		header = importHeader
		r.Stored, r.Skipped, r.Before = &res.Stored, &res.Skipped, &res.Before
		if res.Before == res.Total && res.Total > 0 && a.output.value != "json" {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "the file was imported before, nothing was done")
		}
	}
	out := a.printer(cmd, header...)
	if err := out.print(r); err != nil {
		return err
	}
	return out.flush()
}

func (a *app) importChecked(ctx context.Context, cmd *cobra.Command, file *transfer.Checked, f importFlags) (postgres.ImportResult, error) {
	opening, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	db, done, err := a.store(opening)
	if err != nil {
		return postgres.ImportResult{}, a.explain(opening, err)
	}
	defer done()
	p := a.progress(cmd, "import", "events")
	defer p.end()
	opts := []postgres.ImportOption{
		postgres.WithChunkTimeout(time.Duration(a.timeout)),
		postgres.WithImportProgress(func(at postgres.ImportProgress) { p.at(at.Events, at.Total) }),
	}
	if f.proceed {
		opts = append(opts, postgres.WithContinuedStreams())
	}
	if f.skip {
		opts = append(opts, postgres.WithSkippedStored())
	}
	if f.times.value == "new" {
		opts = append(opts, postgres.WithNewTimes())
	}
	return db.Import(ctx, file, opts...)
}

// spoolInput copies the input to a temporary file, because it is read more than
// once. It ends with ctx at the next piece that arrives.
func spoolInput(ctx context.Context, in io.Reader, most int64) (path string, remove func(), err error) {
	f, err := os.CreateTemp("", "annals-import-*")
	if err != nil {
		return "", nil, fmt.Errorf("copy standard input: %w", pathCause(err))
	}
	remove = func() { _ = os.Remove(f.Name()) }
	n, err := io.Copy(f, bufio.NewReader(io.LimitReader(&untilDone{ctx, in}, most+1)))
	if err == nil && n > most {
		err = fmt.Errorf("it is larger than --max-bytes %d", most)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("copy standard input: %w", err)
	}
	return f.Name(), remove, nil
}

// untilDone reads until a context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
