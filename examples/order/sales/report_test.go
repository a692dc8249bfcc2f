package sales_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/examples/order/sales"
)

func TestReport(t *testing.T) {
	t.Parallel()
	s := open(t)
	// Two months and two countries in one order: it counts in each group.
	s.order("1", order.Placed{Lines: []retail.Line{
		line(2, 2550, "2010-12-31 23:59:59", "Malta"),
		line(1, 425, "2011-01-01 00:00:00", "Malta"),
		line(4, 1000, "2011-01-01 00:00:01", "Japan"),
	}}, order.Extended{Lines: []retail.Line{
		line(3, 10, "2010-12-31 23:59:59", "Malta"),
		line(1, 0, "2011-01-02 08:00:00", "Japan"), // a gift
	}})
	s.order("2", order.Placed{Customer: "17850", Lines: []retail.Line{
		line(-40, 0, "2010-12-05 10:00:00", "Malta"), // written off
		line(-7, 3250, "2010-12-05 10:00:00", "Malta"),
		line(1, -250_750, "2010-12-05 10:00:00", "Malta"), // carried over
	}})
	s.giveBack("C3", returns.Accepted{Lines: []retail.Line{
		line(-2, 2550, "2011-01-15 12:00:00", "Malta"),
		line(-1, 1, "2011-01-15 12:00:00", ""),
	}}, returns.Extended{Lines: []retail.Line{
		line(-1, 2550, "2011-01-15 12:00:00", "Malta"),
	}})
	s.order("4", order.Placed{}) // no lines, so nowhere in the report
	s.project()

	want := []sales.Row{
		{Month: "2010-12", Country: "Malta", Orders: 2, Returns: 0, Lines: 5, Units: -41, Revenue: "-268.370"},
		{Month: "2011-01", Country: "", Orders: 0, Returns: 1, Lines: 1, Units: -1, Revenue: "-0.001"},
		{Month: "2011-01", Country: "Japan", Orders: 1, Returns: 0, Lines: 2, Units: 5, Revenue: "4.000"},
		{Month: "2011-01", Country: "Malta", Orders: 1, Returns: 1, Lines: 3, Units: -2, Revenue: "-7.225"},
	}
	if diff := cmp.Diff(want, s.report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if got := s.verify(); got.Rows != 6 || got.Events != 6 || len(got.Differences) > 0 {
		t.Errorf("verification = %+v, want 6 rows of 6 events without difference", got)
	}
}

func TestReportOfNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.project()
	if got := s.report(); len(got) != 0 {
		t.Errorf("report = %+v, want none", got)
	}
}

// Floats give 0.30000000000000004 for the first, and lose the mill of the
// second. An int64 of mills ends at 9223372036854775.807.
func TestReportIsExact(t *testing.T) {
	t.Parallel()
	const at, most = "2011-02-01 00:00:00", 1_000_000_000_000_000
	s := open(t)
	s.order("1", order.Placed{Lines: []retail.Line{line(1, 100, at, "A"), line(1, 200, at, "A")}})
	s.order("2", order.Placed{Lines: []retail.Line{line(1_000_000_000, most, at, "B"), line(1, 1, at, "B")}})
	s.giveBack("C3", returns.Accepted{Lines: []retail.Line{line(-1_000_000_000, most, at, "C"), line(-1, 1, at, "C")}})
	s.order("4", order.Placed{Lines: []retail.Line{line(1, math.MaxInt64, at, "D"), line(1, math.MaxInt64, at, "D")}})
	s.order("5", order.Placed{Lines: []retail.Line{line(80_995, 1, at, "E")}})
	tenths := make([]retail.Line, 1000)
	for i := range tenths {
		tenths[i] = line(1, 100, at, "F")
	}
	s.order("6", order.Placed{Lines: tenths})
	s.order("7", order.Placed{Lines: []retail.Line{line(1_000_000_000, most, at, "G")}})
	s.giveBack("C8", returns.Accepted{Lines: []retail.Line{line(-1_000_000_000, most, at, "G")}})
	s.project()

	got := map[string]string{}
	for _, r := range s.report() {
		got[r.Country] = r.Revenue
	}
	want := map[string]string{
		"A": "0.300",
		"B": "1000000000000000000000.001",
		"C": "-1000000000000000000000.001",
		"D": "18446744073709551.614",
		"E": "80.995",
		"F": "100.000",
		"G": "0.000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("revenue (-want +got):\n%s", diff)
	}
}

// The order is that of bytes, whatever the collation of the database.
func TestReportIsSortedByBytes(t *testing.T) {
	t.Parallel()
	s := open(t)
	var lines []retail.Line
	for _, country := range []string{"\u00c5land", "malta", "Zambia", "Malta", "Cote", "C\u00f4te", "a b", "ab"} {
		lines = append(lines, line(1, 1, "2011-02-01 00:00:00", country))
	}
	s.order("1", order.Placed{Lines: lines})
	s.project()
	var got []string
	for _, r := range s.report() {
		got = append(got, r.Country)
	}
	if diff := cmp.Diff([]string{"Cote", "C\u00f4te", "Malta", "Zambia", "a b", "ab", "malta", "\u00c5land"}, got); diff != "" {
		t.Errorf("countries (-want +got):\n%s", diff)
	}
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	rows := []sales.Row{
		{Month: "2010-12", Country: "Korea, Republic of", Orders: 12, Returns: 1, Lines: 99, Units: -5, Revenue: "-1.500"},
		{Month: "2011-01", Country: `The "Isles"`, Revenue: "0.000"},
	}
	if err := sales.WriteCSV(&out, rows); err != nil {
		t.Fatal(err)
	}
	want := "month,country,orders,returns,lines,units,revenue\n" +
		"2010-12,\"Korea, Republic of\",12,1,99,-5,-1.500\n" +
		"2011-01,\"The \"\"Isles\"\"\",0,0,0,0,0.000\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("CSV (-want +got):\n%s", diff)
	}
	if err := sales.WriteCSV(full{}, rows); err == nil || err.Error() != "write report: disk is full" {
		t.Errorf("error = %v, want write report: disk is full", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk is full") }

func TestErrorsNameWhatFailed(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.order("1", order.Placed{Lines: []retail.Line{line(1, 1, "2011-02-01 00:00:00", "Malta")}})
	_, report := sales.Report(ended(t), s.pool)
	_, verify := sales.Verify(ended(t), s.pool, s.db)
	create := sales.Create(ended(t), s.pool)
	s.exec(`DROP SCHEMA sales CASCADE`)
	_, missing := sales.Report(t.Context(), s.pool)
	_, uncompared := sales.Verify(t.Context(), s.pool, s.db)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{report, "read report: context canceled"},
		{verify, "verify read model: context canceled"},
		{create, "create read model: context canceled"},
		{missing, `read report: ERROR: relation "sales.invoices" does not exist (SQLSTATE 42P01)`},
		{uncompared, `verify read model: ERROR: relation "sales.invoices" does not exist (SQLSTATE 42P01)`},
	} {
		if tt.err == nil || !strings.HasPrefix(tt.err.Error(), tt.want) {
			t.Errorf("error = %v, want %s", tt.err, tt.want)
		}
	}
}
