package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/sales"
)

// files are the shipped one, and one that ANNALS_ORDERS may name.
func files() []string {
	all := []string{shipped}
	if path := os.Getenv("ANNALS_ORDERS"); path != "" {
		all = append(all, path)
	}
	return all
}

func TestImportEqualsIndependentComputation(t *testing.T) {
	for i, input := range files() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			want := compute(t, input)
			s := openShop(t)
			first := s.mustImport(input, "--verify")
			if diff := cmp.Diff(want.report, read(t, s.report)); diff != "" {
				t.Errorf("report (-computed +imported):\n%s", diff)
			}
			if diff := cmp.Diff(want.rejected, places(t, s.rejected)); diff != "" {
				t.Errorf("rejected lines (-computed +imported):\n%s", diff)
			}
			n := s.number(`SELECT count(*) FROM annals.events`)
			if got, want := first.events(t), (count{n, n, n}); got != want {
				t.Errorf("first run: %+v, want %+v", got, want)
			}
			streams := s.number(`SELECT count(*) FROM (SELECT DISTINCT category, stream_id FROM annals.events) AS s`)
			if streams != want.invoices() {
				t.Errorf("%d streams, want %d", streams, want.invoices())
			}
			expect(t, first, "orders", "%d placed", want.orders)
			expect(t, first, "returns", "%d accepted", want.returns)
			expect(t, first, "unchanged", "0 invoices that were there already")
			expectVerified(t, first)
			if input == shipped {
				if diff := cmp.Diff(read(t, "testdata/orders.rejected.csv"), read(t, s.rejected)); diff != "" {
					t.Errorf("rejected.csv (-want +got):\n%s", diff)
				}
				expect(t, first, "lines", "13538 imported, 23 rejected, see %s", s.rejected)
			}

			// The broker of this run is another one: its topics are filled again.
			rejected := read(t, s.rejected)
			again := s.mustImport(input, "--verify", "--writers", "3")
			if got, want := again.events(t), (count{0, n, 0}); got != want {
				t.Errorf("second run: %+v, want %+v", got, want)
			}
			expect(t, again, "orders", "0 placed")
			expect(t, again, "unchanged", "%d invoices that were there already", want.invoices())
			expectVerified(t, again)
			if diff := cmp.Diff(want.report, read(t, s.report)); diff != "" {
				t.Errorf("report of the second run (-computed +imported):\n%s", diff)
			}
			if got := read(t, s.rejected); got != rejected {
				t.Errorf("rejected lines of the second run:\n%s\nwant:\n%s", got, rejected)
			}
		})
	}
}

// expect looks for a line of the summary.
func expect(t *testing.T, o outcome, name, format string, args ...any) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + name + ` +` + regexp.QuoteMeta(fmt.Sprintf(format, args...)) + `$`)
	if !line.MatchString(o.stdout) {
		t.Errorf("summary without the line %s:\n%s", line, o.stdout)
	}
}

func expectVerified(t *testing.T, o outcome) {
	t.Helper()
	if verified := regexp.MustCompile(`\nverified +\d+ rows, rebuilt from \d+ events, no difference\n$`); !verified.MatchString(o.stdout) {
		t.Errorf("summary does not end as %s:\n%s", verified, o.stdout)
	}
}

// places returns line and invoice of each rejection, which has a reason too.
func places(t *testing.T, path string) []place {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(read(t, path))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := records[0], []string{"line", "invoice", "reason"}; !slices.Equal(got, want) {
		t.Errorf("columns of rejected lines = %q, want %q", got, want)
	}
	var all []place
	for _, r := range records[1:] {
		if r[2] == "" {
			t.Errorf("line %s is rejected without a reason", r[0])
		}
		all = append(all, place{r[0], r[1]})
	}
	return all
}

func TestSummary(t *testing.T) {
	s := openShop(t)
	input := s.orderFile("orders.csv", row("1", 2, "2.55", "Malta"), row("C2", -1, "2.55", "Malta"), row("A3", 1, "1", "Malta"))
	out := s.mustImport(input)
	form := regexp.MustCompile(`^orders +1 placed
returns +1 accepted
unchanged +0 invoices that were there already
lines +2 imported, 1 rejected, see ` + regexp.QuoteMeta(s.rejected) + `
events +2 appended, 2 relayed, 2 projected
times +validate [\d.]+[µm]?s, append [\d.]+[µm]?s, until projected [\d.]+[µm]?s
rate +\d+ orders and returns a second appended, \d+ into the read model
latency +append to read model p50 [\d.]+[µm]?s, p99 [\d.]+[µm]?s
(memory +\d+ MiB at its peak
)?report +` + regexp.QuoteMeta(s.report) + `
$`)
	if !form.MatchString(out.stdout) {
		t.Errorf("summary:\n%s\nwant it to match:\n%s", out.stdout, form)
	}
}

func TestImportOfAHeaderAlone(t *testing.T) {
	s := openShop(t)
	out := s.mustImport(s.orderFile("orders.csv"), "--verify")
	if got, want := read(t, s.report), "month,country,orders,returns,lines,units,revenue\n"; got != want {
		t.Errorf("report = %q, want %q", got, want)
	}
	if got, want := read(t, s.rejected), "line,invoice,reason\n"; got != want {
		t.Errorf("rejected lines = %q, want %q", got, want)
	}
	if got := out.events(t); got != (count{}) {
		t.Errorf("%+v, want no events", got)
	}
}

// A mark of the relay that names a deleted topic must not pass for one of the
// new topic, which is still empty.
func TestImportWaitsForTheRefill(t *testing.T) {
	s := openShop(t)
	input := s.orderFile("orders.csv", row("1", 2, "2.55", "Malta"))
	s.mustImport(input)
	want := read(t, s.report)
	for range 5 {
		// As a kill leaves it after the relay's mark and before the first projected batch.
		s.exec(`TRUNCATE sales.invoices`)
		s.exec(`DELETE FROM annals.checkpoints WHERE name = '` + sales.Projection(sales.Schema).Name() + `'`)
		if got := s.mustImport(input).events(t); got != (count{0, 1, 1}) {
			t.Errorf("%+v, want one event relayed and projected", got)
		}
		if got := read(t, s.report); got != want {
			t.Errorf("report = %s, want %s", got, want)
		}
	}
}

func TestInvoicesThatDiffer(t *testing.T) {
	s := openShop(t)
	s.mustImport(s.orderFile("first.csv",
		row("1", 2, "2.55", "Malta"), row("1", 1, "1", "Malta"), row("C2", -1, "2.55", "Malta"), row("3", 1, "1", "Malta")))
	out := s.mustImport(s.orderFile("second.csv",
		row("1", 2, "2.55", "Malta"), row("4", 5, "0.001", "Malta"), row("1", 1, "1.01", "Malta"),
		row("C2", -1, "2.55", "Malta"), row("C2", -1, "2.55", "Malta"), row("3", 1, "1", "Malta"), row("1", 1, "1", "Malta")), "--verify")

	const order = `"order is placed already, and differs: it has 2 lines for customer ""17850"", asked for were 3 for ""17850"""`
	const back = `"return is accepted already, and differs: it has 1 lines, asked for were 2"`
	want := []string{"2,1," + order, "4,1," + order, "5,C2," + back, "6,C2," + back, "8,1," + order}
	got := lines(t, s.rejected)
	slices.Sort(got) // several invoices are refused at once
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rejected lines (-want +got):\n%s", diff)
	}
	expect(t, out, "orders", "1 placed")
	expect(t, out, "unchanged", "1 invoices that were there already")
	expect(t, out, "refused", "2 invoices, see %s", s.rejected)
	expect(t, out, "lines", "2 imported, 5 rejected, see %s", s.rejected)
	expectVerified(t, out)
	if diff := cmp.Diff([]string{"2010-12,Malta,3,1,5,8,4.555"}, lines(t, s.report)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestInvoiceBeyondTheLimitsOfTheStore(t *testing.T) {
	s := openShop(t)
	const n = 2100
	long := strings.Repeat("x", 4096)
	rows := []string{row("1", 1, "1", "Malta")}
	for range n {
		rows = append(rows, "2,1,"+long+",1,2010-12-01 08:26:00,1,,Malta")
	}
	rows = append(rows, row("3", 1, "1", "Malta"))
	out := s.mustImport(s.orderFile("orders.csv", rows...))

	got := lines(t, s.rejected)
	if len(got) != n {
		t.Fatalf("%d rejected lines, want %d", len(got), n)
	}
	form := regexp.MustCompile(`^\d+,2,"append order-2: bytes of all events: \d+, at most 8388608"$`)
	for i, line := range got {
		if !form.MatchString(line) || !strings.HasPrefix(line, fmt.Sprintf("%d,", i+3)) {
			t.Errorf("rejected line %q, want number %d to match %s", line, i+3, form)
		}
	}
	expect(t, out, "orders", "2 placed")
	expect(t, out, "refused", "1 invoices, see %s", s.rejected)
	if diff := cmp.Diff([]string{"2010-12,Malta,2,0,2,2,2.000"}, lines(t, s.report)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestVerifyPrintsDifferences(t *testing.T) {
	s := openShop(t)
	input := s.orderFile("orders.csv", row("1", 2, "2.55", "Malta"), row("2", 1, "1", "Japan"), row("C3", -1, "2.55", "Malta"))
	s.mustImport(input)
	s.exec(`UPDATE sales.invoices SET revenue = revenue + 0.001 WHERE invoice = '1'`)
	s.exec(`DELETE FROM sales.invoices WHERE invoice = '2'`)
	out := run(t.Context(), s.args(input, "--verify")...)
	if want := "verify: the read model differs from a rebuild of 3 events: see the rows above"; out.err == nil || out.err.Error() != want {
		t.Errorf("error = %v, want %s", out.err, want)
	}
	_, got, _ := strings.Cut(out.stdout, "only in")
	got = "only in" + got
	want := "only in the live one: (1,order,2010-12,Malta,1,2,5.101)\n" +
		"only in the rebuilt one: (1,order,2010-12,Malta,1,2,5.1)\n" +
		"only in the rebuilt one: (2,order,2010-12,Japan,1,1,1)\n"
	gotRows := strings.SplitAfter(got, "\n")
	slices.Sort(gotRows)
	if got := strings.Join(gotRows, ""); got != want {
		t.Errorf("differences:\n%s\nwant:\n%s", got, want)
	}
}

func TestImportThatCannotAppend(t *testing.T) {
	s := openShop(t)
	s.exec(`
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed for the day'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON annals.events FOR EACH ROW WHEN (NEW.stream_id = '7') EXECUTE FUNCTION refuse()`)
	input := s.orderFile("orders.csv", row("7", 2, "2.55", "Malta"))
	out := run(t.Context(), s.args(input)...)
	want := "import invoice 7: append order-7: ERROR: closed for the day (SQLSTATE P0001)"
	if out.err == nil || out.err.Error() != want {
		t.Errorf("error = %v, want %s", out.err, want)
	}
	s.wantFiles("orders.csv")

	// What kept it from appending is gone, so it goes on.
	s.exec(`DROP TRIGGER refuse ON annals.events`)
	if got := s.mustImport(input).events(t); got != (count{1, 1, 1}) {
		t.Errorf("after the trigger is dropped: %+v, want one event", got)
	}
	s.wantFiles("orders.csv", "rejected.csv", "report.csv")
}

// wantFiles checks that the directory holds no other file, hidden ones included.
func (s *shop) wantFiles(want ...string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("files of %s (-want +got):\n%s", filepath.Base(s.dir), diff)
	}
}
