package intake_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/examples/order/intake"
)

func TestValidateNamesFileLineAndCause(t *testing.T) {
	t.Parallel()
	good := header + row("1") + row("2")
	packed := zipped(t, good)
	flip := func(s string, at int) string { return s[:at] + string(s[at]^0xff) + s[at+1:] }
	for name, tt := range map[string]struct{ file, content, want string }{
		"empty":           {"a.csv", "", "read FILE: is empty"},
		"empty gz":        {"a.csv.gz", "", "read FILE: is empty"},
		"gzip of nothing": {"a.csv.gz", zipped(t, ""), "read FILE: is empty"},
		"only a mark":     {"a.csv", "\ufeff", "read FILE: is empty"},
		"blank lines":     {"a.csv", "\n\r\n", "read FILE: is empty"},
		"no gzip":         {"a.csv.GZ", good, "read FILE: is named .gz and holds no gzip"},
		"cut gzip":        {"a.csv.gz", packed[:len(packed)-9], "read FILE: gzip is truncated"},
		"cut checksum":    {"a.csv.gz", packed[:len(packed)-1], "read FILE: gzip is truncated"},
		"cut gzip header": {"a.csv", packed[:4], "read FILE: gzip is truncated"},
		"wrong checksum":  {"a.csv.gz", flip(packed, len(packed)-5), "read FILE: gzip is corrupt: gzip: invalid checksum"},
		"wrong header":    {"a.csv.gz", flip(packed, 2), "read FILE: gzip is corrupt: gzip: invalid header"},
		"wrong block":     {"a.csv.gz", packed[:10] + "\x07" + packed[11:], "read FILE: gzip is corrupt: flate: corrupt input before offset 1"},
		"gzip and more":   {"a.csv.gz", packed + "\n", "read FILE: gzip is followed by other data"},
		"gzip and zeros":  {"a.csv.gz", packed + "\x00\x00\x00\x00", "read FILE: gzip is followed by other data"},
		"other columns": {
			"a.csv", "id,name\n1,2\n",
			`read FILE: line 1: columns are "id,name", want ` + strings.TrimSpace(header),
		},
		"other order": {
			"a.csv", "\n" + strings.Replace(header, "InvoiceNo,StockCode", "StockCode,InvoiceNo", 1),
			`read FILE: line 2: columns are "StockCode,InvoiceNo,Description,Quantity..." , want `,
		},
		"binary": {
			"a.csv", "\x00\x01\xff\xfe",
			`read FILE: line 1: columns are "\x00\x01\xff\xfe", want ` + strings.TrimSpace(header),
		},
		"open quote": {
			"a.csv", good + "3,\"85123A,Tin\n" + row("4"),
			`read FILE: line 4: extraneous or missing " in quoted-field`,
		},
		"bare quote": {"a.csv", good + `3,85"123A` + "\n", `read FILE: line 4: bare " in non-quoted-field`},
		"large record": {
			"a.csv", good + "\"3\n" + strings.Repeat("x", 1<<20) + "\n",
			"read FILE: line 4: record is larger than 1048576 bytes, is a quote left open?",
		},
		"record a byte too large": {
			"a.csv", good + strings.Repeat("x", 1<<20) + "\n",
			"read FILE: line 4: record is larger than 1048576 bytes, is a quote left open?",
		},
		"large header": {
			"a.csv.gz", zipped(t, strings.Repeat("\x00", 2<<20)),
			"read FILE: line 1: record is larger than 1048576 bytes, is a quote left open?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, tt.file, tt.content)
			_, err := intake.Validate(t.Context(), path)
			want := tt.want
			if strings.HasSuffix(want, " , want ") {
				want = strings.TrimSuffix(want, " , want ") + ", want " + strings.TrimSpace(header)
			}
			wantError(t, err, path, want)
		})
	}
}

func TestValidateRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.csv")
	_, err := intake.Validate(t.Context(), missing)
	wantError(t, err, missing, "read FILE: no such file or directory")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error of a missing file is not os.ErrNotExist: %v", err)
	}
	_, err = intake.Validate(t.Context(), dir)
	wantError(t, err, dir, "read FILE: is a directory")
	_, err = intake.Validate(t.Context(), os.DevNull)
	wantError(t, err, os.DevNull, "read FILE: is not a regular file, and it has to be read twice")
}

func TestValidateRefusesDecompressionBomb(t *testing.T) {
	t.Parallel()
	bomb := zipped(t, header+strings.Repeat(strings.Repeat("0", 1<<19)+"\n", 20))
	path := file(t, "a.csv.gz", bomb)
	_, err := intake.Validate(t.Context(), path)
	wantError(t, err, path, "read FILE: gzip expands more than 200 times")
}

func TestValidateRefusesEndlessInvoice(t *testing.T) {
	t.Parallel()
	path := file(t, "a.csv", header+strings.Repeat("7,,,1,2010-12-01 08:26:00,1,,\n", 100_001))
	_, err := intake.Validate(t.Context(), path)
	wantError(t, err, path, "read FILE: line 100002: invoice 7 has more than 100000 lines")
}

func TestValidateEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := file(t, "a.csv", header+row("1"))
	_, err := intake.Validate(ctx, path)
	wantError(t, err, path, "read FILE: context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is not context.Canceled: %v", err)
	}
}

func TestValidateCounts(t *testing.T) {
	t.Parallel()
	content := header + row("1") + row("A1") + row("C2") + row("1") + "3,\n"
	doubled := zipped(t, content)
	for name, tt := range map[string]struct {
		content                  string
		lines, rejects, invoices int
	}{
		"plain":        {content, 5, 2, 2},
		"gzip":         {doubled, 5, 2, 2},
		"two gzips":    {doubled + zipped(t, row("9")), 6, 2, 3},
		"marked, CRLF": {"\ufeff" + strings.ReplaceAll(content, "\n", "\r\n"), 5, 2, 2},
		"blank lines":  {strings.ReplaceAll(content, "\n", "\n\n"), 5, 2, 2},
		"no last end":  {strings.TrimSuffix(content, "\n"), 5, 2, 2},
		"header alone": {header, 0, 0, 0},
		"largest record": {
			header + strings.Repeat("x", 1<<20-1) + "\n" + row("1"), 2, 1, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := validate(t, file(t, "orders", tt.content))
			if plan.LineCount != tt.lines || plan.RejectCount != tt.rejects || plan.InvoiceCount != tt.invoices {
				t.Errorf("got %d lines, %d rejected, %d invoices, want %d, %d, %d",
					plan.LineCount, plan.RejectCount, plan.InvoiceCount, tt.lines, tt.rejects, tt.invoices)
			}
			invoices, rejections := collect(t, plan)
			if len(invoices) != tt.invoices || len(rejections) != tt.rejects {
				t.Errorf("second pass: got %d invoices, %d rejected, want %d, %d",
					len(invoices), len(rejections), tt.invoices, tt.rejects)
			}
		})
	}
}
