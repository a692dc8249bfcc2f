// Command order is the main job of Annals, end to end: it imports a retailer's
// order lines as commands on orders and returns, whose events go through the
// store, the relay, Kafka and a projection into a read model and a report.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := command().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case interrupted:
		fmt.Fprintln(os.Stderr, "order: interrupted; run it again to go on")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "order:", oneLine(err))
		os.Exit(1)
	}
}

// oneLine joins the lines of an error: pgx lists every address it has tried.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "order",
		Short:         "The order example of Annals",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var job importJob
	cmd := &cobra.Command{
		Use:   "import --input FILE.csv[.gz]",
		Short: "Import order lines, project them and write a report",
		Long: `Import reads order lines (InvoiceNo, StockCode, Description, Quantity,
InvoiceDate, UnitPrice, CustomerID, Country), places an order or accepts a
return for each invoice, and writes a report by month and country.

It uses the Postgres that DATABASE_URL names and the brokers that
KAFKA_BROKERS lists. Without them it starts throw-away ones that leave
nothing behind. Importing the same file again adds nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if job.input == "" {
				return errors.New("import: --input is missing: name a file of order lines, such as examples/order/testdata/orders.csv.gz")
			}
			job.out, job.progressTo = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return job.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&job.input, "input", "", "file of order lines, CSV or gzipped CSV")
	cmd.Flags().StringVar(&job.report, "report", "report.csv", "where to write the report")
	cmd.Flags().StringVar(&job.rejected, "rejected", "rejected.csv", "where to write lines that can be neither order nor return")
	cmd.Flags().BoolVar(&job.verify, "verify", false, "rebuild the read model from the log and compare it with the live one")
	cmd.Flags().IntVar(&job.writers, "writers", 8, "how many invoices are imported at once, 1 to 64")
	root.AddCommand(cmd)
	return root
}
