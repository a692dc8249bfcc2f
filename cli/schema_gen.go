package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/codec/avro/avrogen"
)

func (a *app) schemaGen() *cobra.Command {
	var pkg, out string
	cmd := &cobra.Command{
		Use:   "gen FILE...",
		Short: "Make Go types of Avro schemas",
		Long: `Make Go types of Avro schemas: one Go file with the types of all the schemas given. A file may use types that
another one defines. Nothing is written if anything is wrong.

  annals schema gen --package order --out order/schema.gen.go order/schemas/*.avsc

Give the format of the codec the same files (avro.WithSchemas), and the types of events the marker of the sealed
interface, in a file of your own:

  func (Placed) isOrder() {}`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactArgs(1, "at least one FILE, such as order.placed.v1.avsc")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"avsc"}, cobra.ShellCompDirectiveFilterFileExt
		},
		SilenceUsage: true,
		RunE: a.run(func(_ context.Context, cmd *cobra.Command, args []string) error {
			var files []avrogen.File
			for _, name := range args {
				text, err := os.ReadFile(name) //nolint:gosec // the user names the file
				if err != nil {
					return fmt.Errorf("generate types: %w", err)
				}
				files = append(files, avrogen.File{Name: filepath.Base(name), Text: text})
			}
			source, err := avrogen.Generate(pkg, files...)
			if err != nil {
				return err
			}
			if out == "" || out == stdio {
				_, err := cmd.OutOrStdout().Write(source)
				return err
			}
			if err := os.WriteFile(out, source, 0o644); err != nil { //nolint:gosec // source code
				return fmt.Errorf("generate types: %w", err)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&pkg, "package", "event", "name of the package")
	cmd.Flags().StringVar(&out, "out", "", "file to write, which is replaced (default: standard output)")
	return cmd
}
