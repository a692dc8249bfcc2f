package intake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/examples/order/intake"
	"github.com/annals-go/annals/examples/order/retail"
)

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// row is a good line of an invoice.
func row(invoice string) string {
	return invoice + ",85123A,Tin,6,2010-12-01 08:26:00,2.55,17850.0,Malta\n"
}

// file writes content under a name of its own directory.
func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func validate(t testing.TB, path string) *intake.Plan {
	t.Helper()
	plan, err := intake.Validate(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// collect reads everything a plan has to give.
func collect(t testing.TB, plan *intake.Plan) ([]retail.Invoice, []intake.Rejection) {
	t.Helper()
	var invoices []retail.Invoice
	var rejections []intake.Rejection
	for invoice, err := range plan.Invoices(context.Background(), func(r intake.Rejection) { rejections = append(rejections, r) }) {
		if err != nil {
			t.Fatal(err)
		}
		invoices = append(invoices, invoice)
	}
	return invoices, rejections
}

// wantError compares an error that names the file with want, in which FILE
// stands for the path.
func wantError(t testing.TB, err error, path, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %s", want)
	}
	if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != want {
		t.Errorf("error:\ngot  %s\nwant %s", got, want)
	}
}

func date(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.DateTime, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
