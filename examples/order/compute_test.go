package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"io"
	"maps"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// computed is what an import of a file has to lead to, worked out from the CSV
// alone: no package of the framework or of the example takes part.
type computed struct {
	report   string
	rejected []place
	orders   int
	returns  int
}

func (c computed) invoices() int { return c.orders + c.returns }

// place is a rejected line, and what it says its invoice is.
type place struct{ Line, Invoice string }

type bucket struct{ month, country string }

type sum struct {
	orders, returns map[string]bool
	lines           int
	units           *big.Int
	revenue         *big.Rat
}

func compute(t *testing.T, path string) computed {
	t.Helper()
	file := csv.NewReader(strings.NewReader(strings.TrimPrefix(unzipped(t, path), "\ufeff")))
	file.FieldsPerRecord = -1
	if _, err := file.Read(); err != nil {
		t.Fatal(err)
	}
	var c computed
	sums := map[bucket]*sum{}
	invoices := map[string]bool{}
	for {
		cells, err := file.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !acceptable(cells) {
			line, _ := file.FieldPos(0)
			invoice := strings.TrimSpace(cells[0])
			if len(invoice) > 64 {
				invoice = invoice[:64] + "..."
			}
			c.rejected = append(c.rejected, place{strconv.Itoa(line), invoice})
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		b := bucket{cells[4][:len("2010-12")], printable(cells[7])}
		s := sums[b]
		if s == nil {
			s = &sum{map[string]bool{}, map[string]bool{}, 0, new(big.Int), new(big.Rat)}
			sums[b] = s
		}
		of, all := s.orders, &c.orders
		if cells[0][0] == 'C' {
			of, all = s.returns, &c.returns
		}
		if !invoices[cells[0]] {
			*all++
		}
		invoices[cells[0]], of[cells[0]] = true, true
		quantity, _ := new(big.Int).SetString(cells[3], 10)
		price, _ := new(big.Rat).SetString(cells[5])
		s.lines++
		s.units.Add(s.units, quantity)
		s.revenue.Add(s.revenue, price.Mul(price, new(big.Rat).SetInt(quantity)))
	}
	c.report = table(t, sums)
	return c
}

var (
	invoiceForm  = regexp.MustCompile(`^([0-9]+|C[^ ]+)$`)
	quantityForm = regexp.MustCompile(`^[+-]?[0-9]{1,18}$`)
	dateForm     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$`)
	priceForm    = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)
)

// acceptable is the rule for a line that can be part of an order or a return.
func acceptable(cells []string) bool {
	if len(cells) != 8 {
		return false
	}
	for _, text := range cells {
		if len(text) > 4096 {
			return false
		}
	}
	invoice, quantity := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[3])
	date, price := strings.TrimSpace(cells[4]), strings.TrimSpace(cells[5])
	if !invoiceForm.MatchString(invoice) || len(invoice) > 64 || invoice != printable(invoice) {
		return false
	}
	if !quantityForm.MatchString(quantity) || !dateForm.MatchString(date) || !priceForm.MatchString(price) || len(price) > 64 {
		return false
	}
	pieces, err := strconv.ParseInt(quantity, 10, 64)
	if err != nil || max(pieces, -pieces) > 1_000_000_000 {
		return false
	}
	if _, err := time.Parse(time.DateTime, date); err != nil || strings.HasPrefix(date, "0000") {
		return false
	}
	mills, _ := new(big.Rat).SetString(price)
	mills.Mul(mills, big.NewRat(1000, 1))
	return mills.IsInt() && mills.Num().CmpAbs(big.NewInt(1e15)) <= 0
}

// printable puts U+FFFD in place of what is no text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func table(t *testing.T, sums map[bucket]*sum) string {
	t.Helper()
	var text bytes.Buffer
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"month", "country", "orders", "returns", "lines", "units", "revenue"})
	for _, b := range slices.SortedFunc(maps.Keys(sums), func(a, b bucket) int {
		return cmp.Or(cmp.Compare(a.month, b.month), cmp.Compare(a.country, b.country))
	}) {
		s := sums[b]
		_ = out.Write([]string{
			b.month, b.country, strconv.Itoa(len(s.orders)), strconv.Itoa(len(s.returns)),
			strconv.Itoa(s.lines), s.units.String(), s.revenue.FloatString(3),
		})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func unzipped(t *testing.T, path string) string {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return string(packed)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
