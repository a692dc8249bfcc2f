package intake_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/annals-go/annals/examples/order/intake"
)

func FuzzValidate(f *testing.F) {
	f.Add([]byte(header+row("1")+row("A2")+row("1")), false)
	f.Add([]byte(row("1")+"\r\n\"2\",\"a\nb\"\n3,\n"), true)
	f.Add([]byte(zipped(f, header+row("1"))), false)
	f.Add([]byte("\"open\n"), true)
	f.Add([]byte("\ufeff"), false)
	f.Fuzz(func(t *testing.T, content []byte, withHeader bool) {
		if withHeader {
			content = append([]byte(header), content...)
		}
		path := file(t, "orders", string(content))
		plan, err := intake.Validate(t.Context(), path)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "read "+path+": ") {
				t.Fatalf("error does not name the file: %v", err)
			}
			return
		}
		invoices, rejections := collect(t, plan)
		accepted, numbers := 0, map[string]bool{}
		for _, invoice := range invoices {
			accepted += len(invoice.Lines)
			numbers[invoice.Number] = true
		}
		if accepted+len(rejections) != plan.LineCount || len(rejections) != plan.RejectCount {
			t.Fatalf("%d accepted and %d rejected of %d lines with %d to reject",
				accepted, len(rejections), plan.LineCount, plan.RejectCount)
		}
		if len(numbers) != len(invoices) || len(invoices) != plan.InvoiceCount {
			t.Fatalf("%d invoices with %d numbers, want %d", len(invoices), len(numbers), plan.InvoiceCount)
		}
		if bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
			return
		}
		all := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
		all.FieldsPerRecord = -1
		records, err := all.ReadAll()
		if err != nil || len(records)-1 != plan.LineCount {
			t.Fatalf("%d lines, encoding/csv has %d and %v", plan.LineCount, len(records)-1, err)
		}
	})
}
