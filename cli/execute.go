package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes of Execute.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	// exitAttention: the command has done its work, and somebody has to look.
	exitAttention = 3
)

// Execute runs the root of cmd with the arguments of the process, or those that
// cmd.SetArgs was given, prints an error as one line, "annals: verb thing:
// cause", and returns the exit code. It returns soon after ctx has ended.
func Execute(ctx context.Context, cmd *cobra.Command) int {
	root := cmd.Root()
	root.SilenceErrors = true
	err := root.ExecuteContext(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(root.ErrOrStderr(), "%s: %s\n", root.Name(), clean(err.Error()))
	}
	return ExitCode(err)
}

// ExitCode returns the exit code for an error that a command returned: 0 for
// nil, 2 for a wrong use, 3 for a status that somebody has to look at, else 1. It is for services that do not use Execute.
func ExitCode(err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong), strings.HasPrefix(err.Error(), "unknown command "): // the second is cobra's own, and has no type
		return exitUsage
	case errors.As(err, new(*attentionError)):
		return exitAttention
	default:
		return exitError
	}
}
