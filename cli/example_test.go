package cli_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/annals-go/annals/cli"
)

// A service adds the commands to its own binary: shop annals stream ls.
func Example() {
	openPool := func(ctx context.Context) (*pgxpool.Pool, error) {
		return pgxpool.New(ctx, os.Getenv("SHOP_DATABASE"))
	}
	root := &cobra.Command{Use: "shop"}
	root.AddCommand(cli.New(cli.WithPool(openPool), cli.WithSchema("orders"), cli.WithVersion("v1.4.0")))
	root.SetErr(os.Stdout)

	root.SetArgs([]string{"annals", "stream", "show"})
	fmt.Println("exit code", cli.Execute(context.Background(), root))
	// Output:
	// shop: annals stream show: arguments: got 0, want one STREAM, such as order-o-1
	// exit code 2
}
