package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const modulePath = "github.com/annals-go/annals"

type versionRecord struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "version",
		Short:        "Print the version; needs no database",
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.run(func(_ context.Context, cmd *cobra.Command, _ []string) error {
			r := versionRecord{Version: a.version, Go: runtime.Version()}
			if r.Version == "" {
				info, _ := debug.ReadBuildInfo()
				r.Version = moduleVersion(info)
			}
			if a.output.value == "json" {
				p := a.printer(cmd)
				if err := p.object(r); err != nil {
					return err
				}
				return p.flush()
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s, built with %s\n", cmd.Root().Name(), r.Version, r.Go)
			return err
		}),
	}
}

// moduleVersion finds annals in the binary: as its main module, or as a
// dependency of the service that it is embedded in.
func moduleVersion(info *debug.BuildInfo) string {
	const unknown = "(unknown)"
	if info == nil {
		return unknown
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == modulePath && m.Version != "" {
			return m.Version
		}
	}
	return unknown
}
