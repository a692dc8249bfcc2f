// Command annals migrates and inspects an Annals event store. Run annals --help;
// package cli says what the commands promise.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/annals-go/annals/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.Execute(ctx, cli.New()))
}
