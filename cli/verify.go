package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

func (a *app) verify() *cobra.Command {
	var elsewhere string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole store and look for damage",
		Long: `Read the whole store and look for damage: events that are not what was appended, streams with gaps, a log
that is not what its readers were given. Appends go on meanwhile, and nothing is changed. The exit code is 1
if anything is found.

It reads every event, about 100,000 a second, so it has no time limit unless --timeout is given.

--elsewhere is a second database with checkpoints of readers of this log, in the same --schema.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.patient(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return a.verifyStore(ctx, cmd, elsewhere)
		}),
	}
	cmd.Flags().StringVar(&elsewhere, "elsewhere", "", "connection string of a database that keeps checkpoints of readers of this log")
	return cmd
}

// patient is limited for commands that read everything: they have a time limit
// only if one is given.
func (a *app) patient(fn func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	limited, unlimited := a.limited(fn), a.run(fn)
	return func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("timeout") {
			return limited(cmd, args)
		}
		return unlimited(cmd, args)
	}
}

// damageRecord is one finding of verify.
type damageRecord struct {
	Fault    string `json:"fault"`
	Stream   string `json:"stream,omitempty"`
	Version  int64  `json:"version,omitempty"`
	Position int64  `json:"position,omitempty"`
	Reader   string `json:"reader,omitempty"`
	Text     string `json:"text"`
}

func newDamageRecord(f postgres.Finding) damageRecord {
	r := damageRecord{Fault: string(f.Fault), Version: int64(f.Version), Position: int64(f.Position), Reader: f.Name, Text: f.Text}
	if f.Stream.Category != "" {
		r.Stream = f.Stream.String()
	}
	return r
}

func (r damageRecord) cells(int) []string {
	number := func(n int64) string {
		if n == 0 {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	what := r.Stream
	if what == "" {
		what = r.Reader
	}
	return []string{r.Fault, what, number(r.Version), number(r.Position), r.Text}
}

// maxFindings is how many findings are shown: of a table that is broken all over
// the rest says nothing more.
const maxFindings = 1000

func (a *app) verifyStore(ctx context.Context, cmd *cobra.Command, elsewhere string) error {
	opening, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	db, done, err := a.store(opening)
	if err != nil {
		return a.explain(opening, err)
	}
	defer done()
	v := postgres.Verification{Snapshot: a.verifySnapshot}
	if elsewhere != "" {
		keeper, done, err := a.keeper(opening, elsewhere)
		if err != nil {
			return a.explain(opening, err)
		}
		defer done()
		v.Elsewhere = []*postgres.DB{keeper}
	}
	p := a.printer(cmd, "FAULT", "STREAM OR READER", "VERSION", "POSITION", "WHAT")
	shown := 0
	var printing error
	v.Found = func(f postgres.Finding) {
		if shown++; shown <= maxFindings && printing == nil {
			printing = p.print(newDamageRecord(f))
		}
	}
	told, err := db.Verify(ctx, v)
	if err == nil {
		err = printing
	}
	if err == nil && shown > 0 {
		err = p.flush()
	}
	if err != nil {
		return err
	}
	if told.Findings > maxFindings {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d findings are not shown\n", told.Findings-maxFindings)
	}
	summary := fmt.Sprintf("%s of %s up to position %d, %s", counted(told.Events, "event"), counted(told.Streams, "stream"), told.UpTo, counted(told.Checkpoints, "checkpoint"))
	if told.Snapshots > 0 {
		summary += ", " + counted(told.Snapshots, "snapshot")
	}
	if told.Findings == 0 {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "verified %s: all as it should be\n", summary)
		return err
	}
	return fmt.Errorf("verify: %s in %s", counted(told.Findings, "finding"), summary)
}

// verifySnapshot leaves snapshots of categories that nobody has named to their
// checksums.
func (a *app) verifySnapshot(ctx context.Context, s event.Stream) error {
	verify, ok := a.snapshots[s.Category]
	if !ok {
		return nil
	}
	_, err := verify(ctx, s.ID)
	return err
}

// counted is a number with its noun.
func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// keeper opens a second database: one that has checkpoints only.
func (a *app) keeper(ctx context.Context, url string) (*postgres.DB, func(), error) {
	pool, done, err := a.openURL(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	a.keepPassword(pool.Config())
	db := postgres.New(pool, postgres.WithSchema(string(a.schema)))
	if err := db.Check(ctx); err != nil {
		done()
		return nil, nil, fmt.Errorf("--elsewhere: %w", err)
	}
	return db, done, nil
}
