package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/intake"
	"github.com/annals-go/annals/examples/order/retail"
)

const pinned = "../testdata/orders.csv.gz"

// The text is compared, not the gzip: compressors differ between versions of
// Go. After a wanted change run go generate.
func TestGenerateGivesThePinnedFile(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := generate(&text, config{orders: defaultOrders, seed: defaultSeed}); err != nil {
		t.Fatal(err)
	}
	if got, want := text.Bytes(), unzipped(t, pinned); !bytes.Equal(got, want) {
		t.Errorf("generated %d bytes that differ from the %d bytes of %s", len(got), len(want), pinned)
	}
}

// traits is what the pinned file is there for.
type traits struct {
	Orders, Returns, Large                                 bool
	NoCustomer, NoDescription, NoCode                      bool
	ZeroPrice, NegativePrice, ThreeDecimals                bool
	NegativeInOrder, ZeroQuantity                          bool
	Comma, Quote, LineEnd, NonASCII, Replaced              bool
	Post, Gift, LateCustomer, TwoCountries, OverMonthsEdge bool
}

func TestPinnedFileHasEveryOddity(t *testing.T) {
	t.Parallel()
	plan, err := intake.Validate(t.Context(), pinned)
	if err != nil {
		t.Fatal(err)
	}
	var got traits
	orders, returns, largest := 0, 0, 0
	months := map[string]bool{}
	reasons := map[string]int{}
	reject := func(r intake.Rejection) {
		reasons[strings.Split(strings.ReplaceAll(r.Reason, "has ", ""), " ")[0]]++
	}
	for invoice, err := range plan.Invoices(t.Context(), reject) {
		if err != nil {
			t.Fatal(err)
		}
		if invoice.Kind == retail.Order {
			orders++
		} else {
			returns++
		}
		largest = max(largest, len(invoice.Lines))
		got.note(invoice)
		for _, line := range invoice.Lines {
			months[line.At.Format("2006-01")] = true
		}
	}
	got.Orders, got.Returns, got.Large = orders >= 2000, returns >= 100, largest == 1500
	want := traits{
		true, true, true, true, true, true, true, true, true, true, true,
		true, true, true, true, true, true, true, true, true, true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("oddities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"2010-12": true, "2011-01": true, "2011-02": true}, months); diff != "" {
		t.Errorf("months (-want +got):\n%s", diff)
	}
	wantReasons := map[string]int{"InvoiceNo": 10, "Quantity": 6, "InvoiceDate": 2, "UnitPrice:": 3, "7": 1, "9": 1}
	if diff := cmp.Diff(wantReasons, reasons); diff != "" {
		t.Errorf("first words of the reasons (-want +got):\n%s", diff)
	}
}

func (f *traits) note(invoice retail.Invoice) {
	first := invoice.Lines[0]
	f.NoCustomer = f.NoCustomer || invoice.Customer == ""
	f.LateCustomer = f.LateCustomer || invoice.Customer == "20503"
	for _, line := range invoice.Lines {
		f.NoDescription = f.NoDescription || line.Description == ""
		f.NoCode = f.NoCode || line.Code == ""
		f.ZeroPrice = f.ZeroPrice || line.Price == 0
		f.NegativePrice = f.NegativePrice || line.Price < 0
		f.ThreeDecimals = f.ThreeDecimals || line.Price%10 != 0
		f.NegativeInOrder = f.NegativeInOrder || invoice.Kind == retail.Order && line.Quantity < 0
		f.ZeroQuantity = f.ZeroQuantity || line.Quantity == 0
		f.Comma = f.Comma || strings.Contains(line.Description, ",")
		f.Quote = f.Quote || strings.Contains(line.Description, `"`)
		f.LineEnd = f.LineEnd || line.Description == "Tea towel (two)\ufffdblue and grey"
		f.NonASCII = f.NonASCII || strings.Contains(line.Description, "\u6728")
		f.Replaced = f.Replaced || line.Description == "Not UTF-8: caf\ufffd"
		f.Post = f.Post || line.Code == "POST"
		f.Gift = f.Gift || line.Code == "gift_0001_20"
		f.TwoCountries = f.TwoCountries || line.Country != first.Country
		f.OverMonthsEdge = f.OverMonthsEdge || line.At.Month() != first.At.Month()
	}
}

func TestPinnedFileScattersLines(t *testing.T) {
	t.Parallel()
	last, closed, again := "", map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(unzipped(t, pinned))) {
		number, _, _ := strings.Cut(line, ",")
		if number != last && closed[number] {
			again[number] = true
		}
		closed[last] = true
		last = number
	}
	for _, number := range []string{"990001", "990002", "990003"} {
		if !again[number] {
			t.Errorf("lines of invoice %s are not scattered", number)
		}
	}
}

func TestRunWritesPlainAndCompressed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config{orders: 3, seed: 7}
	var stdout bytes.Buffer
	if err := run(cfg, "", &stdout); err != nil {
		t.Fatal(err)
	}
	plain, packed := filepath.Join(dir, "a.csv"), filepath.Join(dir, "a.csv.gz")
	for _, path := range []string{plain, packed} {
		if err := run(cfg, path, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, stdout.Bytes()) || !bytes.Equal(unzipped(t, packed), got) {
		t.Error("plain file, compressed file and standard output differ")
	}
	header, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	// Flags (no name) and time are zero.
	if diff := cmp.Diff([]byte{0, 0, 0, 0, 0}, header[3:8]); diff != "" {
		t.Errorf("gzip header (-want +got):\n%s", diff)
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	nowhere := filepath.Join(t.TempDir(), "none", "a.csv")
	for _, tt := range []struct {
		orders int
		path   string
		want   string
	}{
		{0, "", "generate orders: -orders 0, want 1 to 100000"},
		{100_001, "", "generate orders: -orders 100001, want 1 to 100000"},
		{1, nowhere, "write orders: open " + nowhere + ": no such file or directory"},
		{1, "", "write orders: pipe is gone"},
	} {
		err := run(config{orders: tt.orders}, tt.path, brokenWriter{})
		if err == nil || err.Error() != tt.want {
			t.Errorf("run of %d orders to %q: error = %v, want %s", tt.orders, tt.path, err, tt.want)
		}
	}
	if err := generate(brokenWriter{}, config{orders: 1}); err == nil || err.Error() != "write orders: pipe is gone" {
		t.Errorf("generate to a broken writer: error = %v, want write orders: pipe is gone", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("pipe is gone") }

func unzipped(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
