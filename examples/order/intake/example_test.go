package intake_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/annals-go/annals/examples/order/intake"
)

func Example() {
	dir, err := os.MkdirTemp("", "intake")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "orders.csv")
	err = os.WriteFile(path, []byte(`InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
700001,T-10,"Tin, round",6,2010-12-01 08:26:00,2.55,20001.0,Malta
C700002,T-10,"Tin, round",-1,2010-12-01 09:00:00,2.55,20001.0,Malta
700001,POST,,six,2010-12-01 08:26:00,18.00,20001.0,Malta
700001,POST,,1,2010-12-01 08:26:00,18.00,20001.0,Malta
`), 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	plan, err := intake.Validate(ctx, path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.LineCount, "lines,", plan.InvoiceCount, "invoices")
	reject := func(r intake.Rejection) { fmt.Printf("line %d: %s\n", r.Line, r.Reason) }
	for invoice, err := range plan.Invoices(ctx, reject) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(invoice.Kind, invoice.Number, "of", invoice.Customer, "with", len(invoice.Lines), "lines")
	}
	// Output:
	// 4 lines, 2 invoices
	// return C700002 of 20001 with 1 lines
	// line 4: Quantity "six" is no integer
	// order 700001 of 20001 with 2 lines
}
