//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Postgres could not be started here, and the error would say so: a file is
// looked at before anything else.
const noPostgres = "ANNALS_PG_BIN=/nowhere"

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	packed := read(t, shipped)
	var other bytes.Buffer
	w := gzip.NewWriter(&other)
	_, _ = w.Write([]byte("a,b\n1,2\n"))
	_ = w.Close()
	if err := os.Mkdir(filepath.Join(s.dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	const columns = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
	for name, want := range map[string]string{
		"missing.csv":           "no such file or directory",
		"directory":             "is a directory",
		s.file("empty.csv", ""): "is empty",
		s.file("prose.txt", "Dear customer,\nyour \"order\" is late.\n"):            `line 1: columns are "Dear customer,", want ` + columns,
		s.file("quotes.csv", columns+"\n1,1,\"Tea cup,1\n"):                         `line 2: extraneous or missing " in quoted-field`,
		s.file("image.png", "\x89PNG\r\n\x1a\n\x00\x00"):                            `line 1: columns are "\x89PNG", want ` + columns,
		s.file("semicolons.csv", strings.ReplaceAll(columns, ",", ";")+"\n"):        `line 1: columns are "InvoiceNo;StockCode;Description;Quantity...", want ` + columns,
		s.file("swapped.csv", strings.Replace(columns, "StockCode,", "", 1)+",X\n"): `line 1: columns are "InvoiceNo,Description,Quantity,InvoiceDa...", want ` + columns,
		s.file("other.csv.gz", other.String()):                                      `line 1: columns are "a,b", want ` + columns,
		s.file("half.csv.gz", packed[:len(packed)/2]):                               "gzip is truncated",
		s.file("almost.csv.gz", packed[:len(packed)-1]):                             "gzip is truncated",
		s.file("checksum.csv.gz", packed[:len(packed)-8]+"12345678"):                "gzip is corrupt: gzip: invalid checksum",
		s.file("plain.csv.gz", columns+"\n"):                                        "is named .gz and holds no gzip",
	} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.dir, name)
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "")
			p := start(t, []string{noPostgres}, s.args(name, "--verify")...)
			if got := p.wait(); got != 1 {
				t.Errorf("exit code %d, want 1", got)
			}
			if got, want := p.stderr(), "order: read "+name+": "+want+"\n"; got != want {
				t.Errorf("stderr = %q, want %q", got, want)
			}
			if got := p.stdout(); got != "" {
				t.Errorf("stdout = %q, want none", got)
			}
			s.wantFiles()
		})
	}
}

func TestGoodInputIsNotTheReason(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	p := start(t, []string{noPostgres}, s.args(shipped)...)
	code, got := p.wait(), p.stderr()
	if want := "order: start postgres: read ANNALS_PG_BIN: /nowhere does not hold initdb and postgres\n"; code != 1 || got != want {
		t.Errorf("exit code %d, stderr %q, want 1 and %q", code, got, want)
	}
	s.wantFiles()
}

func TestFlagsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	input := s.orderFile("orders.csv", row("1", 1, "1", "Malta"))
	link := filepath.Join(s.dir, ".", "..", filepath.Base(s.dir), "orders.csv")
	nowhere := filepath.Join(s.dir, "none", "a.csv")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no input":           {[]string{"import"}, "import: --input is missing: name a file of order lines, such as examples/order/testdata/orders.csv.gz"},
		"no writer":          {s.args(input, "--writers", "0"), "import: --writers is 0, want 1 to 64"},
		"too many writers":   {s.args(input, "--writers", "65"), "import: --writers is 65, want 1 to 64"},
		"rejected is input":  {s.args(input, "--rejected", link), "import: --input and --rejected are both " + link},
		"report is input":    {s.args(input, "--report", link), "import: --input and --report are both " + link},
		"report is rejected": {s.args(input, "--rejected", s.report), "import: --report and --rejected are both " + s.report},
		"report nowhere":     {s.args(input, "--report", nowhere), "import: --report " + nowhere + ": its directory does not exist"},
		"report is a dir":    {s.args(input, "--report", s.dir), "import: --report " + s.dir + ": exists and is not a regular file"},
		"report is a device": {s.args(input, "--report", os.DevNull), "import: --report " + os.DevNull + ": exists and is not a regular file"},
		"rejected nowhere":   {s.args(input, "--rejected", nowhere), "create " + nowhere + ": no such file or directory"},
		"rejected is a dir":  {s.args(input, "--rejected", s.dir), "create " + s.dir + ": exists and is not a regular file"},
		"unknown flag":       {s.args(input, "--wat"), "unknown flag: --wat"},
		"unknown argument":   {s.args(input, "wat"), `unknown command "wat" for "order import"`},
		"unknown command":    {[]string{"wat"}, `unknown command "wat" for "order"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, []string{noPostgres}, tt.args...)
			code, got := p.wait(), p.stderr()
			if want := "order: " + tt.want + "\n"; code != 1 || got != want {
				t.Errorf("exit code %d, stderr %q, want 1 and %q", code, got, want)
			}
			s.wantFiles("orders.csv")
		})
	}
}

func TestBadInputChangesNothing(t *testing.T) {
	s := openShop(t)
	packed := read(t, shipped)
	broken := s.file("half.csv.gz", packed[:len(packed)-9])
	out := run(t.Context(), s.args(broken)...)
	if want := "read " + broken + ": gzip is truncated"; out.err == nil || out.err.Error() != want {
		t.Errorf("error = %v, want %s", out.err, want)
	}
	if got := s.number(`SELECT count(*) FROM annals.events`); got != 0 {
		t.Errorf("%d events, want none", got)
	}
	if got := s.number(`SELECT count(*) FROM pg_namespace WHERE nspname = 'sales'`); got != 0 {
		t.Error("the schema of the read model was made")
	}
	s.wantFiles("half.csv.gz")

	// A report of before stays as it was.
	s.file("report.csv", "before\n")
	_ = run(t.Context(), s.args(broken)...)
	if got := read(t, s.report); got != "before\n" {
		t.Errorf("report = %q, want that of before", got)
	}
}
