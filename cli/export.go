package cli

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/transfer"
)

// stdio is the name of a file that stands for standard input or output.
const stdio = "-"

var errStreamAndCategory = errors.New("--stream and --category: want one of them")

// exportRecord is the JSON form of what export wrote to a file.
type exportRecord struct {
	File         string         `json:"file"`
	Events       int64          `json:"events"`
	LastPosition event.Position `json:"last_position"`
	Head         event.Position `json:"head"`
	Bytes        int64          `json:"bytes"`
	SHA256       string         `json:"sha256"`
}

var exportHeader = []string{"EVENTS", "LAST POSITION", "HEAD", "BYTES", "SHA256", "FILE"}

func (r exportRecord) cells(int) []string {
	return []string{number(r.Events), number(r.LastPosition), number(r.Head), number(r.Bytes), r.SHA256, r.File}
}

func (a *app) exportCommand() *cobra.Command {
	after, to := &numberFlag{most: maxPosition}, &numberFlag{least: 1, most: maxPosition}
	categories, names := &namesFlag{check: event.ValidateCategory}, &namesFlag{check: event.ValidateName}
	var stream streamFlag
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the events of the log to a file",
		Long: `Write the events of the log, as lines of JSON that annals import reads, up to the newest event that there
is when it begins, and nothing that is not final.

Without FILE, or with "-", the lines go to standard output. A FILE appears when it is complete, and must not
exist before; a name that ends in .gz is compressed.

--after and --to select by position: what was exported before, and then the rest with --after and the head that
was printed, are imported one after the other, the second with --continue. A file with --name has holes in its
streams, so it is for reading and cannot be imported.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs(1, "at most one FILE, such as events.ndjson.gz")(cmd, args)
			}
			return nil
		},
		SilenceUsage: true,
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			opts := []transfer.WriteOption{
				transfer.WithSelection(event.Position(after.value), categories.names, names.names),
				transfer.WithPageTimeout(time.Duration(a.timeout)),
			}
			if to.value > 0 {
				opts = append(opts, transfer.WithLast(event.Position(to.value)))
			}
			if stream.Stream != (event.Stream{}) {
				if len(categories.names) > 0 {
					return usage(errStreamAndCategory)
				}
				opts = append(opts, transfer.WithOneStream(stream.Stream))
			}
			path := stdio
			if len(args) == 1 {
				path = args[0]
			}
			return a.export(ctx, cmd, path, opts)
		}),
	}
	cmd.Flags().Var(after, "after", "write the events after this position")
	cmd.Flags().Var(to, "to", "write the events up to this position (default: the newest)")
	cmd.Flags().Var(categories, "category", "write the events of these categories of streams")
	cmd.Flags().Var(names, "name", "write the events with these names")
	cmd.Flags().Var(&stream, "stream", "write the events of this stream")
	return cmd
}

func (a *app) export(ctx context.Context, cmd *cobra.Command, path string, opts []transfer.WriteOption) error {
	opening, cancel := context.WithTimeout(ctx, time.Duration(a.timeout))
	defer cancel()
	db, done, err := a.store(opening)
	if err != nil {
		return a.explain(opening, err)
	}
	defer done()
	p := a.progress(cmd, "export", "positions")
	defer p.end()
	opts = append(opts, transfer.WithWriteProgress(func(s transfer.Summary) { p.at(int64(s.Read), int64(s.Head)) }))
	if path == stdio {
		_, err := db.Export(ctx, cmd.OutOrStdout(), opts...)
		return err
	}
	var s transfer.Summary
	err = createFile(path, func(w io.Writer) error {
		s, err = db.Export(ctx, w, opts...)
		return err
	})
	p.end()
	if err != nil {
		return err
	}
	out := a.printer(cmd, exportHeader...)
	if err := out.print(exportRecord{path, s.Events, s.LastPosition, s.Head, s.Bytes, hex.EncodeToString(s.SHA256[:])}); err != nil {
		return err
	}
	return out.flush()
}

// createFile writes beside the file and renames when everything is on the disk,
// so the file is whole or not there.
func createFile(path string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("create file %s: it exists, remove it or take another name", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".annals-export-*")
	if err != nil {
		return fmt.Errorf("create file %s: %w", path, pathCause(err))
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	b := bufio.NewWriterSize(f, 256<<10)
	if !strings.HasSuffix(strings.ToLower(path), ".gz") {
		err = write(b)
	} else {
		z := gzip.NewWriter(b)
		if err = write(z); err == nil {
			err = z.Close()
		}
	}
	if err != nil {
		return err
	}
	for _, step := range []func() error{b.Flush, f.Sync, f.Close} {
		if err := step(); err != nil {
			return fmt.Errorf("create file %s: %w", path, pathCause(err))
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("create file %s: %w", path, pathCause(err))
	}
	return nil
}

// pathCause drops the paths from an error, which the caller names.
func pathCause(err error) error {
	var path *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
