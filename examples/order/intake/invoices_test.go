package intake_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/intake"
	"github.com/annals-go/annals/examples/order/retail"
)

func TestInvoicesGathersScatteredLines(t *testing.T) {
	t.Parallel()
	plan := validate(t, file(t, "a.csv", header+
		"1,A,first,1,2010-12-31 23:59:59,0.425,,France\n"+
		"2,P,other,2,2011-01-01 00:00:00,1,9,Malta\n"+
		"C3,,,-1,2011-01-01 00:00:01,-2.5,,\n"+
		"1,B,second,-3,2011-01-01 00:00:02,0,17850.0,Malta\n"+
		"1,C,bad,x,2011-01-01 00:00:02,0,1,Malta\n"+
		"1,D,third,4,2010-12-01 08:26:00,2,12,Malta\n"))
	invoices, rejections := collect(t, plan)
	want := []retail.Invoice{
		{Number: "2", Kind: retail.Order, Customer: "9", Lines: []retail.Line{
			{Code: "P", Description: "other", Quantity: 2, Price: 1000, At: date(t, "2011-01-01 00:00:00"), Country: "Malta"},
		}, Rows: []int{3}},
		{Number: "C3", Kind: retail.Return, Lines: []retail.Line{
			{Quantity: -1, Price: -2500, At: date(t, "2011-01-01 00:00:01")},
		}, Rows: []int{4}},
		{Number: "1", Kind: retail.Order, Customer: "17850", Lines: []retail.Line{
			{Code: "A", Description: "first", Quantity: 1, Price: 425, At: date(t, "2010-12-31 23:59:59"), Country: "France"},
			{Code: "B", Description: "second", Quantity: -3, At: date(t, "2011-01-01 00:00:02"), Country: "Malta"},
			{Code: "D", Description: "third", Quantity: 4, Price: 2000, At: date(t, "2010-12-01 08:26:00"), Country: "Malta"},
		}, Rows: []int{2, 5, 7}},
	}
	if diff := cmp.Diff(want, invoices); diff != "" {
		t.Errorf("invoices (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]intake.Rejection{{Line: 6, Invoice: "1", Reason: `Quantity "x" is no integer`}}, rejections); diff != "" {
		t.Errorf("rejections (-want +got):\n%s", diff)
	}
}

func TestInvoicesKeepsTexts(t *testing.T) {
	t.Parallel()
	plan := validate(t, file(t, "a.csv", header+
		" 7 ,\" gift_0001_20 \",\" Tin, \"\"red\"\" \xe9\x00\nand caf\u00e9\t\", +6 , 2010-12-01 08:26:00 , 2.5500 , 17850.00 , Malta \n"))
	invoices, _ := collect(t, plan)
	want := []retail.Invoice{{Number: "7", Kind: retail.Order, Customer: "17850.00", Lines: []retail.Line{{
		Code:        " gift_0001_20 ",
		Description: " Tin, \"red\" \ufffd\ufffd\ufffdand caf\u00e9\ufffd",
		Quantity:    6,
		Price:       2550,
		At:          date(t, "2010-12-01 08:26:00"),
		Country:     "Malta",
	}}, Rows: []int{2}}}
	if diff := cmp.Diff(want, invoices); diff != "" {
		t.Errorf("invoices (-want +got):\n%s", diff)
	}
}

func TestInvoicesSpellsCustomers(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"17850.0": "17850", " 17850.0 ": "17850", "0.0": "0", "17850": "17850", "17850.00": "17850.00",
		".0": ".0", "-1.0": "-1.0", "1.0.0": "1.0.0", "X.0": "X.0", "": "", "  ": "",
	} {
		plan := validate(t, file(t, "a.csv", header+"1,,,1,2010-12-01 08:26:00,1,"+cell+",\n"))
		invoices, _ := collect(t, plan)
		if len(invoices) != 1 || invoices[0].Customer != want {
			t.Errorf("customer %q: got %v, want %q", cell, invoices, want)
		}
	}
}

func TestInvoicesRejectsBadLines(t *testing.T) {
	t.Parallel()
	const rest = ",P,,1,2010-12-01 08:26:00,1,,Malta"
	long := strings.Repeat("9", 65)
	for line, want := range map[string]intake.Rejection{
		"5,P,,1,2010-12-01 08:26:00,1,":    {Invoice: "5", Reason: "has 7 columns, want 8"},
		"5" + rest + ",":                   {Invoice: "5", Reason: "has 9 columns, want 8"},
		"total":                            {Invoice: "total", Reason: "has 1 columns, want 8"},
		"A563185" + rest:                   {Invoice: "A563185", Reason: `InvoiceNo "A563185" is neither an order nor a return`},
		"C" + rest:                         {Invoice: "C", Reason: `InvoiceNo "C" is neither an order nor a return`},
		" " + rest:                         {Reason: "InvoiceNo is empty"},
		long + rest:                        {Invoice: long[:64] + "...", Reason: "InvoiceNo has 65 bytes, want at most 64"},
		"C5 3" + rest:                      {Invoice: "C5 3", Reason: `InvoiceNo "C5 3" has a space or a character that does not print`},
		"C5\x00" + rest:                    {Invoice: "C5\x00", Reason: `InvoiceNo "C5\x00" has a space or a character that does not print`},
		"C5\xff" + rest:                    {Invoice: "C5\xff", Reason: `InvoiceNo "C5\xff" has a space or a character that does not print`},
		"C5\u200b" + rest:                  {Invoice: "C5\u200b", Reason: `InvoiceNo "C5\u200b" has a space or a character that does not print`},
		"5,P,,6.0,2010-12-01 08:26:00,1,,": {Invoice: "5", Reason: `Quantity "6.0" is no integer`},
		"5,P,,,2010-12-01 08:26:00,1,,":    {Invoice: "5", Reason: `Quantity "" is no integer`},
		"5,P,,1000000001,2010-12-01 08:26:00,1,,":                  {Invoice: "5", Reason: `Quantity "1000000001" is out of range, want at most 1000000000 either way`},
		"5,P,,-99999999999999999999,2010-12-01 08:26:00,1,,":       {Invoice: "5", Reason: `Quantity "-99999999999999999999" is out of range, want at most 1000000000 either way`},
		"5,P,,1,2010-02-30 08:26:00,1,,":                           {Invoice: "5", Reason: `InvoiceDate "2010-02-30 08:26:00" is no date like 2006-01-02 15:04:05`},
		"5,P,,1,2010-12-01 8:26:00,1,,":                            {Invoice: "5", Reason: `InvoiceDate "2010-12-01 8:26:00" is no date like 2006-01-02 15:04:05`},
		"5,P,,1,2010-12-01 08:26:00.5,1,,":                         {Invoice: "5", Reason: `InvoiceDate "2010-12-01 08:26:00.5" is no date like 2006-01-02 15:04:05`},
		"5,P,,1,0000-12-01 08:26:00,1,,":                           {Invoice: "5", Reason: `InvoiceDate "0000-12-01 08:26:00" is no date like 2006-01-02 15:04:05`},
		"5,P,,1,2010-12-01T08:26:00Z,1,,":                          {Invoice: "5", Reason: `InvoiceDate "2010-12-01T08:26:00Z" is no date like 2006-01-02 15:04:05`},
		"5,P,,1,2010-12-01 08:26:00,1e3,,":                         {Invoice: "5", Reason: `UnitPrice: parse amount "1e3": want a number such as 2.55`},
		"5,P,,1,2010-12-01 08:26:00,0.0001,,":                      {Invoice: "5", Reason: `UnitPrice: parse amount "0.0001": has more than 3 decimals`},
		"5,P," + strings.Repeat("d", 4097) + ",1,,1,,":             {Invoice: "5", Reason: "Description has 4097 bytes, want at most 4096"},
		"5," + strings.Repeat("d", 5000) + ",,1,,1,,":              {Invoice: "5", Reason: "StockCode has 5000 bytes, want at most 4096"},
		"5,P,,1,,1," + strings.Repeat("d", 5000) + ",":             {Invoice: "5", Reason: "CustomerID has 5000 bytes, want at most 4096"},
		"5,P,,1,,1,," + strings.Repeat("d", 5000):                  {Invoice: "5", Reason: "Country has 5000 bytes, want at most 4096"},
		"5,P,," + strings.Repeat("\u00e9", 30) + ",2010-12-01,1,,": {Invoice: "5", Reason: `Quantity "` + strings.Repeat("\u00e9", 20) + `..." is no integer`},
	} {
		plan := validate(t, file(t, "a.csv", header+row("5")+line+"\n"+row("6")))
		invoices, rejections := collect(t, plan)
		want.Line = 3
		if diff := cmp.Diff([]intake.Rejection{want}, rejections); diff != "" {
			t.Errorf("line %q (-want +got):\n%s", line, diff)
		}
		if len(invoices) != 2 || len(invoices[0].Lines) != 1 || len(invoices[1].Lines) != 1 {
			t.Errorf("line %q: its neighbours became %v", line, invoices)
		}
	}
}

func TestInvoicesNumbersPhysicalLines(t *testing.T) {
	t.Parallel()
	plan := validate(t, file(t, "a.csv", "\ufeff"+header+
		"1,P,\"two\r\nlines\",1,2010-12-01 08:26:00,1,,\r\n"+ // 2 and 3
		"\r\n"+
		"A1,\"three\n\nlines\",\n"+ // 5 to 7
		"A2\n"+ // 8
		"1,P,,1,2010-12-01 08:26:00,1,,\"two\nlines\"\n"+ // 9 and 10
		"A3")) // 11
	_, rejections := collect(t, plan)
	var lines []int
	for _, r := range rejections {
		lines = append(lines, r.Line)
	}
	if diff := cmp.Diff([]int{5, 8, 11}, lines); diff != "" {
		t.Errorf("lines of the rejections (-want +got):\n%s", diff)
	}
}

func TestInvoicesIsYieldedBeforeTheFileEnds(t *testing.T) {
	t.Parallel()
	plan := validate(t, file(t, "a.csv", header+row("1")+row("2")+row("A3")))
	for invoice, err := range plan.Invoices(t.Context(), func(r intake.Rejection) { t.Errorf("read on to %v", r) }) {
		if err != nil || invoice.Number != "1" {
			t.Fatalf("got %v, %v, want invoice 1", invoice, err)
		}
		break
	}
	if invoices, _ := collect(t, plan); len(invoices) != 2 {
		t.Errorf("a plan that was used gives %d invoices, want 2", len(invoices))
	}
	for _, err := range plan.Invoices(t.Context(), nil) {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestInvoicesEndsWithContext(t *testing.T) {
	t.Parallel()
	path := file(t, "a.csv", header+row("1")+row("2"))
	plan := validate(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range plan.Invoices(ctx, nil) {
		last = err
		cancel()
	}
	wantError(t, last, path, "read FILE: context canceled")
}

func TestInvoicesNoticesChangedFile(t *testing.T) {
	t.Parallel()
	content := header + row("1") + row("2")
	for name, tt := range map[string]struct {
		content string
		hidden  bool // size and time stay
		yielded int
		want    string
	}{
		"longer":          {content + row("3"), false, 0, "read FILE: file changed since it was validated"},
		"same size":       {header + row("1") + row("4"), false, 0, "read FILE: file changed since it was validated"},
		"hidden":          {strings.ReplaceAll(content, "Tin", "Jug"), true, 2, "read FILE: file changed since it was validated"},
		"hidden, unknown": {header + row("1") + row("4"), true, 1, "read FILE: line 3: file changed since it was validated"},
		"hidden, again":   {header + row("1") + row("1"), true, 1, "read FILE: line 3: file changed since it was validated"},
		"hidden, missing": {header + row("1") + row("A")[1:] + "\n", true, 1, "read FILE: file changed since it was validated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "a.csv", content)
			modified := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			if err := os.Chtimes(path, modified, modified); err != nil {
				t.Fatal(err)
			}
			plan := validate(t, path)
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.hidden {
				if err := os.Chtimes(path, modified, modified); err != nil {
					t.Fatal(err)
				}
			}
			yielded := 0
			var last error
			for _, err := range plan.Invoices(t.Context(), nil) {
				if last = err; err == nil {
					yielded++
				}
			}
			wantError(t, last, path, tt.want)
			if !errors.Is(last, intake.ErrChanged) {
				t.Errorf("error is not ErrChanged: %v", last)
			}
			if yielded != tt.yielded {
				t.Errorf("yielded %d invoices before the error, want %d", yielded, tt.yielded)
			}
		})
	}
}

func TestInvoicesNoticesChangeWhileReading(t *testing.T) {
	t.Parallel()
	path := file(t, "a.csv", header+row("1"))
	plan := validate(t, path)
	var last error
	for _, err := range plan.Invoices(t.Context(), nil) {
		if last = err; err == nil {
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantError(t, last, path, "read FILE: file changed since it was validated")
}
